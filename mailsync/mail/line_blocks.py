"""A stream of bytes, cut into whole lines, so that what is read does not depend on how it arrived."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

LONGEST_LINE = 64 * 1024
"""Bytes of a line that are looked at together; longer lines are cut into pieces of this length."""


class LineBlocks:
    r"""Collects bytes until a line ends with LF, CR or CRLF.

    >>> blocks = LineBlocks()
    >>> blocks.feed(b"one\r\ntwo\nth"), blocks.feed(b"ree"), blocks.finish()
    ([b'one\r\ntwo\n'], [], [b'three'])
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, several in one block, and pieces of an endless line."""
        data = self._rest + data
        # a CR at the very end may be half of a CRLF
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, max(0, len(data) - 1))) + 1
        blocks = [data[:end]] if end else []
        while len(data) - end - data.endswith(b"\r") > LONGEST_LINE:
            blocks.append(data[end : end + LONGEST_LINE])
            end += LONGEST_LINE
        self._rest = data[end:]
        return blocks

    def finish(self) -> list[bytes]:
        """Return the last line, which has no end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def lines_in_block(block: bytes) -> Iterator[bytes]:
    """Yield the lines of a block with their ends; longer ones than :data:`LONGEST_LINE` in pieces."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start) + 1 or len(block)
        line = block[start:end]
        start = end
        if len(line) > LONGEST_LINE or b"\r" in line[:-2] or line.endswith(b"\r"):
            yield from (piece for part in line.splitlines(keepends=True) for piece in _pieces(part))
        else:
            yield line


def _pieces(line: bytes) -> list[bytes]:
    length = len(line.rstrip(b"\r\n"))
    if length <= LONGEST_LINE:
        return [line]
    cuts = [*range(0, length, LONGEST_LINE), len(line)]
    return [line[start:end] for start, end in pairwise(cuts)]
