"""Responses that a server sends unasked, taken from a buffer that may end in the middle of one."""

from __future__ import annotations

import re

_LITERAL = re.compile(rb"~?\{(\d{1,18})\+?\}\r?\n\Z")
_LONGEST_MARKER = 32
_HOLDS_LITERALS = re.compile(rb"\* (?!(?:OK|NO|BAD|BYE|PREAUTH)\b)", re.IGNORECASE)


def whole_responses(buffer: bytes, start: int = 0) -> tuple[list[list[bytes]], int]:
    """Split the bytes from `start` into whole responses; return them and where the rest begins.

    Each response is text, literal, text, …, without the end of its last line, as
    :meth:`mailsync.imap.reader.Reader.read_response` returns it.
    """
    responses: list[list[bytes]] = []
    while (parts_end := _whole_response(buffer, start)) is not None:
        parts, start = parts_end
        responses.append(parts)
    return responses, start


def _whole_response(buffer: bytes, position: int) -> tuple[list[bytes], int] | None:
    parts: list[bytes] = []
    while True:
        end = buffer.find(b"\n", position) + 1
        if not end:
            return None
        marker = None
        if parts or _HOLDS_LITERALS.match(buffer, position):
            marker = _LITERAL.search(buffer, max(position, end - _LONGEST_MARKER), end)
        if not marker:
            parts.append(buffer[position:end].rstrip(b"\r\n"))
            return parts, end
        literal_end = end + int(marker[1])
        if literal_end > len(buffer):
            return None
        parts += buffer[position : marker.start()], buffer[end:literal_end]
        position = literal_end
