"""A FLAGS list becomes the tuple that is stored: canonical, sorted, without ``\\Recent``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailsync.bounded_cache import BoundedCache
from mailsync.imap.parsing.mailbox_name import decode_name
from mailsync.mail.charsets import decode_raw
from mailsync.mail.text import clean_text

LONGEST_KEYWORD = 500
LONGEST_LABEL = 2000
MOST_FLAGS = 500
LONGEST_LIST = 1024 * 1024
"""Bytes of a list that are read; MOST_FLAGS keywords of the greatest length take fewer."""

_SYSTEM = {name.lower(): name for name in ("\\Answered", "\\Deleted", "\\Draft", "\\Flagged", "\\Seen")}
_WORD = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"|(\\?\Z))|([^\s()"]++)', re.DOTALL)
_ATOM = re.compile(rb'[^\s()"]++')
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)

_known: BoundedCache[bytes, tuple[str, ...]] = BoundedCache(4 * 1024 * 1024)


def parse_flags(raw: bytes) -> tuple[str, ...]:
    r"""Parse the inside of a FLAGS list (RFC 9051 §2.3.2), such as ``\Seen $Junk``.

    System flags get their canonical case, keywords keep theirs. A keyword of more than 500 characters is
    ignored.
    """
    flags = _known.get(raw)
    if flags is None:
        flags = _parse(raw)
        _known.remember(raw, flags, 300 + 3 * len(raw) + 60 * len(flags))
    return flags


def _parse(raw: bytes) -> tuple[str, ...]:
    flags = set()
    for word in _words(raw):
        flag = clean_text(decode_raw(word))
        if len(flag) <= LONGEST_KEYWORD and flag.lower() != "\\recent":
            flags.add(_SYSTEM.get(flag.lower(), flag))
    return tuple(sorted(flags)[:MOST_FLAGS])


def _words(raw: bytes) -> Iterator[bytes]:
    if len(raw) > LONGEST_LIST:
        # the last word is incomplete
        raw = raw[:LONGEST_LIST].rpartition(b" ")[0]
    for match in _WORD.finditer(raw):
        if match[2] is not None:
            # skip an unterminated quote and read the words after it, none of which can be quoted
            yield from _ATOM.findall(raw, match.start() + 1)
            return
        word = _ESCAPE.sub(rb"\1", match[1]) if match[1] is not None else match[3]
        if word:
            yield word


def parse_labels(raw: bytes) -> tuple[str, ...]:
    r"""Parse the inside of Gmail's X-GM-LABELS list, such as ``\Inbox "My label"``.

    Labels are mailbox names in modified UTF-7. A label of more than 2,000 bytes is ignored.
    """
    return tuple(
        sorted({decode_name(word) for word in _words(raw) if len(word) <= LONGEST_LABEL})[:MOST_FLAGS]
    )
