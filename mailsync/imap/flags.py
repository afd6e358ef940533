"""A FLAGS list of the wire becomes the tuple that is stored: canonical, sorted, without ``\\Recent``."""

from __future__ import annotations

import re

from mailsync.imap.names import decode_name
from mailsync.words import clean_text, decode_raw

LONGEST_KEYWORD = 500
MOST_FLAGS = 500

_SYSTEM = {name.lower(): name for name in ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")}
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s()"]+)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

_known: dict[bytes, tuple[str, ...]] = {}


def parse_flags(raw: bytes) -> tuple[str, ...]:
    """Return the flags of ``\\Seen $Junk``, the inside of a FLAGS list (RFC 9051 §2.3.2).

    System flags get their canonical case, keywords keep theirs. A keyword of more than 500 characters is
    dropped, and that keyword only.
    """
    flags = _known.get(raw)
    if flags is None:
        flags = _parse(raw)
        if len(_known) >= 10_000:
            _known.clear()
        if len(raw) <= 1000:
            _known[raw] = flags
    return flags


def _parse(raw: bytes) -> tuple[str, ...]:
    found = set()
    for match in _WORD.finditer(decode_raw(raw)):
        flag = _ESCAPE.sub(r"\1", match[1]) if match[1] is not None else match[2]
        if not flag or len(flag) > LONGEST_KEYWORD or flag.lower() == "\\recent":
            continue
        found.add(_SYSTEM.get(flag.lower(), clean_text(flag)))
    return tuple(sorted(found)[:MOST_FLAGS])


def parse_labels(raw: bytes) -> tuple[str, ...]:
    """Return Gmail's labels of ``\\Inbox "My label"``, the inside of an X-GM-LABELS list.

    They are mailbox names, so they come in modified UTF-7.
    """
    found = []
    for match in _WORD.finditer(decode_raw(raw)):
        label = _ESCAPE.sub(r"\1", match[1]) if match[1] is not None else match[2]
        if label:
            found.append(decode_name(label.encode("utf-8", "replace")))
    return tuple(sorted(set(found))[:MOST_FLAGS])
