"""Encoded content with lines inside that are not encoded: which bytes of a part are which.

Footers of mailing lists and notes of virus scanners come before or after base64 (RFC 2045 §6.8) and
uuencode, and some programs name an encoding that they did not apply. A part that is shown keeps such lines
as text. A file leaves them out, unless nothing in the part is surely encoded: then the part is the file.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from mailsync.mail.line_blocks import LineBlocks, lines_in_block
from mailsync.mail.readable_text import is_text_in

_MOST_UNDECIDED = 64 * 1024
"""Bytes of a file without a line that is surely encoded, after which the decision is made."""


class Piece(NamedTuple):
    """Consecutive bytes of a part: decoded ones, or lines of text as they are."""

    data: bytes
    was_encoded: bool


class LineReader(Protocol):
    """Reads lines of one part and sorts them into :attr:`pieces`, which the caller takes away.

    ``is_sure`` says whether something was surely encoded, ``has_text`` whether there were other lines, and
    ``fits`` whether all was as the encoding wants it.
    """

    pieces: list[Piece]
    is_sure: bool
    has_text: bool
    fits: bool

    def read_line(self, line: bytes) -> None:
        """Read one line with its end, or a piece of a very long one."""

    def read_block(self, block: bytes) -> None:
        """Read whole lines, as :meth:`read_line` would one by one."""

    def finish(self) -> None:
        """Decode the rest."""


class FileDecoder:
    """Decodes the content of a file piece by piece, and leaves out lines that are not encoded.

    ``fits`` is false once bytes were left out or lost, or if the content stays as it is.
    """

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._blocks = LineBlocks()
        self._undecided = bytearray()
        self._is_decided = False
        self._as_it_is = False

    @property
    def fits(self) -> bool:
        """Whether all of the content is encoded as its name says."""
        return self._reader.fits and not self._as_it_is

    def feed(self, data: bytes) -> bytes:
        """Decode the next piece, of any length; an incomplete line waits for the next call."""
        return b"".join(self._read(block) for block in self._blocks.feed(data))

    def finish(self) -> bytes:
        """Decode the rest."""
        out = b"".join(self._read(block) for block in self._blocks.finish())
        if self._as_it_is:
            return out
        self._reader.finish()
        return out + (self._take() if self._is_decided else self._decide())

    def _read(self, block: bytes) -> bytes:
        if self._as_it_is:
            return block
        if self._is_decided:
            self._reader.read_block(block)
            return self._take()
        length = 0
        for line in lines_in_block(block):
            length += len(line)
            self._undecided += line
            self._reader.read_line(line)
            if self._reader.is_sure or len(self._undecided) > _MOST_UNDECIDED:
                return self._decide() + self._read(block[length:])
        return b""

    def _decide(self) -> bytes:
        self._is_decided = True
        if self._reader.has_text and not self._reader.is_sure:
            self._as_it_is = True
            out = bytes(self._undecided)
        else:
            out = self._take()
        self._undecided.clear()
        return out

    def _take(self) -> bytes:
        pieces = self._reader.pieces
        out = b"".join(piece.data for piece in pieces if piece.was_encoded)
        pieces.clear()
        return out


def decode_text(data: bytes, reader: LineReader, charset: str) -> tuple[list[Piece], bool]:
    """Return the content of a text in order, and whether all of the content was encoded.

    Neighbours of one kind are joined, and decoded text before other lines ends with a line.
    """
    reader.read_block(data)
    reader.finish()
    pieces = _joined(reader.pieces) or [Piece(b"", was_encoded=True)]
    if reader.has_text and not reader.is_sure and not _is_readable(pieces[0], charset):
        return [Piece(data, was_encoded=False)], False
    for i, piece in enumerate(pieces[:-1]):
        if piece.was_encoded and not piece.data.endswith((b"\n", b"\r")):
            pieces[i] = Piece(piece.data + b"\n", was_encoded=True)
    return pieces, reader.fits


def _joined(pieces: list[Piece]) -> list[Piece]:
    runs: list[tuple[bool, list[bytes]]] = []
    for data, was_encoded in pieces:
        if not runs or runs[-1][0] != was_encoded:
            runs.append((was_encoded, []))
        runs[-1][1].append(data)
    return [Piece(b"".join(run), was_encoded) for was_encoded, run in runs]


def _is_readable(piece: Piece, charset: str) -> bool:
    """Whether a piece was encoded and is text now; what is no base64 becomes random bytes."""
    return piece.was_encoded and is_text_in(piece.data, charset)
