"""Content transfer encodings (RFC 2045 §6), decoded piece by piece; malformed input never raises."""

from __future__ import annotations

import re
from binascii import a2b_qp
from collections.abc import Callable
from typing import Protocol

from mailsync.mail.base64_decoding import decode_regular
from mailsync.mail.base64_lines import Base64Reader
from mailsync.mail.content_fields import encoding_of
from mailsync.mail.encoded_lines import FileDecoder, LineReader, Piece, decode_text
from mailsync.mail.uuencode import UuencodeReader

# a run of blanks matches only from its beginning, so that the time is linear
_BLANKS_AT_END = re.compile(rb"(?<![ \t])[ \t]+(?=\r?\n)")
_LONGEST_LINE = 64 * 1024
# names of charsets and of nothing at all are written here by programs that do not encode
_AS_IT_IS = frozenset(
    {"", "7bit", "8bit", "binary", "none", "plain", "text", "unencoded", "ascii", "us-ascii", "utf-8", "utf8"}
)
_UUENCODE = frozenset({"uuencode", "x-uuencode", "uue", "x-uue", "uu", "x-uu"})


class Decoder(Protocol):
    """Decodes one part: `feed` the pieces in order, then `finish`; both return decoded bytes.

    ``fits`` is false once the content turned out not to be what the encoding's name says.
    """

    @property
    def fits(self) -> bool:
        """Whether everything so far was encoded as the name says."""

    def feed(self, data: bytes) -> bytes:
        """Decode the next piece, of any length; an incomplete end waits for the next call."""

    def finish(self) -> bytes:
        """Decode the rest."""


class _Identity:
    def __init__(self, *, fits: bool) -> None:
        self.fits = fits

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _QuotedPrintable:
    """Decodes whole lines, because blanks before a line's end are no content and an escape may be split."""

    fits = True

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        data = self._pending + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST_LINE:
            # do not wait for the line's end, but keep a split escape (3 bytes) and blanks that may precede it
            end = len(data[:-3].rstrip(b" \t\r")) or len(data) - 3
            escape = data.rfind(b"=", end - 2, end)
            end = escape if escape >= 0 else end
        self._pending = data[end:]
        return _quoted_printable(data[:end])

    def finish(self) -> bytes:
        pending, self._pending = self._pending, b""
        return _quoted_printable(pending)


def _quoted_printable(data: bytes) -> bytes:
    return a2b_qp(_BLANKS_AT_END.sub(b"", data))


_READERS: dict[str, Callable[[], LineReader]] = {
    "base64": Base64Reader,
    **dict.fromkeys(_UUENCODE, UuencodeReader),
}

_KNOWN = _AS_IT_IS | _UUENCODE | {"base64", "quoted-printable"}

_FIELD = re.compile(rb"^content-transfer-encoding[ \t]*:((?:[^\n]|\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


def named_in(header: bytes) -> str:
    """Return the encoding that a part's header names, as :func:`encoding_of` does; "" if it names none."""
    field = _FIELD.search(header)
    return encoding_of(field[1]) if field else ""


def _name(encoding: str) -> str:
    name = encoding.strip().lower()
    return name if name in _KNOWN else encoding_of(encoding)


def is_known(encoding: str) -> bool:
    """Whether this encoding, however it is written, can be decoded; an empty name means 7bit."""
    return _name(encoding) in _KNOWN


def is_as_it_is(encoding: str) -> bool:
    """Whether content of this encoding is not encoded, or in a way that is not known."""
    name = _name(encoding)
    return name not in _READERS and name != "quoted-printable"


def can_misfit(encoding: str) -> bool:
    """Whether content of this encoding may turn out not to be encoded like that: base64 and uuencode."""
    return _name(encoding) in _READERS


def fits(data: bytes, encoding: str, *, is_whole: bool) -> bool:
    """Whether `data`, all of a content or the lines of its beginning, is encoded as the name says."""
    if not is_whole:
        data = data[: data.rfind(b"\n") + 1] or data[: len(data) & ~3]
    whole = decoder(encoding)
    whole.feed(data)
    # a file in uuencode lacks its end if it is not whole
    if is_whole or _name(encoding) == "base64":
        whole.finish()
    return whole.fits


def decoder(encoding: str) -> Decoder:
    """Return a decoder for a Content-Transfer-Encoding; for an unknown one, the bytes stay as they are.

    >>> base64 = decoder("base64")
    >>> base64.feed(b"aGVsb") + base64.feed(b"G8=") + base64.finish()
    b'hello'
    """
    name = _name(encoding)
    if reader := _READERS.get(name):
        return FileDecoder(reader())
    return _QuotedPrintable() if name == "quoted-printable" else _Identity(fits=name in _AS_IT_IS)


def decode_shown(data: bytes, encoding: str, charset: str = "") -> tuple[list[Piece], bool]:
    """Decode the content of a text that people read, and say whether all was encoded as the name says.

    Lines that are not encoded, although the name says so, are pieces of their own. A short line is taken for
    an encoded one if that gives text in `charset`, which may be unknown or empty.
    """
    name = _name(encoding)
    if name in _AS_IT_IS:
        return [Piece(data, was_encoded=True)], True
    if name == "base64":
        if (regular := decode_regular(data)) is not None:
            return [Piece(regular, was_encoded=True)], True
        return decode_text(data, Base64Reader(is_shown=True, charset=charset), charset)
    if reader := _READERS.get(name):
        return decode_text(data, reader(), charset)
    return [Piece(decode(data, name), was_encoded=True)], name in _KNOWN


def decode(data: bytes, encoding: str) -> bytes:
    """Decode all of `data` at once."""
    whole = decoder(encoding)
    return whole.feed(data) + whole.finish()
