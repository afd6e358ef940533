"""UTF-16 and UTF-32, and byte order marks; pure."""

from __future__ import annotations

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE

_MARKS = (
    # UTF-32 first: its mark in little endian begins with that of UTF-16
    (BOM_UTF32_LE, "utf_32_le"),
    (BOM_UTF32_BE, "utf_32_be"),
    (BOM_UTF16_LE, "utf_16_le"),
    (BOM_UTF16_BE, "utf_16_be"),
    (BOM_UTF8, "utf_8"),
)
FIRST_OF_MARKS = frozenset({b"\xef", b"\xff", b"\xfe", b"\0"})
"""The first byte of each byte order mark."""


WIDE = {"utf_16": 2, "utf_16_be": 2, "utf_16_le": 2, "utf_32": 4, "utf_32_be": 4, "utf_32_le": 4}
"""The bytes of a unit, by Python's codecs."""

_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_FOR_NUL = b"\x80"
# bytes of UTF-16 that may look like ASCII by accident
_SHORT = 8


def decode_by_mark(data: bytes) -> tuple[str, str] | None:
    """Return the text and its codec if `data` begins with a byte order mark and is valid in that encoding."""
    for mark, codec in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(codec), codec
            except UnicodeDecodeError:
                continue
    return None


def decode_wide(data: bytes, codec: str) -> tuple[str, bool]:
    """Decode UTF-16 or UTF-32; the byte order that the text's zeros show beats a missing or wrong name."""
    width = WIDE[codec]
    if b"\0" not in data and (text := _text_of_bytes(data, width)) is not None:
        return text, False
    first, last = data[0::width], data[width - 1 :: width]
    if b"\0" not in data and 2 * max(first.count(_FOR_NUL), last.count(_FOR_NUL)) > len(first):
        # IMAP has no NUL in a literal (RFC 9051 §4.3), so that Dovecot sends another byte
        return decode_wide(data.replace(_FOR_NUL, b"\0"), codec)[0], False
    zeros = first.count(0), last.count(0)
    if codec not in ("utf_16", "utf_32"):
        is_big = codec.endswith("_be")
        if 2 * zeros[is_big] > len(first) and not zeros[not is_big]:
            is_big = not is_big
    elif zeros[0] != zeros[1]:
        is_big = zeros[0] > zeros[1]
    else:
        # the characters of one script share their upper byte
        is_big = len(set(first)) < len(set(last))
    fitting = f"utf_{8 * width}_{'be' if is_big else 'le'}"
    try:
        return data.decode(fitting), codec in (fitting, fitting[:6])
    except UnicodeDecodeError:
        return data.decode(fitting, "replace"), False


def _text_of_bytes(data: bytes, width: int) -> str | None:
    """Return bytes that are called UTF-16 or UTF-32 but can only be ASCII or UTF-8."""
    # the upper bytes of Cyrillic, Greek, Hebrew or Arabic are control characters here
    if _CONTROL.search(data) or (len(data) % width == 0 and len(data) < _SHORT):
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
