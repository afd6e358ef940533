"""Base64 without anything else inside becomes bytes (RFC 2045 §6.8)."""

from __future__ import annotations

import binascii
import re
from binascii import a2b_base64

_PADDED = re.compile(rb"([^=]*)(=*)")
_SHORTEST_WIDTH = 40
"""Characters of a regular line that cannot be words."""


def decode_regular(data: bytes) -> bytes | None:
    """Decode base64 as most programs write it: lines of one length and a shorter one; None for any other."""
    stride = data.find(b"\n") + 1 or len(data)
    width = len(data[:stride].rstrip(b"\r\n"))
    last = data[len(data) // stride * stride :].rstrip(b"\r\n") if stride else b""
    characters = data.translate(None, b"\r\n")
    if (
        width < _SHORTEST_WIDTH
        or len(characters) != len(data) // stride * width + len(last)
        or (stride > width and data[stride - 1 :: stride].strip(b"\n"))
    ):
        return None
    try:
        return a2b_base64(characters, strict_mode=True)
    except binascii.Error:
        return None


def decode_base64(data: bytes) -> bytes:
    """Decode a line that holds only characters of the alphabet, with padding anywhere or without."""
    decoded, rest = decode_groups(data)
    return decoded + decode_padded(rest)


def decode_padded(data: bytes) -> bytes:
    """Decode base64 that lacks its padding; a last character that completes no byte is ignored."""
    data = data[: len(data) - (len(data) % 4 == 1)]
    return a2b_base64(data + b"=" * (-len(data) % 4))


def decode_groups(data: bytes) -> tuple[bytes, bytes]:
    """Decode base64 with padding anywhere; returns also the last characters that complete no byte."""
    end = data.rfind(b"=") + 1
    whole = len(data) - (len(data) - end) % 4
    groups = [decode_padded(match[1]) for match in _PADDED.finditer(data, 0, end)] if end else []
    return b"".join([*groups, a2b_base64(data[end:whole])]), data[whole:]
