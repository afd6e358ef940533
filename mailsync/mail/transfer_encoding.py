"""Content transfer encodings (RFC 2045 §6), decoded piece by piece; malformed input never raises."""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Callable
from typing import Protocol

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_ALPHABET))
_PADDED = re.compile(rb"([^=]*)(=*)")
# a run of blanks matches only from its beginning, so that the time is linear
_BLANKS_AT_END = re.compile(rb"(?<![ \t])[ \t]+(?=\r?\n)")
_END_OF_WORD = re.compile(r"[\s;(]")
_LONGEST_LINE = 64 * 1024
_AS_IT_IS = frozenset({"", "7bit", "8bit", "binary"})


class Decoder(Protocol):
    """Decodes one part: `feed` the pieces in order, then `finish`; both return decoded bytes."""

    def feed(self, data: bytes) -> bytes:
        """Decode the next piece, of any length; an incomplete end waits for the next call."""

    def finish(self) -> bytes:
        """Decode the rest."""


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Base64:
    """Skips bytes outside of the alphabet, and continues after padding, for texts joined from several."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        data = self._pending + data.translate(None, _NOT_BASE64)
        if b"=" not in data:
            whole = len(data) - len(data) % 4
            self._pending = data[whole:]
            return a2b_base64(data[:whole])
        out = []
        self._pending = b""
        for match in _PADDED.finditer(data):
            if match.end() == len(data) and not match[2]:
                self._pending = match[1]
                break
            out.append(_padded(match[1]))
        rest = self.feed(b"") if len(self._pending) >= 4 else b""
        return b"".join(out) + rest

    def finish(self) -> bytes:
        pending, self._pending = self._pending, b""
        return _padded(pending)


def _padded(data: bytes) -> bytes:
    """Decode base64 that lacks its padding; a last character that completes no byte is ignored."""
    data = data[: len(data) - (len(data) % 4 == 1)]
    return a2b_base64(data + b"=" * (-len(data) % 4))


class _QuotedPrintable:
    """Decodes whole lines, because blanks before a line's end are no content and an escape may be split."""

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


_DECODERS: dict[str, Callable[[], Decoder]] = {"base64": _Base64, "quoted-printable": _QuotedPrintable}

_FIELD = re.compile(rb"^content-transfer-encoding[ \t]*:[ \t\r\n]*([!-:<-~]+)", re.IGNORECASE | re.MULTILINE)


def named_in(header: bytes) -> str:
    """Return the encoding that a part's header names; "" if it names none."""
    field = _FIELD.search(header)
    return field[1].decode("ascii") if field else ""


def is_known(encoding: str) -> bool:
    """Whether this encoding, named in any case, can be decoded; an empty name means 7bit."""
    name = _name(encoding)
    return name in _AS_IT_IS or name in _DECODERS


def _name(encoding: str) -> str:
    # a comment or a stray parameter may follow the word
    return _END_OF_WORD.split(encoding.strip().lower(), maxsplit=1)[0]


def decoder(encoding: str) -> Decoder:
    """Return a decoder for a Content-Transfer-Encoding; for an unknown one, the bytes stay as they are.

    >>> base64 = decoder("base64")
    >>> base64.feed(b"aGVsb") + base64.feed(b"G8=") + base64.finish()
    b'hello'
    """
    return _DECODERS.get(_name(encoding), _Identity)()


def decode(data: bytes, encoding: str) -> bytes:
    """Decode all of `data` at once."""
    whole = decoder(encoding)
    return whole.feed(data) + whole.finish()
