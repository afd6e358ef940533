"""Responses that come unasked, cut at any byte."""

from __future__ import annotations

import pytest

from mailsync.imap.hints import Hints
from mailsync.imap.parsing.pushed import whole_responses
from mailsync.model import MailboxStatus

NOTIFIED = {b"a": b"a", b"b}": b"b}"}

PUSHES = [
    b'* STATUS "a" (MESSAGES 3 UIDNEXT 4)\r\n',
    b"* STATUS {2}\r\nb} (UIDNEXT 7)\r\n",
    b'* LIST () "/" New ("OLDNAME" ({3}\r\nOld))\r\n',
    b"* OK Still here {9}\r\n",
    b"* 3 EXISTS\r\n",
    b"+ idling {9}\r\n",
]


def test_a_response_is_taken_once_it_is_whole() -> None:
    data = b"".join(PUSHES)
    ends = [len(b"".join(PUSHES[: i + 1])) for i in range(len(PUSHES))]
    for cut in range(len(data) + 1):
        responses, rest = whole_responses(data[:cut])
        assert len(responses) == sum(end <= cut for end in ends)
        assert rest == max((end for end in ends if end <= cut), default=0)


def test_a_literal_is_between_its_texts() -> None:
    assert whole_responses(PUSHES[1])[0] == [[b"* STATUS ", b"b}", b" (UIDNEXT 7)"]]


def test_the_words_of_a_status_response_announce_no_literal() -> None:
    assert whole_responses(b"* BYE for {999}\r\n") == ([[b"* BYE for {999}"]], 17)


@pytest.mark.parametrize(
    "push",
    [
        b"* OK Still here",
        b"* NO [ALERT] disk",
        b'* STATUS "of another user" (UIDNEXT 2)',
        b"* FLAGS (\\Seen)",
        b"* 3 RECENT",
        b"* ",
        b"garbage",
        b"* EXISTS",
    ],
)
def test_what_tells_of_no_change_is_no_hint(push: bytes) -> None:
    hints = Hints()
    hints.note([push], NOTIFIED, idles=True)
    assert not hints
    assert not hints.has_overflowed


@pytest.mark.parametrize(
    "push", [rb'* LIST (\NonExistent) "/" New', b'* LIST () "/" New ("OLDNAME" (Old))', rb'* LIST () "/" New']
)
def test_a_changed_name_is_a_hint(push: bytes) -> None:
    hints = Hints()
    hints.note([push], NOTIFIED, idles=False)
    assert hints.names_changed
    assert not hints.statuses


def test_an_overflow_ends_notify() -> None:
    hints = Hints()
    hints.note([b"* OK [NOTIFICATIONOVERFLOW] too much"], NOTIFIED, idles=False)
    assert hints.has_overflowed
    assert hints.names_changed


def test_the_items_of_a_mailbox_are_joined() -> None:
    hints = Hints()
    hints.note([b'* STATUS "a" (MESSAGES 3 UIDNEXT 4)'], NOTIFIED, idles=False)
    hints.note([b'* STATUS "a" (MESSAGES 2 HIGHESTMODSEQ 9)'], NOTIFIED, idles=False)
    assert hints.take().statuses == {b"a": MailboxStatus(messages=2, uidnext=4, modseq=9)}
    assert not hints
