"""The name of an attached file, from the parameters of its part; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote_to_bytes

from mailsync.mail.charset_names import codec_for
from mailsync.mail.odd_fields import Pairs
from mailsync.mail.parameters import collect, decode_octets, extended
from mailsync.mail.text import MAX_INDEXED_BYTES, clean_text, cut, decode_words_checked, one_line

_BASES = ("filename", "name")
_ORDINARY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9 ,()+@_.-]{0,198}[A-Za-z0-9_.()-])?")
_BETWEEN_WORDS = re.compile(r'\?=["\s]++=\?')
_WINDOWS_PATH = re.compile(r"(?:[A-Za-z]:|\\).*\\(?=.)", re.DOTALL)
_PERCENT_ENCODED = re.compile(r"(?:[^%\s]|%[0-9A-Fa-f]{2})++")
_ENCODED = re.compile(r"([A-Za-z0-9_.:-]{1,40})'[A-Za-z0-9-]{0,40}'(.*)", re.DOTALL)
_LOST = re.compile("\ufffd|\\?\\?|=\\?[^?\\s]+\\?[BbQq]\\?")


def name_parameters(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Return those of a part's parameters that hold a file name; empty values are none."""
    return [
        (name, value)
        for name, value in pairs
        if "name" in name and value and name.strip().partition("*")[0] in _BASES
    ]


def decode_filename(parameters: Iterable[tuple[str, str]]) -> str | None:
    """Return the file name among a part's parameters, or None.

    `parameters` are those of Content-Disposition and then of Content-Type, their names in any case.
    ``filename`` is preferred to ``name``, unless only the latter can be read. Continuations, charsets and
    languages of RFC 2231 are decoded, and so are RFC 2047 words, percent escapes and raw bytes, which many
    programs use although the RFCs forbid it. A path of Windows is cut to its last part (RFC 2183 §2.3).

    >>> decode_filename([("filename*0*", "utf-8''%c3%9cber"), ("filename*1", "sicht.pdf")])
    'Übersicht.pdf'
    """
    pairs = [*parameters]
    if (name := _ordinary_name(pairs)) is not None:
        return name
    damaged: str | None = None
    for text, fits in _candidates(pairs):
        text = _clean(text)
        if not text:
            continue
        if fits and not _LOST.search(text):
            return text
        if damaged is None:
            damaged = text
    return damaged


def _ordinary_name(pairs: Pairs) -> str | None:
    """Return the name if it needs no decoding; None if it may."""
    name = ""
    is_preferred = False
    for key, value in pairs:
        if key == "filename" and not is_preferred:
            name, is_preferred = value, True
        elif key == "name":
            name = name or value
        elif key != "filename":
            return None
    return name if _ORDINARY.fullmatch(name) else None


def _candidates(pairs: Pairs) -> Iterator[tuple[str, bool]]:
    """Yield each form of the name, the best first, and whether its charset fits."""
    for base in _BASES:
        values = collect(pairs, base)
        if len(values) > ("" in values) and (decoded := extended(values)):
            text, fits = _decode_words(decoded.text)
            yield text, fits and decoded.fits
        if "" in values:
            yield _decode_plain(values[""])


def _decode_plain(text: str) -> tuple[str, bool]:
    if "=?" in text:
        return _decode_words(text)
    if "%" in text:
        return _decode_percent(text)
    return text, True


def _decode_words(text: str) -> tuple[str, bool]:
    if "=?" not in text:
        return text, True
    return decode_words_checked(_BETWEEN_WORDS.sub("?= =?", text))


def _decode_percent(text: str) -> tuple[str, bool]:
    """Decode RFC 2231's form without its star, and escapes that are UTF-8; other percent signs are text."""
    encoded = _ENCODED.fullmatch(text)
    if encoded and codec_for(encoded[1]):
        return decode_octets(unquote_to_bytes(encoded[2].encode("utf-8", "replace")), encoded[1])
    if _PERCENT_ENCODED.fullmatch(text):
        try:
            decoded = unquote_to_bytes(text.encode("utf-8", "replace")).decode()
        except UnicodeDecodeError:
            return text, True
        if not decoded.isascii():
            return decoded, True
    return text, True


def _clean(text: str) -> str:
    text = one_line(clean_text(text))
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text.count(text[0]) == 2:
        text = text[1:-1].strip()
    if "\\" in text and (path := _WINDOWS_PATH.match(text)):
        text = text[path.end() :]
    return cut(text, MAX_INDEXED_BYTES)
