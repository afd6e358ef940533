"""The arguments of commands as bytes (RFC 9051 §4)."""

from __future__ import annotations

import re
from datetime import date

_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]{0,1000}")
_SECTION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)*(?:\.(?:MIME|HEADER|TEXT))?|HEADER|TEXT|)")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


class LiteralArgument(bytes):
    """An argument that is sent as a literal, after the server's ``+``."""


class ContinuationArgument(bytes):
    """A line that is sent after the server's ``+``, as AUTHENTICATE wants it (RFC 9051 §6.2.2)."""


def astring(value: bytes) -> bytes:
    """Return `value` quoted, or as a literal if a quoted string may not hold it."""
    if not _QUOTABLE.fullmatch(value):
        return LiteralArgument(value)
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def search_date(when: date) -> bytes:
    """Return a date for SEARCH, in English regardless of the locale: ``1-Feb-2024``."""
    return b"%d-%s-%04d" % (when.day, _MONTHS[when.month - 1], when.year)


def checked_section(section: str) -> str:
    """Return a section for BODY.PEEK as it is; raises ValueError for one that is none (RFC 9051 §6.4.5)."""
    if not _SECTION.fullmatch(section):
        raise ValueError("section: expected a part number, HEADER, TEXT or nothing")
    return section
