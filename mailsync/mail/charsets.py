"""Charsets as mail names them, and Python's codecs for them; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from encodings.aliases import aliases as _ALIASES
from functools import lru_cache

_NOT_NAME = re.compile("[^a-z0-9]+")
# a comment hides what it holds, as in browsers
_META = re.compile(rb"<!--.*?(?:-->|\Z)|<meta[\s/]([^>]{0,1000})", re.IGNORECASE | re.DOTALL)
_META_CHARSET = re.compile(rb"\bcharset\s{0,9}=\s{0,9}[\"']?\s{0,9}([^\s\"'/>;]{1,64})", re.IGNORECASE)
_XML_ENCODING = re.compile(
    rb"\s{0,99}<\?xml\s[^>]{0,200}?\bencoding\s{0,9}=\s{0,9}[\"']([^\s\"'>]{1,64})", re.IGNORECASE
)
_SEARCHED_BYTES = 16 * 1024

# Many messages name a subset of the charset that they use; the superset decodes both (WHATWG Encoding §4.2).
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
# Python's codecs that are no charsets: from bytes to bytes, or the platform's own
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


@lru_cache(maxsize=256)
def codec_for(charset: str) -> str | None:
    """Return Python's codec for the name of a charset, or None if the name is unknown.

    A table serves instead of ``codecs.lookup``, which imports a module by the name that the sender chose.
    """
    name = charset.partition("*")[0]  # RFC 2231 §5: charset*language
    return _CODECS.get(_NOT_NAME.sub("_", name.lower()).strip("_"))


def charset_codecs() -> dict[str, str]:
    """Return all known charset names, normalised, with Python's codecs for them."""
    return dict(_CODECS)


def decode_raw(data: bytes) -> str:
    """Decode bytes without a charset: UTF-8, else Windows-1252 with U+FFFD for its five unused bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def decode_bytes(data: bytes, charset: str) -> tuple[str, bool]:
    """Decode `data`, and return whether the charset is known and fits; U+FFFD replaces what does not fit.

    Bytes in an unknown charset, and 8-bit bytes that are labelled US-ASCII, go through :func:`decode_raw`.
    """
    codec = codec_for(charset[:64])
    if codec is None:
        return decode_raw(data), False
    try:
        return data.decode(codec), True
    except UnicodeError:
        if codec == "ascii":
            return decode_raw(data), True
        return data.decode(codec, "replace"), False


def charset_in_html(data: bytes) -> str:
    """Return the charset that HTML names for itself, or an empty text.

    The name is that of ``<meta charset=…>``, of ``<meta http-equiv=… content="text/html; charset=…">`` or of
    ``<?xml … encoding=…?>``, in the first 16 KiB. A known name is preferred to an unknown one. UTF-16
    in bytes that are readable as ASCII means UTF-8 (HTML Standard §13.2.3.2).
    """
    unknown = ""
    for name in _charsets_in_html(data[:_SEARCHED_BYTES]):
        codec = codec_for(name)
        if codec is not None:
            return "utf-8" if codec.startswith(("utf_16", "utf_32")) else name
        unknown = unknown or name
    return unknown


def _charsets_in_html(data: bytes) -> Iterator[str]:
    for tag in _META.finditer(data):
        if tag[1] and (charset := _META_CHARSET.search(tag[1])):
            yield charset[1].decode("latin-1")
    if declared := _XML_ENCODING.match(data):
        yield declared[1].decode("latin-1")
