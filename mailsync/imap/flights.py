"""STATUS commands in one flight (RFC 9051 §5.5), and servers that do not accept them so (SPEC §22.8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from mailsync.errors import MailsyncError, ProtocolError, Throttled, Transient
from mailsync.imap.arguments import LiteralArgument, astring
from mailsync.imap.commands import leave_folder
from mailsync.imap.connection import Connection
from mailsync.imap.hints import merged
from mailsync.imap.parsing.list_response import parse_status
from mailsync.imap.status_responses import StatusResponse, error_for
from mailsync.model import MailboxStatus

MOST_IN_FLIGHT = 25

StatusAnswer = MailboxStatus | MailsyncError


@dataclass(slots=True)
class FlightLimit:
    """How many commands a server gets in one flight. All sessions of an account may share it.

    ``most`` is 1 for a server that accepts commands only one by one. ``answered`` is the longest flight that
    was answered whole.
    """

    most: int = MOST_IN_FLIGHT
    answered: int = 1

    def note_lost(self, size: int) -> bool:
        """Note that a connection ended within a flight of this size; returns whether the flight is blamed."""
        if size <= self.answered:
            return False
        self.most = 1
        return True


class Flight(NamedTuple):
    """The answers to one flight, by mailbox name: its status, the refusal, or None if neither is certain."""

    answers: dict[bytes, MailboxStatus | StatusResponse | None]
    has_left: bool
    """Whether the server has left the selected mailbox, if that was part of the flight."""


def send_flight(connection: Connection, names: Sequence[bytes], items: bytes, *, leaves: bool) -> Flight:
    """Send DONE if the session idles, UNSELECT if `leaves`, and STATUS of each mailbox, in one write.

    Answers are matched by tag, and rows by name. A server may spell a name differently: a row of another name
    counts for the command that is completed next, if it is the only such row. Raises OutOfTokens if not even
    one command may be sent.
    """
    if not connection.idling.is_running:
        connection.drain()
    tags: dict[bytes, bytes] = {}
    leaving = None
    with connection.one_write():
        if leaves:
            leaving = connection.pipeline("UNSELECT")
        for name in names:
            tags[connection.pipeline("STATUS", astring(name), items)] = name
    rows: dict[bytes, MailboxStatus] = {}
    others: list[MailboxStatus] = []
    answers: dict[bytes, MailboxStatus | StatusResponse | None] = {}
    has_left = True
    while connection.in_flight:
        for response in connection.responses(in_order=False):
            row = None if connection.reader.oversized else parse_status(response)
            if row is not None and row[0] in names and row[0] not in answers:
                rows[row[0]] = merged(rows.get(row[0]), row[1])
                continue
            if row is not None and row[0] not in names and len(others) < 2:
                others.append(row[1])
            # with NOTIFY, it may be news of a mailbox whose turn has been
            connection.on_untagged(response)
        completion = connection.completion
        name = tags.get(connection.completed, b"")
        if connection.completed == leaving:
            has_left = completion.status != "BAD"
        elif not name:
            continue
        elif completion.status != "OK":
            answers[name] = completion
        else:
            answers[name] = rows.get(name) or (others[0] if len(others) == 1 else None)
            others.clear()
    return Flight(answers, has_left)


def statuses(
    connection: Connection,
    limit: FlightLimit,
    names: Sequence[bytes],
    items: Callable[[], bytes],
    alone: Callable[[bytes], MailboxStatus],
    leave: Callable[[], bytes | None],
) -> list[tuple[bytes, StatusAnswer]]:
    """Return the answers for the first of `names`: as many as one flight asks for, and at least one.

    `items` returns the items of STATUS, `alone` asks for one mailbox with the fallbacks for extensions, and
    `leave` notes that the selected mailbox is left by UNSELECT, and returns its name. An answer that is
    unclear (BAD, or no row) ends the list, unless it is the first: then the mailbox is asked for alone. If
    that is answered, and not for lack of an extension, the server accepts commands only one by one.
    """
    together = list(takewhile(_is_short, names[: min(limit.most, _affordable(connection))]))
    if len(together) < 2:
        return [(names[0], _caught(alone, names[0]))]
    left = leave()
    asked_for = items()
    try:
        flight = send_flight(connection, together, asked_for, leaves=left is not None)
    except (Transient, Throttled, ProtocolError):
        # an unproven session may have been lost before
        if connection.closed and connection.is_proven and limit.note_lost(len(together)):
            connection.was_lost_in_flight = True
        raise
    limit.answered = max(limit.answered, len(together))
    if not flight.has_left:
        leave_folder(connection, has_unselect=True)
    answers: list[tuple[bytes, StatusAnswer]] = []
    for name, answer in zip(together, map(flight.answers.get, together), strict=True):
        is_unclear = answer is None or (isinstance(answer, StatusResponse) and answer.status == "BAD")
        if is_unclear or (name == left and not flight.has_left):
            if answers:
                break
            single = _caught(alone, name)
            answers.append((name, single))
            if connection.closed:
                break
            if isinstance(single, MailboxStatus) and items() == asked_for:
                limit.most = 1
        elif isinstance(answer, StatusResponse):
            answers.append((name, error_for(answer, "STATUS")))
        elif answer is not None:
            answers.append((name, answer))
    return answers


def _affordable(connection: Connection) -> int:
    """Return how many commands a flight may have: what it shows needs commands too."""
    bucket = connection.bucket
    return max(1, int(bucket.tokens - bucket.floor) // 2)


def _is_short(name: bytes) -> bool:
    return not isinstance(astring(name), LiteralArgument)


def _caught(alone: Callable[[bytes], MailboxStatus], name: bytes) -> StatusAnswer:
    try:
        return alone(name)
    except MailsyncError as error:
        return error
