"""Files in uuencode, in parts of that encoding and inside texts (POSIX, ``uuencode``).

``begin 644 name``, lines that begin with their length, ``end``. ``begin-base64 644 name``, lines of base64,
``====`` is the other form of the same program.
"""

from __future__ import annotations

import binascii
import re
from binascii import a2b_uu

from mailsync.mail.base64_decoding import decode_base64
from mailsync.mail.charsets import decode_raw
from mailsync.mail.encoded_lines import Piece
from mailsync.mail.line_blocks import lines_in_block
from mailsync.mail.text import MAX_INDEXED_BYTES, cut, decode_words, one_line

LONGEST_NAME = 1000
"""Bytes of a line that begins a file."""

_BEGIN = re.compile(rb"begin(-base64)?[ \t]+0?[0-7]{3,4}[ \t]+(\S.*)")
_ALPHABET = bytes(range(0x20, 0x61))
_NOT_ALPHABET = re.compile(rb"[^ -`]")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_MOST_SURPLUS = 2
"""Characters after the data of a line, where some programs write a checksum."""
_MOST_MISSING = 3
"""Blanks that may have been cut off a line that is not a full one."""

_TYPES = {
    "7z": "application/x-7z-compressed", "avi": "video/x-msvideo", "bmp": "image/bmp", "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "eml": "message/rfc822", "gif": "image/gif", "gz": "application/gzip", "htm": "text/html",
    "html": "text/html", "ics": "text/calendar", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "json": "application/json", "log": "text/plain", "mp3": "audio/mpeg", "mp4": "video/mp4",
    "msg": "application/vnd.ms-outlook", "odt": "application/vnd.oasis.opendocument.text",
    "pdf": "application/pdf", "png": "image/png", "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rtf": "application/rtf", "tif": "image/tiff", "tiff": "image/tiff", "txt": "text/plain",
    "vcf": "text/vcard", "wav": "audio/x-wav", "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xml": "text/xml",
    "zip": "application/zip",
}  # fmt: skip


class EncodedFile:
    """A file that a line began: the name, and which of the following lines belong to the file.

    ``has_data`` says whether a line of data was among them, ``has_ended`` whether the last line was. A line
    that does not belong to the file ends it, too.
    """

    def __init__(self, raw_name: bytes, *, is_base64: bool) -> None:
        self.raw_name = raw_name
        self.has_data = False
        self.has_ended = False
        self._is_base64 = is_base64
        self._length = b""

    @property
    def name(self) -> str | None:
        """The file's name, decoded."""
        return cut(one_line(decode_words(decode_raw(self.raw_name))), MAX_INDEXED_BYTES) or None

    @property
    def content_type(self) -> str:
        """The type that the name's extension stands for; application/octet-stream for an unknown one."""
        extension = (self.name or "").rpartition(".")[2].lower()
        return _TYPES.get(extension, "application/octet-stream")

    def decode(self, line: bytes) -> bytes | None:
        """Return the bytes of the next line; None if the line does not belong to the file."""
        body = line.rstrip(b"\r\n")
        if not body.strip():
            return b""
        if self._is_base64:
            return self._decode_base64(body.strip())
        if body.rstrip() == b"end":
            self.has_ended = True
            return b""
        if not self._is_data(body):
            return None
        self._length = body[:1]
        self.has_data = True
        try:
            return a2b_uu(body[: 1 + _characters(body)])
        except binascii.Error:
            return None

    def _decode_base64(self, body: bytes) -> bytes | None:
        if body == b"====":
            self.has_ended = True
            return b""
        if body.translate(None, _BASE64) or len(body) % 4:
            return None
        self.has_data = True
        return decode_base64(body)

    def _is_data(self, body: bytes) -> bool:
        if body.translate(None, _ALPHABET):
            return False
        characters = _characters(body)
        missing = 1 + characters - len(body)
        # a full line may end with as many blanks as the file has zeros, and some programs cut them off
        is_full = body[:1] in (b"M", self._length) or len(body.rstrip()) == 1
        return missing >= -_MOST_SURPLUS and (missing <= max(_MOST_MISSING, characters // 2) or is_full)


def begin_file(line: bytes) -> EncodedFile | None:
    """Return the file that `line` begins; None if the line begins no file.

    >>> begin_file(b"begin 644 list.csv").name, begin_file(b"begin at the beginning")
    ('list.csv', None)
    """
    if not line.startswith(b"begin") or len(line) > LONGEST_NAME:
        return None
    match = _BEGIN.fullmatch(line.strip())
    return EncodedFile(match[2], is_base64=match[1] is not None) if match else None


class UuencodeReader:
    """Reads lines that should be uuencoded; see :class:`mailsync.mail.encoded_lines.LineReader`."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.is_sure = False
        self.has_text = False
        self.fits = True
        self._file: EncodedFile | None = None
        self._begun = bytearray()

    def read_block(self, block: bytes) -> None:
        """Read whole lines, as :meth:`read_line` would one by one."""
        for line in lines_in_block(block):
            self.read_line(line)

    def read_line(self, line: bytes) -> None:
        """Read one line with its end, or a piece of a very long one."""
        if self._file is None:
            self._read_outside(line)
            return
        data = self._file.decode(line)
        if data is None and self._file.has_data and (repaired := _repaired(line)):
            self.fits = False
            data = self._file.decode(repaired)
        if data is None:
            self._end_file()
            self._read_outside(line)
            return
        self.pieces.append(Piece(data, was_encoded=True))
        if self._file.has_data or self._file.has_ended:
            self.is_sure = True
            self._begun.clear()
        elif self._begun:
            self._begun += line
        if self._file.has_ended:
            self._file = None

    def finish(self) -> None:
        """Decode the rest."""
        if self._file is not None:
            self._end_file()

    def _read_outside(self, line: bytes) -> None:
        if self.is_sure:
            # a part is one file: another one after the first is left as text
            self._add_text(line)
            return
        self._file = begin_file(line)
        if self._file is not None:
            self._begun += line
        elif _is_full(line):
            # the line that begins the file is missing
            self._file, self.fits = EncodedFile(b"", is_base64=False), False
            self.read_line(line)
        else:
            self._add_text(line)

    def _end_file(self) -> None:
        """End a file without its last line."""
        self._file, self.fits = None, False
        if self._begun:
            self._add_text(bytes(self._begun))
            self._begun.clear()

    def _add_text(self, line: bytes) -> None:
        self.pieces.append(Piece(line, was_encoded=False))
        if line.strip():
            self.has_text, self.fits = True, False


def _characters(body: bytes) -> int:
    """Return how many characters the length at the beginning of a line stands for."""
    return ((body[0] - 0x20) % 64 + 2) // 3 * 4


def _is_full(line: bytes) -> bool:
    """Whether a line can be nothing but the usual 45 bytes in uuencode."""
    body = line.rstrip(b"\r\n")
    return (
        body.startswith(b"M") and len(body) == 1 + _characters(body) and not body.translate(None, _ALPHABET)
    )


def _repaired(line: bytes) -> bytes:
    """Return a line of 45 bytes with zeros for characters that uuencode does not have."""
    body = line.rstrip(b"\r\n")
    if not body.startswith(b"M") or not 0 <= len(body) - 1 - _characters(body) <= _MOST_SURPLUS:
        return b""
    return _NOT_ALPHABET.sub(b"`", body) if len(_NOT_ALPHABET.findall(body)) * 8 < len(body) else b""
