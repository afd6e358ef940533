"""What a server sends while nobody asks, over a pair of sockets: whole, cut, endless and out of step."""

from __future__ import annotations

import random
import socket
import tracemalloc

import pytest

from mailsync.imap.unasked import MOST_PUSHED, MOST_UNREAD
from mailsync.model import MailboxStatus
from tests.support.session_peer import Peer, TlsPeer, session_over

NEWS = b'* STATUS "a" (MESSAGES 5)\r\n'


# -- whole and in pieces --------------------------------------------------------------------------------


def test_a_response_that_comes_byte_by_byte_is_one_hint(peer: Peer) -> None:
    peer.notify(b"a")
    for i in range(len(NEWS)):
        assert not peer.session.push.hints
        peer.send(NEWS[i : i + 1])
        assert peer.session.push.listen()
    assert peer.session.push.hints.take().statuses == {b"a": MailboxStatus(messages=5)}


def test_a_name_may_come_as_a_literal_in_pieces(peer: Peer) -> None:
    peer.notify(b"a")
    for piece in (b"* STATUS {1}\r\n", b"a", b" (MESSAGES", b" 5)\r\n"):
        assert not peer.session.push.hints
        peer.send(piece)
        assert peer.session.push.listen()
    assert peer.session.push.hints.statuses == {b"a": MailboxStatus(messages=5)}


@pytest.mark.parametrize("cut", [1, 5, 20, -1])
def test_half_a_tls_record_waits_for_the_rest(tls: TlsPeer, cut: int) -> None:
    tls.notify(b"a")
    record = tls.record(NEWS)
    tls.sock.sendall(record[:cut])
    assert tls.session.push.listen()
    assert not tls.session.push.hints
    tls.sock.sendall(record[cut:])
    assert tls.session.push.listen()
    assert tls.session.push.hints.statuses


def test_what_waits_in_the_tls_layer_is_taken_at_once(tls: TlsPeer) -> None:
    tls.notify(b"a")
    rows = [b'* STATUS "a" (MESSAGES %d)\r\n' % n for n in range(1500)]
    tls.sock.sendall(tls.record(b"".join(rows)))
    assert tls.session.push.listen()
    assert tls.session.push.hints.statuses == {b"a": MailboxStatus(messages=1499)}


def test_the_end_of_tls_ends_the_session(tls: TlsPeer) -> None:
    tls.notify(b"a")
    tls.sock.sendall(tls.record(NEWS) + tls.goodbye())
    assert not tls.session.push.listen()
    assert tls.session.push.hints
    assert tls.session.closed


# -- too much --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beginning", "endless"),
    [
        (b"", NEWS),
        (b"", b"* OK Still here\r\n"),
        (b"", b"\r\n"),
        (b"* OK ", b"x"),
        (b"* STATUS {99999999}\r\n", b"x"),
    ],
    ids=["rows", "words", "blank lines", "line", "literal"],
)
def test_a_server_that_sends_without_end_is_closed_in_bounded_memory(
    peer: Peer, beginning: bytes, endless: bytes
) -> None:
    peer.notify(b"a")
    peer.send(beginning)
    peer.sock.setblocking(False)
    flood = endless * (2 * MOST_UNREAD // len(endless))
    left = flood
    tracemalloc.start()
    try:
        while not peer.session.closed:
            left = left[_sent(peer.sock, left) :] or flood
            peer.session.push.listen()
        assert tracemalloc.get_traced_memory()[1] < 100 * MOST_UNREAD
    finally:
        tracemalloc.stop()


def _sent(sock: socket.socket, data: bytes) -> int:
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0


def test_a_server_that_goes_on_slowly_is_closed_before_the_next_turn(peer: Peer) -> None:
    peer.notify(b"a")
    peer.session.release_memory()
    words, sent = b"* OK %b\r\n" % (b"x" * 8000), 0
    while peer.session.push.listen():
        peer.send(words)
        sent += len(words)
        assert sent < 2 * MOST_PUSHED
    assert sent > MOST_PUSHED
    assert peer.session.closed


def test_a_turn_allows_it_to_go_on(peer: Peer) -> None:
    peer.notify(b"a")
    words = b"* OK %b\r\n" % (b"x" * 8000)
    for number in range(2, 6):
        peer.session.release_memory()
        for _ in range(MOST_PUSHED // 2 // len(words)):
            peer.send(words)
            assert peer.session.push.listen()
        peer.send(peer.tag(number) + b" OK done\r\n")
        peer.session.noop()


# -- no hint, and no sense --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pushed",
    [
        b"* OK Still here\r\n",
        b'* STATUS "another" (MESSAGES 5)\r\n',
        b"* STATUS a\r\n",
        b"* NO [ALERT] disk\r\n",
        b"* 3 EXISTS\r\n",
        b"\r\n",
    ],
)
def test_what_says_nothing_of_our_mailboxes_is_no_hint(peer: Peer, pushed: bytes) -> None:
    peer.notify(b"a")
    peer.send(pushed)
    assert peer.session.push.listen()
    assert not peer.session.push.hints


@pytest.mark.parametrize(
    "pushed", [b'* LIST () "/" "b" ("OLDNAME" ("a"))\r\n', b'* LIST (\\NonExistent) "/" a\r\n']
)
def test_a_name_that_comes_or_goes_is_a_hint(peer: Peer, pushed: bytes) -> None:
    peer.notify(b"a")
    peer.send(pushed)
    assert peer.session.push.listen()
    hints = peer.session.push.hints.take()
    assert hints.names_changed
    assert not hints.statuses


def test_an_overflow_ends_the_listening_and_not_the_session(peer: Peer) -> None:
    peer.notify(b"a")
    peer.send(b"* OK [NOTIFICATIONOVERFLOW] too much\r\n")
    assert not peer.session.push.listen()
    assert not peer.session.closed
    assert peer.session.push.hints.names_changed
    assert not peer.session.push.can_notify


def test_a_bye_among_pushes_ends_the_session_after_what_came_before(peer: Peer) -> None:
    peer.notify(b"a", b"b")
    peer.send(NEWS + b"* BYE for now\r\n" + NEWS.replace(b'"a"', b'"b"'))
    assert not peer.session.push.listen()
    assert peer.session.closed
    assert b"a" in peer.session.push.hints.statuses


@pytest.mark.parametrize(
    "line", [b"garbage\r\n", b"a1 OK whose?\r\n", b"+ go on\r\n", b"DONE BAD what?\r\n", b"HTTP/1.1 400\r\n"]
)
def test_a_line_that_belongs_to_nothing_ends_the_session(peer: Peer, line: bytes) -> None:
    peer.notify(b"a")
    peer.send(NEWS + line)
    assert not peer.session.push.listen()
    assert peer.session.closed
    assert peer.session.push.hints


def test_garbage_never_raises() -> None:
    chance = random.Random(12)
    words = [
        b"* ", b"STATUS ", b"LIST ", b"(", b")", b'"', b"{3}\r\n", b"a", b"\r\n", b"\n", b"1", b"EXISTS",
        b"FETCH (", b"VANISHED ", b"1:9", b"OK [", b"]", b"NOTIFICATIONOVERFLOW", b"BYE", b"+ ", b"DONE ",
        b"\\NonExistent", b"\0", b"\xff", b"MESSAGES ", b"9" * 30, b"OLDNAME", b"{99999999999999999999}\r\n",
    ]  # fmt: skip
    for _ in range(300):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(b"* OK hello\r\n")
            peer = Peer(theirs, session_over(ours))
            chance.choice([peer.idle, lambda peer=peer: peer.notify(b"a")])()
            peer.session.release_memory()
            for _ in range(5):
                if not peer.session.closed:
                    peer.send(b"* OK \r\n" + b"".join(chance.choices(words, k=20)))
                peer.session.push.listen()
                peer.session.is_alive()
            peer.session.push.hints.take()
