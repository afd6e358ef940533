"""SEARCH and ESEARCH responses become sets of UIDs (RFC 9051 §7.3.4, RFC 4731)."""

from __future__ import annotations

import re

from mailsync.imap.bounds import BIGGEST, MOST_RANGES
from mailsync.uidset import Range, UidSet, slices

_SEARCH = re.compile(rb"\* SEARCH\b", re.IGNORECASE)
_ESEARCH = re.compile(rb"\* ESEARCH\b", re.IGNORECASE)
_ALL = re.compile(rb"\bALL +([0-9:,]+)", re.IGNORECASE)
_MODSEQ = re.compile(rb"\(MODSEQ \d+\)", re.IGNORECASE)
_NUMBER = re.compile(rb"\d{1,18}")


def is_search(parts: list[bytes]) -> bool:
    """Whether this is a SEARCH or ESEARCH response."""
    return bool(_SEARCH.match(parts[0]) or _ESEARCH.match(parts[0]))


def parse_search(parts: list[bytes], most: int = MOST_RANGES, within: Range = (1, BIGGEST)) -> UidSet | None:
    """Parse ``* SEARCH 2 3 6`` or ``* ESEARCH (TAG "a1") UID ALL 2:3,6``; None for other responses.

    Some servers separate the numbers by commas. UIDs outside of `within`, the range that was asked for, and
    UID 0, which no message has, are ignored. Raises ValueError for a malformed ESEARCH set, and
    TooManyRanges, a ValueError too, for more than `most` ranges.
    """
    text = parts[0]
    if _ESEARCH.match(text):
        sequence = _ALL.search(text)
        return UidSet.parse(sequence[1].decode("ascii").strip(","), most, within) if sequence else UidSet()
    if _SEARCH.match(text):
        pieces = slices(_MODSEQ.sub(b"", text).replace(b",", b" "), b" ")
        sets = (UidSet.of(map(int, _NUMBER.findall(piece))).between(*within) for piece in pieces)
        return UidSet.collect((uid_range for uids in sets for uid_range in uids.ranges), most)
    return None
