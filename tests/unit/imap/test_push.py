"""NOTIFY and IDLE: how they begin, end and are refused, and what is reported while commands run."""

from __future__ import annotations

import pytest

from mailsync.model import MailboxStatus
from tests.support.session_peer import EXAMINED, Peer

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
