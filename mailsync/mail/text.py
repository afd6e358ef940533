"""Encoded words of message headers become clean text (RFC 2047); pure.

No input makes a function here raise, and none returns a NUL or a lone surrogate, which Postgres would refuse.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_qp
from hashlib import sha256

from mailsync.bounded_cache import BoundedCache
from mailsync.mail.charset_names import codec_for
from mailsync.mail.charsets import charset_in_html, decode_bytes, decode_raw
from mailsync.mail.iso2022 import continues

MAX_INDEXED_BYTES = 1_000
"""Bytes of UTF-8 that an indexed text may have; a row of a btree holds about 2,700."""
CACHED_TEXT = 512
"""Characters of a text that is cached; longer texts rarely repeat."""

_WORD = re.compile(r"=\?([^?\s]*)\?([bBqQ])\?(.*?)\?=", re.DOTALL)
_BEGINNING = re.compile(r"=\?\s?([^?\s]{1,64})\s?\?\s?([bBqQ])\s?\?")
# a question mark before an encoded character, which the program did not encode
_PLAIN_QUESTION = re.compile(r"(?<=[^?=])\?=(?=[0-9A-Fa-f]{2}[^?]{0,99}\?=)")
# an address after a word is none of its payload; a character that is cut is dropped
_CUT_WORD = re.compile(r"([^?<>@]*?)(?:=[0-9A-Fa-f]?)?\??")
_UNCLEAN = re.compile("[\0\ud800-\udfff]")
_ENCODED_AT_ONCE = 64 * 1024
_BREAKS = re.compile("[\t\r\n\v\f]+")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")

_known: BoundedCache[str, tuple[str, bool]] = BoundedCache(4 * 1024 * 1024)


def clean_text(text: str) -> str:
    """Replace each NUL and each lone surrogate by U+FFFD."""
    if "\0" not in text:
        if text.isascii():
            return text
        try:
            # this refuses surrogates; it is ten times as fast as a search, but takes memory
            for start in range(0, len(text), _ENCODED_AT_ONCE):
                text[start : start + _ENCODED_AT_ONCE].encode("utf_16_le")
        except UnicodeEncodeError:
            pass
        else:
            return text
    return _UNCLEAN.sub("\ufffd", text)


def decode_words(text: str) -> str:
    """Decode the RFC 2047 encoded words in `text`; other text stays as it is.

    >>> decode_words("=?utf-8?q?Gr=C3=BC?= =?utf-8?b?w59l?= =?utf-8?q?!?=")
    'Grüße!'
    """
    return decode_words_checked(text)[0]


def decode_words_checked(text: str) -> tuple[str, bool]:
    """Decode as :func:`decode_words`; also return whether all charsets were known and fitted their bytes."""
    if "=?" not in text:
        return clean_text(text), True
    decoded = _known.get(text)
    if decoded is None:
        decoded = _decode(text)
        if len(text) <= CACHED_TEXT:
            _known.remember(text, decoded, 300 + 8 * len(text))
    return decoded


def _decode(text: str, *, is_repaired: bool = False) -> tuple[str, bool]:
    # no word ends after the last "?=": searching there would take quadratic time
    end = text.rfind("?=") + 2
    out: list[str] = []
    fits = True
    pending: list[bytes] = []
    pending_charset = ""
    position = 0
    for match in _WORD.finditer(text, 0, end):
        between = text[position : match.start()]
        position = match.end()
        charset, encoding, payload = match.groups()
        if ("=?" in payload or "?=" in between) and not is_repaired:
            return _decode(_repaired(text), is_repaired=True)
        charset = charset.lower()
        data = _payload(encoding, payload)
        if pending_charset:
            is_blank = not between or between.isspace()
            if is_blank and _is_one_text(charset, data, pending_charset, pending[-1]):
                # some programs split a character between words, although the RFC forbids it
                pending.append(data)
                continue
            piece, piece_fits = decode_bytes(b"".join(pending), pending_charset)
            out.append(piece)
            fits = fits and piece_fits
            if not is_blank:
                out.append(between)
        elif between:
            out.append(between)
        pending, pending_charset = [data], charset or "?"
    rest = text[position:]
    if ("=?" in rest or "?=" in rest) and not is_repaired:
        return _decode(_repaired(text), is_repaired=True)
    if pending_charset:
        piece, piece_fits = decode_bytes(b"".join(pending), pending_charset)
        out.append(piece)
        fits = fits and piece_fits
    out.append(rest)
    return clean_text("".join(out)), fits


def _is_one_text(charset: str, data: bytes, earlier_charset: str, earlier: bytes) -> bool:
    """Whether two words that only blanks separate are decoded together."""
    if charset != earlier_charset and codec_for(charset) != codec_for(earlier_charset):
        return False
    return "2022" not in charset or continues(data, earlier)


def _repaired(text: str) -> str:
    """Close encoded words that have no end, encode question marks in them, drop blanks around charsets."""
    out: list[str] = []
    position = 0
    encoding = ""
    for beginning in _BEGINNING.finditer(text):
        before = _with_end(text[position : beginning.start()], encoding)
        position = beginning.end()
        is_known = codec_for(beginning[1]) is not None
        encoding = beginning[2] if is_known else ""
        out += [before, f"=?{beginning[1]}?{encoding}?" if is_known else beginning[0]]
    rest = text[position:]
    if encoding and "?=" not in rest and (cut := _CUT_WORD.fullmatch(rest)):
        rest = f"{cut[1]}?="
    return "".join(out) + (_with_end(rest, encoding) if "?=" in rest else rest)


def _with_end(payload: str, encoding: str) -> str:
    """Return the text after the beginning of a word, which reaches to the next word if it has no end."""
    if encoding in ("q", "Q"):
        payload = _PLAIN_QUESTION.sub("=3F=", payload)
    return payload if not encoding or "?=" in payload else f"{payload.rstrip()}?="


def _payload(encoding: str, payload: str) -> bytes:
    data = payload.encode("utf-8", "replace")
    if encoding in "qQ":
        return a2b_qp(data, header=True)
    try:
        return a2b_base64(data)
    except Base64Error:
        data = _NOT_BASE64.sub(b"", data)
        if len(data) % 4 == 1:
            data = data[:-1]
        return a2b_base64(data + b"=" * (-len(data) % 4))


def decode_charset(data: bytes, charset: str | None, *, is_html: bool = False) -> tuple[str, bool]:
    """Decode the text of a part, and return whether its charset was known and fitted.

    Text without a charset is read as :func:`decode_raw` does. With `is_html`, the charset that the HTML names
    for itself is used if `charset` is missing or does not fit.
    """
    charset = charset.strip().lower() if charset else ""
    inner = "" if charset or not is_html else charset_in_html(data)
    text, fits = decode_bytes(data, charset or inner) if charset or inner else (decode_raw(data), True)
    if not fits and charset and is_html and (inner := charset_in_html(data)):
        inner_text, inner_fits = decode_bytes(data, inner)
        text = inner_text if inner_fits else text
    return clean_text(text), fits


def one_line(text: str) -> str:
    """Replace line breaks and tabs by spaces, and strip the ends."""
    return (text if text.isprintable() else _BREAKS.sub(" ", text)).strip()


def cut(text: str, limit: int) -> str:
    """Return the longest beginning of `text` that has at most `limit` bytes of UTF-8."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= limit else data[:limit].decode("utf-8", "ignore")


def clamp(text: str) -> str:
    """Return `text`, within :data:`MAX_INDEXED_BYTES`; a longer text ends in a digest of all of it.

    So two long texts are equal after clamping only if they were equal before.
    """
    if len(text) * 4 <= MAX_INDEXED_BYTES:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_INDEXED_BYTES:
        return text
    digest = sha256(data).hexdigest()[:32]
    return cut(text, MAX_INDEXED_BYTES - len(digest) - 1) + "~" + digest
