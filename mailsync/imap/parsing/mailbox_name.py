"""Mailbox names: modified UTF-7 (RFC 3501 §5.1.3) or UTF-8 becomes text; malformed names never raise."""

from __future__ import annotations

import binascii
import re

from mailsync.mail.charsets import decode_raw
from mailsync.mail.text import clean_text

_SHIFT = re.compile(rb"&([A-Za-z0-9+,]*)-")


def decode_name(wire_name: bytes) -> str:
    """Return the name as text, without NUL or lone surrogates; malformed parts stay as they are.

    >>> decode_name(b"Entw&APw-rfe"), decode_name(b"R & D"), decode_name("Ü".encode())
    ('Entwürfe', 'R & D', 'Ü')
    """
    if b"&" not in wire_name:
        return clean_text(decode_raw(wire_name))
    pieces = []
    position = 0
    for match in _SHIFT.finditer(wire_name):
        pieces.append(decode_raw(wire_name[position : match.start()]))
        pieces.append(_shifted(match[1], match[0]))
        position = match.end()
    pieces.append(decode_raw(wire_name[position:]))
    return clean_text("".join(pieces))


def _shifted(base64: bytes, whole: bytes) -> str:
    if not base64:
        return "&"
    try:
        raw = binascii.a2b_base64(base64.replace(b",", b"/") + b"=" * (-len(base64) % 4))
        if len(raw) % 2:
            return whole.decode("ascii")
        # clean_text replaces a surrogate without its other half later
        return raw.decode("utf-16-be", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        return whole.decode("ascii")
