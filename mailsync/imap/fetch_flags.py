"""FETCH of flags, dates and sizes: small responses, many of them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mailsync.errors import MailsyncError, NotConnected, ProtocolError, Throttled, Transient
from mailsync.imap.bounds import (
    BIGGEST,
    BYTES_OF_A_STATE,
    LARGEST_SCAN,
    LONGEST_SET,
    MOST_RANGES,
)
from mailsync.imap.capabilities import Capabilities
from mailsync.imap.connection import Connection, Response
from mailsync.imap.message_limit import parse_cut
from mailsync.imap.parsing.fetch_response import is_fetch, parse_fetch
from mailsync.imap.parsing.message import build_state, quick_state, uid_of
from mailsync.imap.status_responses import LOGGED_OUT, StatusResponse, error_for
from mailsync.model import MessageState
from mailsync.uidset import Range, UidSet

MOST_AT_ONCE = 5000
MOST_REFUSALS = 64
"""Refused sets in one scan. One bad message among 100,000 causes 17."""
MOST_UNASKED = 100_000
"""Ranges in a VANISHED that comes unasked, for messages that others delete from the selected folder."""

_VANISHED = re.compile(rb"\* VANISHED +(\(EARLIER\) +)?([0-9:,]+)", re.IGNORECASE)


@dataclass(slots=True)
class FlagChanges:
    """The answer to a flag scan. ``vanished`` is complete only after ``states`` was read to its end."""

    states: Iterator[list[MessageState]]
    vanished: UidSet = field(default_factory=UidSet)


def parse_vanished(
    response: Response, within: Range = (1, BIGGEST), most: int = MOST_UNASKED
) -> tuple[bool, UidSet] | None:
    """Read ``* VANISHED (EARLIER) 3:5,9`` (RFC 7162 §3.2.10): whether EARLIER, and the UIDs in `within`.

    Returns None for other responses, and for more than `most` ranges.
    """
    match = _VANISHED.match(response[0])
    if match is None:
        return None
    try:
        uids = UidSet.parse(match[2].decode("ascii").strip(","), most, within)
    except ValueError:
        return None
    return bool(match[1]), uids


def scan(
    connection: Connection,
    capabilities: Capabilities,
    uids: UidSet,
    items: bytes,
    modifier: Iterable[bytes],
    expected: int,
    changes: FlagChanges | None,
) -> Iterator[list[MessageState]]:
    """Send ``UID FETCH 1:9 (UID FLAGS) (CHANGEDSINCE 3)`` and yield the states, in lists of at most 5,000.

    UIDs that VANISHED (EARLIER) names are added to `changes`. `expected` is how many messages there can be.
    A server that stopped at its limit (RFC 9738) is asked for the lower UIDs, too. A set that the server
    refuses is requested in halves, so that one bad message hides no other; a message that is refused alone is
    left out. If the server answers BAD, the extensions of `modifier` are disabled. Raises the
    error of a completion other than OK, except for a NO after data, if :data:`MOST_REFUSALS` sets or all
    messages are refused, and SentTooMuch.
    """
    parts = deque(uids.to_commands(LONGEST_SET))
    refusals = _Refusals(connection, may_be_extension=bool(modifier))
    try:
        while parts:
            part = parts.popleft()
            connection.start("UID FETCH", part.encode("ascii"), items, *modifier)
            try:
                yield from _read_states(connection, uids, expected, changes)
                refusals.has_answer = True
                if rest := _not_processed(connection.completion, part):
                    parts.appendleft(rest)
            except (ProtocolError, Transient) as error:
                parts.extendleft(refusals.halves(part, error))
        refusals.end()
    except ProtocolError:
        if connection.completion.status == "BAD":
            for text in modifier:
                capabilities.disable("QRESYNC", *(() if b"VANISHED" in text else ("CONDSTORE",)))
        raise
    finally:
        connection.drain()


def _not_processed(completion: StatusResponse, part: str) -> str:
    """Return the sequence set below the UID at which the server stopped; empty if it did not stop."""
    cut = parse_cut(completion)
    if cut is None or cut.lowest is None:
        return ""
    asked = UidSet.parse(part)
    return str(asked.between(1, cut.lowest - 1)) if cut.lowest <= asked.highest else ""


class _Refusals:
    """The sets that the server refused in one scan."""

    def __init__(self, connection: Connection, *, may_be_extension: bool) -> None:
        self.has_answer = False
        self._connection = connection
        self._may_be_extension = may_be_extension
        self._last: MailsyncError | None = None
        self._count = 0

    def halves(self, part: str, error: MailsyncError) -> list[str]:
        """Return the halves of a refused set, upper half first, or nothing for one message; or raise `error`.

        A broken connection is raised, and what no message can cause. So is BAD to a command with a modifier,
        which the server may not understand.
        """
        completion = self._connection.completion
        is_refusal = not self._connection.closed and completion.status in ("NO", "BAD")
        is_extension = completion.status == "BAD" and self._may_be_extension
        is_logged_out = completion.code in LOGGED_OUT or isinstance(error, NotConnected)
        self._count += 1
        if not is_refusal or is_extension or is_logged_out or self._count > MOST_REFUSALS:
            raise error
        self._last = error
        uids = UidSet.parse(part)
        lower = uids.oldest(len(uids) // 2)
        return [str(uids.minus(lower)), str(lower)] if lower else []

    def end(self) -> None:
        """Raise the last refusal if the server gave nothing at all."""
        if self._last is not None and not self.has_answer:
            raise self._last


def _read_states(
    connection: Connection, uids: UidSet, expected: int, changes: FlagChanges | None
) -> Iterator[list[MessageState]]:
    states: dict[int, MessageState] = {}
    reader = connection.reader
    vanished: list[Range] = []
    size = 0
    has_data = False
    is_one_range = len(uids.ranges) == 1
    lowest, highest = uids.lowest, uids.highest
    for response in connection.responses(expected, BYTES_OF_A_STATE):
        cut = reader.oversized
        state = quick_state(response[0]) if len(response) == 1 and cut is None else None
        if state is None:
            if not is_fetch(response):
                if cut is not None and _VANISHED.match(response[0]):
                    raise ProtocolError(f"FETCH: the answer holds {cut}")
                is_earlier, gone = parse_vanished(response, (lowest, highest), MOST_RANGES) or (False, None)
                if is_earlier and gone is not None and changes is not None:
                    vanished += gone.ranges
                    if len(vanished) > MOST_RANGES:
                        raise connection.too_much(f"{MOST_RANGES:,} ranges of vanished messages")
                else:
                    connection.on_untagged(response)
                continue
            fields = parse_fetch(response)
            uid = uid_of(fields)
            state = build_state(uid, fields) if cut is None else MessageState(uid, None, None, None, None)
        uid = state.uid
        if uid < lowest or uid > highest or not (is_one_range or uid in uids) or not uid:
            continue
        states[uid] = _merged(states[uid], state) if uid in states else state
        size += sum(map(len, response))
        if len(states) >= MOST_AT_ONCE or size > LARGEST_SCAN:
            has_data = True
            yield list(states.values())
            states, size = {}, 0
    if vanished and changes is not None:
        # one union for all responses, since each takes as long as the whole set
        changes.vanished = changes.vanished.union(UidSet(vanished).both(uids))
    if connection.completion.status != "OK":
        error = error_for(connection.completion, "FETCH")
        is_partial = connection.completion.status == "NO" and (has_data or states)
        if not is_partial or isinstance(error, Throttled | Transient):
            raise error
    if states:
        yield list(states.values())


def _merged(old: MessageState, new: MessageState) -> MessageState:
    """Apply a later response for the same message, which may hold its flags only."""
    return MessageState(
        old.uid,
        old.modseq if new.modseq is None else new.modseq,
        old.flags if new.flags is None else new.flags,
        old.internal_date if new.internal_date is None else new.internal_date,
        old.size_bytes if new.size_bytes is None else new.size_bytes,
    )
