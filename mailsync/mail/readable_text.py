"""Whether bytes are text that people write, in UTF-8 or in the charset that a message names; pure."""

from __future__ import annotations

import re

from mailsync.mail.charset_names import codec_for
from mailsync.mail.charsets import decode_bytes
from mailsync.mail.utf16 import WIDE

_CONTROLS = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b")
_LOOKED_AT = 400
"""Bytes that are decoded, which is a whole number of characters in UTF-16 and UTF-32."""

# controls, lines and boxes, private and unassigned characters, U+FFFD: no words are written with these
_ODD = re.compile(
    "[\0-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\xa4\xa6\xac\xae\xb1\xb6\xb7\xd7\xf7"
    "\u2190-\u2fff\ud800-\uf8ff\ufff0-\uffff]"
)
# a capital letter behind a small one, and Latin letters next to Greek, Cyrillic, Hebrew or Arabic ones
_ODD_PAIR = re.compile(
    "[a-z\xdf-\xff\u0430-\u045f][A-Z\xc0-\xde\u0400-\u042f]|[A-Za-z][\u0370-\u06ff]|[\u0370-\u06ff][A-Za-z]"
)
# scripts of many letters, of which one text has only one; random UTF-16 mixes them
_HAN = re.compile("[\u3400-\u9fff]")
_OTHER_LARGE = re.compile("[\u0700-\u1fff\ua000-\ud7ff]")


def is_text(data: bytes) -> bool:
    """Whether these bytes are UTF-8 without control characters."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return has_no_controls(data)


def has_no_controls(data: bytes) -> bool:
    """Whether no byte is a control character that texts do not hold; such bytes are no UTF-16."""
    return _CONTROLS.isdisjoint(data)


def is_text_in(data: bytes, charset: str) -> bool:
    """Whether these bytes are text in UTF-8, or words in `charset`, which has a character for most bytes."""
    if is_text(data):
        return True
    codec = codec_for(charset)
    if codec is None or codec in ("utf_8", "ascii"):
        return False
    text, fits = decode_bytes(data[:_LOOKED_AT], charset)
    if not fits or _ODD.search(text) or _ODD_PAIR.search(text):
        return False
    return codec not in WIDE or not (_HAN.search(text) and _OTHER_LARGE.search(text))
