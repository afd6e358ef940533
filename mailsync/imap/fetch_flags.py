"""FETCH of flags and identities: small responses, many of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mailsync.errors import ProtocolError, Throttled, Transient
from mailsync.imap.bounds import BYTES_OF_A_STATE, LARGEST_SCAN, MOST_RANGES
from mailsync.imap.connection import Wire
from mailsync.imap.parsing.fetch_response import is_fetch, parse_fetch
from mailsync.imap.parsing.message import build_state, quick_state, uid_of
from mailsync.imap.parsing.search_response import BIGGEST
from mailsync.imap.status_responses import error_for
from mailsync.model import MessageState
from mailsync.uidset import Range, UidSet

MOST_AT_ONCE = 5000
MOST_UNASKED = 100_000
"""Ranges in a VANISHED that comes unasked, for messages that others delete from the open mailbox."""

_VANISHED = re.compile(rb"\* VANISHED +(\(EARLIER\) +)?([0-9:,]+)", re.IGNORECASE)


@dataclass(slots=True)
class FlagChanges:
    """The answer to a flag scan: ``states`` has to be read to its end before ``vanished`` is whole."""

    states: Iterator[list[MessageState]]
    vanished: UidSet = field(default_factory=UidSet)


def parse_vanished(
    parts: list[bytes], within: Range = (1, BIGGEST), most: int = MOST_UNASKED
) -> tuple[bool, UidSet] | None:
    """Read ``* VANISHED (EARLIER) 3:5,9`` (RFC 7162 §3.2.10): whether earlier, and which `within` a range.

    Returns None for other responses, and for more than `most` ranges.
    """
    found = _VANISHED.match(parts[0])
    if found is None:
        return None
    try:
        uids = UidSet.parse(found[2].decode("ascii").strip(","), most, within)
    except ValueError:
        return None
    return bool(found[1]), uids


def read_states(
    wire: Wire, asked: UidSet, expected: int, changes: FlagChanges | None = None
) -> Iterator[list[MessageState]]:
    """Yield what the FETCH in flight answers, in lists of at most 5,000; collect VANISHED in `changes`.

    `expected` is how many messages there can be. Raises the error of a completion other than OK, unless it is
    a NO after data, and SentTooMuch.
    """
    states: dict[int, MessageState] = {}
    reader = wire.reader
    vanished: list[Range] = []
    size = 0
    any_data = False
    everything = len(asked.ranges) == 1
    lowest, highest = asked.lowest, asked.highest
    for parts in wire.answer(expected, BYTES_OF_A_STATE):
        cut = reader.oversized
        state = quick_state(parts[0]) if len(parts) == 1 and cut is None else None
        if state is None:
            if not is_fetch(parts):
                if cut is not None and _VANISHED.match(parts[0]):
                    raise ProtocolError(f"FETCH: the answer holds {cut}")
                told = parse_vanished(parts, (lowest, highest), MOST_RANGES)
                if told and told[0] and changes is not None:
                    vanished += told[1].ranges
                    if len(vanished) > MOST_RANGES:
                        raise wire.too_much(f"{MOST_RANGES:,} ranges of vanished messages")
                else:
                    wire.unasked(parts)
                continue
            fields = parse_fetch(parts)
            uid = uid_of(fields)
            state = build_state(uid, fields) if cut is None else MessageState(uid, None, None, None, None)
        uid = state.uid
        if uid < lowest or uid > highest or not (everything or uid in asked) or not uid:
            continue
        states[uid] = _merged(states[uid], state) if uid in states else state
        size += sum(map(len, parts))
        if len(states) >= MOST_AT_ONCE or size > LARGEST_SCAN:
            any_data = True
            yield list(states.values())
            states, size = {}, 0
    if vanished and changes is not None:
        # Once, not for each response: the time of a union grows with all that it joins.
        changes.vanished = changes.vanished.union(UidSet(vanished).both(asked))
    if wire.reply.status != "OK":
        error = error_for(wire.reply, "FETCH")
        used = (
            wire.reply.status == "NO"
            and (any_data or states)
            and not isinstance(error, Throttled | Transient)
        )
        if not used:
            raise error
    if states:
        yield list(states.values())


def _merged(old: MessageState, new: MessageState) -> MessageState:
    """Apply what came later of the same message, which may be its flags only."""
    return MessageState(
        old.uid,
        old.modseq if new.modseq is None else new.modseq,
        old.flags if new.flags is None else new.flags,
        old.internal_date if new.internal_date is None else new.internal_date,
        old.size_bytes if new.size_bytes is None else new.size_bytes,
    )
