"""Bytes and encoded words of message headers become clean text (RFC 2047, RFC 2231); pure.

Whatever comes in, text comes out: no function here raises, and none returns a NUL or a lone surrogate,
which Postgres would refuse.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, a2b_qp
from collections.abc import Iterable
from encodings.aliases import aliases as _ALIASES
from functools import lru_cache
from hashlib import sha256
from urllib.parse import unquote_to_bytes

from mailsync.bounded_cache import BoundedCache

#: The most bytes of UTF-8 that an indexed text may have. A btree row holds about 2,700.
MAX_INDEXED_BYTES = 1_000
#: Texts longer than this are decoded but not remembered: they hardly come again.
CACHED_TEXT = 512

_WORD = re.compile(r"=\?([^?\s]*)\?([bBqQ])\?(.*?)\?=", re.DOTALL)
_UNCLEAN = re.compile("[\0\ud800-\udfff]")
_BREAKS = re.compile("[\t\r\n\v\f]+")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_NOT_NAME = re.compile("[^a-z0-9]+")

# Mail calls many charsets by the name of a smaller one; the superset reads both (WHATWG Encoding, table 4.2).
_SUPERSETS = {
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "latin_1": "cp1252",
    "shift_jis": "cp932",
    "tis_620": "cp874",
}
_MORE_NAMES = {
    "cp_850": "cp850",
    "gb18030_2000": "gb18030",
    "iso_8859_8_e": "iso8859_8",
    "iso_8859_8_i": "iso8859_8",
    "koi8_u": "koi8_u",
    "ks_c_5601": "cp949",
    "ks_c_5601_1987": "cp949",
    "ksc5601": "cp949",
    "unicode_1_1_utf_7": "utf_7",
    "utf8mb4": "utf_8",
    "utf_8_sig": "utf_8_sig",
    "windows_31j": "cp932",
    "windows_874": "cp874",
    "windows_949": "cp949",
    "x_gbk": "gb18030",
    "x_mac_roman": "mac_roman",
    "x_sjis": "cp932",
}
# Python's codecs that are no charsets: bytes to bytes, or the machine's own.
_NO_CHARSET = {
    "base64_codec",
    "bz2_codec",
    "hex_codec",
    "mbcs",
    "quopri_codec",
    "rot_13",
    "tactis",
    "uu_codec",
    "zlib_codec",
}
_CODECS = {alias: codec for alias, codec in _ALIASES.items() if codec not in _NO_CHARSET}
_CODECS |= {codec: codec for codec in _CODECS.values()}
_CODECS = {name: _SUPERSETS.get(codec, codec) for name, codec in (_CODECS | _MORE_NAMES).items()}


def clean_text(text: str) -> str:
    """Replace each NUL and each lone surrogate by U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNCLEAN.sub("\ufffd", text)


def decode_raw(data: bytes) -> str:
    """Read raw 8-bit header bytes: UTF-8, else Windows-1252 with U+FFFD for its five unused bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


_known: BoundedCache[str, tuple[str, bool]] = BoundedCache(4 * 1024 * 1024)


def decode_words(text: str) -> str:
    """Decode the RFC 2047 encoded words in `text`; what is none stays as it is.

    >>> decode_words("=?utf-8?q?Gr=C3=BC?= =?utf-8?b?w59l?= =?utf-8?q?!?=")
    'Grüße!'
    """
    return decode_words_checked(text)[0]


def decode_words_checked(text: str) -> tuple[str, bool]:
    """Decode as :func:`decode_words` and say whether all charsets were known and fitted their bytes."""
    if "=?" not in text:
        return clean_text(text), True
    found = _known.get(text)
    if found is None:
        found = _decode(text)
        if len(text) <= CACHED_TEXT:
            _known.remember(text, found, 300 + 8 * len(text))
    return found


def _decode(text: str) -> tuple[str, bool]:
    # Beyond the last "?=" no word can end; looking there would take quadratic time.
    end = text.rfind("?=") + 2
    out: list[str] = []
    fits = True
    held: list[bytes] = []
    held_charset = ""
    at = 0
    for match in _WORD.finditer(text, 0, end):
        between = text[at : match.start()]
        at = match.end()
        charset, encoding, payload = match.groups()
        charset = charset.lower()
        data = _payload(encoding, payload)
        if held_charset:
            blank = not between or between.isspace()
            if blank and charset == held_charset:
                # A character may be split between words, against the RFC's rule.
                held.append(data)
                continue
            piece, good = _decode_bytes(b"".join(held), held_charset)
            out.append(piece)
            fits = fits and good
            if not blank:
                out.append(between)
        elif between:
            out.append(between)
        held, held_charset = [data], charset or "?"
    if held_charset:
        piece, good = _decode_bytes(b"".join(held), held_charset)
        out.append(piece)
        fits = fits and good
    out.append(text[at:])
    return clean_text("".join(out)), fits


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


def _decode_bytes(data: bytes, charset: str) -> tuple[str, bool]:
    codec = _codec(charset[:64])
    if codec is None:
        return decode_raw(data), False
    try:
        return data.decode(codec), True
    except UnicodeError:
        if codec == "ascii":
            return decode_raw(data), True
        return data.decode(codec, "replace"), False


def decode_charset(data: bytes, charset: str | None) -> tuple[str, bool]:
    """Decode the text of a part, and say whether its charset was known and fitted.

    Without a charset, and for 8-bit bytes that are called US-ASCII, it is read as :func:`decode_raw` does.
    """
    text, fits = (decode_raw(data), True) if not charset else _decode_bytes(data, charset.strip().lower())
    return clean_text(text), fits


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    """Python's codec for a charset's name in mail, or None.

    Looked up in a table, not with ``codecs.lookup``: that imports modules by the name a stranger chose.
    """
    name = charset.partition("*")[0]  # RFC 2231 §5: charset*language
    return _CODECS.get(_NOT_NAME.sub("_", name.lower()).strip("_"))


def charset_codecs() -> dict[str, str]:
    """All names of charsets that are understood, normalised, and Python's codecs for them."""
    return dict(_CODECS)


def one_line(text: str) -> str:
    """Turn line breaks and tabs into spaces and strip the ends."""
    return (text if text.isprintable() else _BREAKS.sub(" ", text)).strip()


def cut(text: str, limit: int) -> str:
    """The longest beginning of `text` that has at most `limit` bytes of UTF-8."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= limit else data[:limit].decode("utf-8", "ignore")


def clamp(text: str) -> str:
    """Keep `text` within :data:`MAX_INDEXED_BYTES`; a longer one ends in a digest of the whole.

    So two long texts that differ stay different, and equal ones equal.
    """
    if len(text) * 4 <= MAX_INDEXED_BYTES:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_INDEXED_BYTES:
        return text
    digest = sha256(data).hexdigest()[:32]
    return cut(text, MAX_INDEXED_BYTES - len(digest) - 1) + "~" + digest


def decode_filename(parameters: Iterable[tuple[str | bytes, str | bytes]]) -> str | None:
    """The file name among a part's parameters, or None.

    In go the pairs of a BODYSTRUCTURE's Content-Disposition and Content-Type parameters, in this order,
    their names in any case. ``filename`` is preferred to ``name``; continuations, charsets and languages
    of RFC 2231 are undone, and RFC 2047 words too, which many programs send though they must not.

    >>> decode_filename([("filename*0*", "utf-8''%c3%9cber"), ("filename*1", "sicht.pdf")])
    'Übersicht.pdf'
    """
    held: dict[str, str] = {}
    for name, value in parameters:
        held.setdefault(_as_text(name).lower().strip(), _as_text(value))
    for base in ("filename", "name"):
        text = _parameter(held, base)
        if text and (text := cut(one_line(clean_text(text)), MAX_INDEXED_BYTES)):
            return text
    return None


def _as_text(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return decode_raw(value)
    if "\udc80" <= max(value, default="") <= "\udcff":
        return decode_raw(value.encode("utf-8", "surrogateescape"))
    return value


def _parameter(held: dict[str, str], base: str) -> str | None:
    pieces: list[tuple[str, bool]] = []
    if f"{base}*" in held:
        pieces.append((held[f"{base}*"], True))
    else:
        for number in range(1_000):
            if f"{base}*{number}*" in held:
                pieces.append((held[f"{base}*{number}*"], True))
            elif f"{base}*{number}" in held:
                pieces.append((held[f"{base}*{number}"], False))
            else:
                break
    if not pieces:
        return decode_words(held[base]) if base in held else None
    if not any(encoded for _, encoded in pieces):
        return decode_words("".join(text for text, _ in pieces))
    charset = ""
    if pieces[0][1] and pieces[0][0].count("'") >= 2:
        charset, _, rest = pieces[0][0].split("'", 2)
        pieces[0] = (rest, True)
    data = b"".join(
        unquote_to_bytes(text) if encoded else text.encode("utf-8", "replace") for text, encoded in pieces
    )
    return _decode_bytes(data, charset)[0] if charset else decode_raw(data)
