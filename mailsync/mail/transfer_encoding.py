"""Content transfer encodings (RFC 2045 §6) undone piece by piece, whatever the bytes are."""

from __future__ import annotations

import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Callable
from typing import Protocol

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_ALPHABET))
_PADDED = re.compile(rb"([^=]*)(=*)")
# a run of blanks is matched only from where it begins: no quadratic time
_BLANKS_AT_END = re.compile(rb"(?<![ \t])[ \t]+(?=\r?\n)")
_END_OF_WORD = re.compile(r"[\s;(]")
_LONGEST_LINE = 64 * 1024
_AS_IT_IS = frozenset({"", "7bit", "8bit", "binary"})


class Decoder(Protocol):
    """Undoes one encoding: `feed` the pieces in order, then `finish`; both return what is decoded so far."""

    def feed(self, data: bytes) -> bytes:
        """Take the next piece, of any length."""

    def finish(self) -> bytes:
        """The end: return what was held back."""


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Base64:
    """Skips what is not of the alphabet; goes on behind padding, as joined pieces of base64 need."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        data = self._held + data.translate(None, _NOT_BASE64)
        if b"=" not in data:
            whole = len(data) - len(data) % 4
            self._held = data[whole:]
            return a2b_base64(data[:whole])
        out = []
        self._held = b""
        for match in _PADDED.finditer(data):
            if match.end() == len(data) and not match[2]:
                self._held = match[1]
                break
            out.append(_padded(match[1]))
        rest = self.feed(b"") if len(self._held) >= 4 else b""
        return b"".join(out) + rest

    def finish(self) -> bytes:
        held, self._held = self._held, b""
        return _padded(held)


def _padded(data: bytes) -> bytes:
    """Decode up to the last whole byte; a single character too many holds none."""
    data = data[: len(data) - (len(data) % 4 == 1)]
    return a2b_base64(data + b"=" * (-len(data) % 4))


class _QuotedPrintable:
    """Decodes line by line: blanks before a line's end are no content, and an escape may be split."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        data = self._held + data
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST_LINE:
            # no line to wait for; an escape is at most 3 bytes, and blanks may be followed by the end
            end = len(data[:-3].rstrip(b" \t\r")) or len(data) - 3
            escape = data.rfind(b"=", end - 2, end)
            end = escape if escape >= 0 else end
        self._held = data[end:]
        return _quoted_printable(data[:end])

    def finish(self) -> bytes:
        held, self._held = self._held, b""
        return _quoted_printable(held)


def _quoted_printable(data: bytes) -> bytes:
    return a2b_qp(_BLANKS_AT_END.sub(b"", data))


_DECODERS: dict[str, Callable[[], Decoder]] = {"base64": _Base64, "quoted-printable": _QuotedPrintable}


_FIELD = re.compile(rb"^content-transfer-encoding[ \t]*:[ \t\r\n]*([!-:<-~]+)", re.IGNORECASE | re.MULTILINE)


def named_in(header: bytes) -> str:
    """The encoding that a part's header names; "" if it names none."""
    found = _FIELD.search(header)
    return found[1].decode("ascii") if found else ""


def is_known(encoding: str) -> bool:
    """Whether the name, in any case, is of an encoding that can be undone; none at all is 7bit."""
    name = _name(encoding)
    return name in _AS_IT_IS or name in _DECODERS


def _name(encoding: str) -> str:
    # behind the word a comment or a stray parameter may follow
    return _END_OF_WORD.split(encoding.strip().lower(), maxsplit=1)[0]


def decoder(encoding: str) -> Decoder:
    """A decoder for the value of Content-Transfer-Encoding; an unknown one leaves the bytes as they are.

    >>> undo = decoder("base64")
    >>> undo.feed(b"aGVsb") + undo.feed(b"G8=") + undo.finish()
    b'hello'
    """
    return _DECODERS.get(_name(encoding), _Identity)()


def decode(data: bytes, encoding: str) -> bytes:
    """Undo the encoding of all of `data` at once."""
    undo = decoder(encoding)
    return undo.feed(data) + undo.finish()
