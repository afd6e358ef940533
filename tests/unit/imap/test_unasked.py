"""What a server sends while nobody asks, over a pair of sockets: whole, cut, endless and out of step."""

from __future__ import annotations

import contextlib
import random
import socket
import ssl
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from mailsync.config import Settings
from mailsync.imap import Session, TokenBucket
from mailsync.imap.connection import Connection
from mailsync.imap.network.timeouts import Timeouts
from mailsync.imap.unasked import MOST_PUSHED, MOST_UNREAD
from mailsync.model import Endpoint, MailboxStatus
from mailsync.redaction import masking
from tests.support.certificates import Authority

ENDPOINT = Endpoint("h", 143, "plaintext", "user")
CAPABILITIES = frozenset({"IMAP4REV1", "UNSELECT", "IDLE", "NOTIFY"})
EXAMINED = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 4] ok\r\n%b OK [READ-ONLY] done\r\n"
NEWS = b'* STATUS "a" (MESSAGES 5)\r\n'


class Peer:
    """The server's end. ``tag`` names the commands of the client from 1 on; their answers may come early."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        self.sock, self.session = sock, session
        self._first = session._connection.in_flight.new_tag()

    def tag(self, number: int) -> bytes:
        return self._first.removesuffix(b"1") + b"%d" % (number + 1)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def received(self) -> bytes:
        return self.sock.recv(1 << 16)

    def idle(self) -> None:
        """Let the session idle in INBOX, by its commands 1 and 2."""
        self.send(EXAMINED % self.tag(1))
        self.session.idle(b"INBOX")
        assert self.received() == b'%b EXAMINE "INBOX"\r\n%b IDLE\r\n' % (self.tag(1), self.tag(2))

    def notify(self, *names: bytes) -> None:
        """Let the session have NOTIFY, by its command 1, and follow these mailboxes."""
        rows = b"".join(b"* STATUS %b (MESSAGES 3 UIDNEXT 4)\r\n" % name for name in names)
        self.send(rows + self.tag(1) + b" OK done\r\n")
        assert self.session.notify()
        self.session.push.watched = frozenset(names)
        self.received()


def session_over(ours: socket.socket) -> Session:
    ours.setblocking(False)
    timeouts = Timeouts(lambda: None, 5.0, lambda command: None)
    bucket = TokenBucket(1000.0, 10_000, 0.0)
    connection = Connection(ours, ENDPOINT, Settings(), bucket, timeouts, masking("password"))
    return Session(connection, CAPABILITIES, frozenset())


@pytest.fixture
def peer() -> Iterator[Peer]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"* OK hello\r\n")
        yield Peer(theirs, session_over(ours))


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


# -- IDLE ------------------------------------------------------------------------------------------------


def test_exists_may_come_before_idle_has_begun(peer: Peer) -> None:
    peer.send(EXAMINED % peer.tag(1) + b"* 4 EXISTS\r\n+ idling\r\n")
    peer.session.idle(b"INBOX")
    assert peer.session.push.listen()
    assert peer.session.push.hints.mailbox_changed


def test_idle_tells_of_flags(peer: Peer) -> None:
    peer.idle()
    peer.send(b"+ idling\r\n* 2 FETCH (FLAGS (\\Seen))\r\n")
    assert peer.session.push.listen()
    assert peer.session.push.hints.flags_changed


@pytest.mark.parametrize("refusal", [b"NO not now", b"BAD what?", b"OK Idle completed"])
def test_idle_that_the_server_ends(peer: Peer, refusal: bytes) -> None:
    peer.idle()
    peer.send(peer.tag(2) + b" " + refusal + b"\r\n")
    assert not peer.session.push.listen()
    assert not peer.session.closed
    assert peer.session.push.can_idle is refusal.startswith(b"OK")
    peer.send(peer.tag(3) + b" OK done\r\n")
    peer.session.noop()
    assert peer.received() == peer.tag(3) + b" NOOP\r\n", "there is no IDLE to end"


@pytest.mark.parametrize("refusal", [b"NO not now", b"BAD what?", b"OK Idle completed"])
def test_idle_that_the_server_ends_while_the_next_turn_begins(peer: Peer, refusal: bytes) -> None:
    peer.idle()
    peer.send(peer.tag(2) + b" " + refusal + b"\r\nDONE BAD what?\r\n")
    rows = (
        b"* STATUS %b (MESSAGES 3)\r\n%b OK done\r\n" % (b"ab"[i : i + 1], peer.tag(4 + i)) for i in (0, 1)
    )
    peer.send(peer.tag(3) + b" OK unselected\r\n" + b"".join(rows))
    answers = peer.session.statuses([b"a", b"b"])
    assert [status for _, status in answers] == 2 * [MailboxStatus(messages=3)]
    assert peer.session.push.can_idle is refusal.startswith(b"OK")
    assert not peer.session.closed


def test_a_late_refusal_of_done_is_no_sign_of_confusion(peer: Peer) -> None:
    peer.idle()
    peer.send(peer.tag(2) + b" OK Idle completed\r\n" + peer.tag(3) + b" OK done\r\n")
    peer.session.noop()
    peer.send(b"DONE BAD what?\r\n")
    peer.session.push.listen()
    assert not peer.session.closed
    peer.send(b"DONE BAD what?\r\n")
    peer.session.push.listen()
    assert peer.session.closed, "only one DONE was sent"


def test_what_comes_between_done_and_its_completion_is_a_hint(peer: Peer) -> None:
    peer.idle()
    peer.session.push.hints.take()
    peer.send(
        b"+ idling\r\n* 9 EXISTS\r\n* 2 FETCH (FLAGS (\\Seen))\r\n" + peer.tag(2) + b" OK Idle completed\r\n"
    )
    peer.send(EXAMINED % peer.tag(3))
    assert peer.session.examine(b"b").messages == 3, "9 is the size of INBOX"
    hints = peer.session.push.hints
    assert (hints.mailbox_changed, hints.flags_changed) == (True, True)


def test_flags_that_changed_between_two_idles_wake_again(peer: Peer) -> None:
    peer.idle()
    peer.send(b"+ idling\r\n* 2 FETCH (FLAGS (\\Seen))\r\n" + peer.tag(2) + b" OK Idle completed\r\n")
    peer.send(EXAMINED % peer.tag(3))
    peer.session.idle(b"INBOX")
    assert peer.session.push.hints.flags_changed
    assert peer.session.push.hints


def test_what_examine_tells_is_no_hint(peer: Peer) -> None:
    peer.idle()
    peer.send(
        b"+ idling\r\n* 4 EXISTS\r\n" + peer.tag(2) + b" OK Idle completed\r\n" + EXAMINED % peer.tag(3)
    )
    assert peer.session.idle(b"INBOX").messages == 3
    assert not peer.session.push.hints


# -- NOTIFY while commands run ---------------------------------------------------------------------------


def test_a_report_among_the_rows_of_a_flight_completes_them(peer: Peer) -> None:
    peer.notify(b"a", b"b", b"c")
    peer.send(
        b"* STATUS a (MESSAGES 3 UIDNEXT 4)\r\n* STATUS a (UIDNEXT 5)\r\n* STATUS c (UIDNEXT 9)\r\n"
        + peer.tag(2) + b" OK done\r\n"
        + b"* STATUS b (MESSAGES 1 UIDNEXT 2)\r\n* STATUS a (UIDNEXT 6)\r\n"
        + peer.tag(3) + b" OK done\r\n"
    )  # fmt: skip
    assert peer.session.statuses([b"a", b"b"]) == [
        (b"a", MailboxStatus(messages=3, uidnext=5)),
        (b"b", MailboxStatus(messages=1, uidnext=2)),
    ]
    assert peer.session.push.hints.statuses == {
        b"a": MailboxStatus(uidnext=6),
        b"c": MailboxStatus(uidnext=9),
    }


def test_a_report_among_other_rows_completes_them(peer: Peer) -> None:
    peer.notify(b"a", b"b")
    row = b"* STATUS a (MESSAGES 3 UIDNEXT 4)\r\n* STATUS a (UIDNEXT 5)\r\n"
    peer.send(b'* LIST () "/" a\r\n' + row + peer.tag(2) + b" OK done\r\n")
    assert peer.session.list_status().statuses == {b"a": MailboxStatus(messages=3, uidnext=5)}
    peer.send(row + b"* STATUS b (UIDNEXT 9)\r\n" + peer.tag(3) + b" OK done\r\n")
    assert peer.session.status(b"a") == MailboxStatus(messages=3, uidnext=5)
    assert peer.session.push.hints.statuses == {b"b": MailboxStatus(uidnext=9)}


def test_a_report_before_the_end_of_notify_completes_its_row(peer: Peer) -> None:
    peer.send(
        b"* STATUS a (MESSAGES 3 UIDNEXT 4)\r\n* STATUS a (UIDNEXT 5)\r\n" + peer.tag(1) + b" OK done\r\n"
    )
    assert peer.session.notify() == {b"a": MailboxStatus(messages=3, uidnext=5)}


@pytest.mark.parametrize("refusal", [b"NO not today", b"BAD what?"])
def test_notify_that_is_refused_is_not_asked_for_again(peer: Peer, refusal: bytes) -> None:
    peer.send(peer.tag(1) + b" " + refusal + b"\r\n")
    assert peer.session.notify() is None
    assert not peer.session.push.can_notify
    assert peer.session.push.can_idle


def test_a_name_may_be_reported_in_utf_8(peer: Peer) -> None:
    wire_names = frozenset({b"Entw&APw-rfe", b"R &- D", "Größe".encode(), b"new &AOQ-"})
    peer.session.push.watched = wire_names - {b"new &AOQ-"}
    rows = b"* STATUS {9}\r\nEntw\xc3\xbcrfe (UIDNEXT 1)\r\n" + '* STATUS "Größe" (UIDNEXT 1)\r\n'.encode()
    peer.send(rows + b'* STATUS "R & D" (UIDNEXT 1)\r\n' + peer.tag(1) + b" OK done\r\n")
    assert (peer.session.notify() or {}).keys() == peer.session.push.watched
    peer.send(b'* LIST () "/" {6}\r\nnew \xc3\xa4\r\n' + rows)
    assert peer.session.push.listen()
    assert peer.session.push.hints.take().statuses.keys() == {b"Entw&APw-rfe", "Größe".encode()}
    peer.session.push.watched = wire_names
    assert wire_names <= (peer.session.push.notified or set())
    peer.send(rows + peer.tag(2) + b" OK done\r\n")
    peer.session.list_status()
    assert peer.session.push.hints.statuses.keys() == {b"Entw&APw-rfe", "Größe".encode()}


# -- TLS -------------------------------------------------------------------------------------------------


class TlsPeer(Peer):
    """A server whose records can be cut at any byte."""

    def __init__(self, ours: socket.socket, theirs: socket.socket, authority: Authority) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = authority.good().context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.sock = theirs
        theirs.setblocking(False)
        ours.setblocking(False)
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        client = context.wrap_socket(ours, server_hostname="localhost", do_handshake_on_connect=False)
        steps: list[Callable[[], None]] = [client.do_handshake, self._tls.do_handshake]
        while steps:
            steps = [step for step in steps if not self._done(step)]
        self.client = client
        self.send(b"* OK hello\r\n")
        super().__init__(theirs, session_over(client))

    def _done(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._exchange()
        return True

    def _exchange(self) -> None:
        if data := self._outgoing.read():
            self.sock.sendall(data)
        with contextlib.suppress(BlockingIOError):
            self._incoming.write(self.sock.recv(1 << 16))

    def record(self, data: bytes) -> bytes:
        """Return the bytes that carry `data`."""
        self._tls.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return the bytes that end TLS."""
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        self.sock.sendall(self.record(data))

    def received(self) -> bytes:
        self._exchange()
        return self._tls.read(1 << 16)


@pytest.fixture
def tls(authority: Authority) -> Iterator[TlsPeer]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = TlsPeer(ours, theirs, authority)
        with peer.client:
            yield peer
