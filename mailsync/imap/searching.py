"""Answers of SEARCH and ESEARCH become UID sets (RFC 9051 §7.3.4, RFC 4731)."""

from __future__ import annotations

import re

from mailsync.uids import UidSet

_SEARCH = re.compile(rb"\* SEARCH\b", re.IGNORECASE)
_ESEARCH = re.compile(rb"\* ESEARCH\b", re.IGNORECASE)
_ALL = re.compile(rb"\bALL +([0-9:,]+)", re.IGNORECASE)
_MODSEQ = re.compile(rb"\(MODSEQ \d+\)", re.IGNORECASE)
_NUMBER = re.compile(rb"\d{1,18}")

BIGGEST = 2**63 - 1


def is_search(parts: list[bytes]) -> bool:
    """Whether the response is one of SEARCH or ESEARCH."""
    return bool(_SEARCH.match(parts[0]) or _ESEARCH.match(parts[0]))


def parse_search(parts: list[bytes]) -> UidSet | None:
    """Read ``* SEARCH 2 3 6`` or ``* ESEARCH (TAG "a1") UID ALL 2:3,6``; None for other responses.

    Commas between numbers are understood too, and UID 0, which no message has, is left out. Raises
    ValueError for an ESEARCH set that is none.
    """
    text = parts[0]
    if _ESEARCH.match(text):
        found = _ALL.search(text)
        uids = UidSet.parse(found[1].decode("ascii").strip(",")) if found else UidSet()
        return uids.between(1, BIGGEST)
    if _SEARCH.match(text):
        numbers = _NUMBER.findall(_MODSEQ.sub(b"", text))
        return UidSet.of(uid for uid in map(int, numbers) if uid)
    return None
