"""Parameters of content fields, whole or in the pieces and charsets of RFC 2231; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from mailsync.mail.charset_names import codec_for
from mailsync.mail.charsets import decode_bytes, decode_raw

_MOST_PIECES = 1_000
_ZEROS = re.compile(r"\*0+(?=[0-9])")
_CHARSET = re.compile(r"([A-Za-z0-9_.:-]{1,40})'(?:[A-Za-z0-9-]{0,40}')?")


class Parameter(NamedTuple):
    """The value of a parameter; ``fits`` if its charset is known and has its octets."""

    text: str
    fits: bool


def parameter(pairs: Sequence[tuple[str, str]], base: str) -> str | None:
    """Return the value of the parameter `base`, whole or joined from its pieces (RFC 2231 §3, §4).

    The first of several values counts, and a decoded one is preferred.

    >>> parameter([("boundary*1", "b"), ("boundary*0*", "us-ascii''%3Da")], "boundary")
    '=ab'
    """
    value = ""
    for name, given in pairs:
        if name == base:
            value = value or given
        elif base in name:
            break
    else:
        return with_text(value) or None
    values = collect(pairs, base)
    decoded = extended(values) if len(values) > ("" in values) else None
    return decoded.text if decoded else values.get("")


def collect(pairs: Iterable[tuple[str, str]], base: str) -> dict[str, str]:
    """Return the values of `base` by what follows its name: "", ``*``, ``*0``, ``*0*``, ``*1`` …

    Empty values count only if there is no other.
    """
    values: dict[str, str] = {}
    for name, value in pairs:
        name = name.strip().lower()
        if not name.startswith(base):
            continue
        end = name[len(base) :]
        if end.startswith("*0"):
            end = _ZEROS.sub("*", end, count=1)
        if end and end[0] != "*":
            continue
        if not values.get(end):
            values[end] = with_text(value)
    return values


def extended(values: dict[str, str]) -> Parameter | None:
    """Join and decode the pieces that :func:`collect` returned; None if there are none.

    A gap between the numbers ends the value. Some programs begin with 1.
    """
    if "*" in values:
        return _decoded([(values["*"], True)])
    first = 0 if "*0" in values or "*0*" in values else 1
    pieces: list[tuple[str, bool]] = []
    for number in range(first, _MOST_PIECES):
        if f"*{number}*" in values:
            pieces.append((values[f"*{number}*"], True))
        elif f"*{number}" in values:
            pieces.append((values[f"*{number}"], False))
        else:
            break
    return _decoded(pieces) if pieces else None


def _decoded(pieces: list[tuple[str, bool]]) -> Parameter:
    if not any(is_encoded for _, is_encoded in pieces):
        return Parameter("".join(text for text, _ in pieces), True)
    charset = ""
    out: list[str] = []
    pending = b""
    fits = True
    for text, is_encoded in pieces:
        if not is_encoded:
            if pending:
                decoded, piece_fits = decode_octets(pending, charset)
                out.append(decoded)
                fits, pending = fits and piece_fits, b""
            out.append(text)
            continue
        # some programs name the charset before each piece
        named = _CHARSET.match(text)
        if named and (charset == named[1] or (not charset and _names_charset(named))):
            charset, text = named[1], text[named.end() :]
        elif not charset and text.startswith("''"):
            text = text[2:]
        pending += unquote_to_bytes(text.encode("utf-8", "replace"))
    if pending:
        decoded, piece_fits = decode_octets(pending, charset)
        out.append(decoded)
        fits = fits and piece_fits
    return Parameter("".join(out), fits)


def _names_charset(match: re.Match[str]) -> bool:
    return match[0].count("'") == 2 or codec_for(match[1]) is not None


def decode_octets(data: bytes, charset: str) -> tuple[str, bool]:
    """Decode the octets of a value, and return whether they fit; called UTF-8, they may be Windows-1252."""
    if not charset:
        return decode_raw(data), True
    text, fits = decode_bytes(data, charset)
    if "\ufffd" in text and codec_for(charset) == "utf_8":
        text = decode_raw(data)
    return text, fits


def with_text(value: str) -> str:
    """Return `value` with what "surrogateescape" kept as lone surrogates, or escapes of ISO-2022, decoded."""
    if "\x1b" in value:
        return decode_raw(value.encode("utf-8", "surrogateescape"))
    if not value.isascii() and "\udc80" <= max(value) <= "\udcff":
        return decode_raw(value.encode("utf-8", "surrogateescape"))
    return value
