"""Answers of SEARCH and ESEARCH become UID sets (RFC 9051 §7.3.4, RFC 4731)."""

from __future__ import annotations

import re

from mailsync.imap.bounds import MOST_RANGES
from mailsync.uidset import Range, UidSet, slices

_SEARCH = re.compile(rb"\* SEARCH\b", re.IGNORECASE)
_ESEARCH = re.compile(rb"\* ESEARCH\b", re.IGNORECASE)
_ALL = re.compile(rb"\bALL +([0-9:,]+)", re.IGNORECASE)
_MODSEQ = re.compile(rb"\(MODSEQ \d+\)", re.IGNORECASE)
_NUMBER = re.compile(rb"\d{1,18}")

BIGGEST = 2**63 - 1


def is_search(parts: list[bytes]) -> bool:
    """Whether the response is one of SEARCH or ESEARCH."""
    return bool(_SEARCH.match(parts[0]) or _ESEARCH.match(parts[0]))


def parse_search(parts: list[bytes], most: int = MOST_RANGES, within: Range = (1, BIGGEST)) -> UidSet | None:
    """Read ``* SEARCH 2 3 6`` or ``* ESEARCH (TAG "a1") UID ALL 2:3,6``; None for other responses.

    Commas between numbers are understood too. UID 0, which no message has, and UIDs that are not `within`
    the range that was asked for are left out. Raises ValueError for an ESEARCH set that cannot be read, and
    TooManyRanges, a ValueError too, for more than `most` ranges.
    """
    text = parts[0]
    if _ESEARCH.match(text):
        found = _ALL.search(text)
        return UidSet.parse(found[1].decode("ascii").strip(","), most, within) if found else UidSet()
    if _SEARCH.match(text):
        pieces = slices(_MODSEQ.sub(b"", text).replace(b",", b" "), b" ")
        sets = (UidSet.of(map(int, _NUMBER.findall(piece))).between(*within) for piece in pieces)
        return UidSet.collect((each for uids in sets for each in uids.ranges), most)
    return None
