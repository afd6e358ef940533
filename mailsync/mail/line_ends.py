"""The lines of a message: LF or CRLF ends them, or a bare CR where there is no LF, as on old Macs; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_EXAMINED = 64 * 1024

_LINE = re.compile(rb"[^\n]+\n?|\n")
_BARE_CR = re.compile(rb"\r(?!\n)")

Readline = Callable[[int], bytes]
"""Returns the next line of a text, or its first bytes, as many as the argument says; nothing at the end."""


def lines_of(text: bytes) -> Iterator[bytes]:
    """Yield the lines of a text, each with its LF."""
    for match in _LINE.finditer(text):
        yield match[0]


def with_line_feeds(text: bytes) -> bytes:
    r"""Return the text, with an LF for each bare CR if there is no LF in its first 64 KiB.

    >>> with_line_feeds(b"Subject: x\rFrom: y\r\rz\r")
    b'Subject: x\nFrom: y\n\nz\n'
    """
    return _BARE_CR.sub(b"\n", text) if _lacks_line_feeds(text[:_EXAMINED]) else text


def first_line(readline: Readline, longest: int) -> tuple[bytes, Readline]:
    """Return the first line that `readline` gives, at most `longest` bytes, and the function for the others.

    A text with bare CRs is changed as :func:`with_line_feeds` does, without reading all of it. The number of
    its bytes stays the same.
    """
    line = readline(longest)
    if not _lacks_line_feeds(line):
        return line, readline
    lines = _BareReturns(line, readline)
    return lines.readline(longest), lines.readline


def _lacks_line_feeds(beginning: bytes) -> bool:
    return b"\r" in beginning and b"\n" not in beginning


class _BareReturns:
    """Reads a text whose lines end with CR, LF or CRLF; each line that it returns ends with LF or CRLF."""

    def __init__(self, beginning: bytes, readline: Readline) -> None:
        self._readline = readline
        self._buffer, self._position = b"", 0
        self._cr = b""
        """A CR at the end of the text so far, which an LF may follow."""
        self._add(beginning)

    def readline(self, longest: int) -> bytes:
        while True:
            end = self._buffer.find(b"\n", self._position, self._position + longest) + 1
            if end or len(self._buffer) - self._position >= longest or not self._read_more(longest):
                start, self._position = self._position, end or self._position + longest
                return self._buffer[start : self._position]

    def _read_more(self, longest: int) -> bool:
        piece = self._readline(longest)
        if piece:
            self._add(piece)
        elif self._cr:
            self._buffer, self._cr = self._buffer + b"\n", b""
        else:
            return False
        return True

    def _add(self, piece: bytes) -> None:
        text = self._cr + piece
        self._cr = b"\r" if text.endswith(b"\r") else b""
        text = _BARE_CR.sub(b"\n", text.removesuffix(b"\r"))
        self._buffer, self._position = self._buffer[self._position :] + text, 0
