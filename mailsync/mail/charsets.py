"""Bytes in the charsets of mail become text; pure.

:func:`decode_bytes` trusts the charset that a message names as far as the bytes allow. Byte order marks,
escapes of ISO-2022 and valid UTF-8 say more about the bytes than a name does.
"""

from __future__ import annotations

import re
from codecs import charmap_decode
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from mailsync.mail.charset_names import ISO_2022_CN, charset_codecs, codec_for
from mailsync.mail.iso2022 import decode_iso2022, is_iso2022
from mailsync.mail.utf16 import FIRST_OF_MARKS, WIDE, decode_by_mark, decode_wide
from mailsync.mail.vendor_characters import VENDOR, VENDOR_OR_REPLACE

_MULTIBYTE = frozenset(
    {"big5hkscs", "cp932", "cp949", "cp950", "euc_jis_2004", "euc_jisx0213", "euc_jp", "gb18030", "johab"}
    | {"shift_jis_2004", "shift_jisx0213"}
)
# neither a byte for each character nor ASCII in the lower half
_OTHER = frozenset(
    {"cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140", "hz", "utf_7", "utf_8_sig"}
)
# in these, bytes from 0x80 to 0xBF are letters, so that short words may look like UTF-8
_DENSE = frozenset(
    {
        "cp437",
        "cp737",
        "cp775",
        "cp850",
        "cp852",
        "cp855",
        "cp857",
        "cp858",
        "cp860",
        "cp861",
        "cp862",
        "cp863",
    }
    | {"cp865", "cp866", "cp869", "cp874", "cp1125", "mac_cyrillic"}
)
# continuation bytes of UTF-8, beyond the first byte of each character, that are not an accident
_ENOUGH, _ENOUGH_IF_DENSE, _ENOUGH_IF_RARE = 4, 8, 2

# The bytes from 0x80 to 0x9F are control characters in ISO 8859, which no mail has. A program that writes
# them uses the code page of Windows for the same script, although it says ISO 8859.
_PAGES_OF_WINDOWS = {
    "iso8859_2": "cp1250",
    "iso8859_4": "cp1257",
    "iso8859_6": "cp1256",
    "iso8859_7": "cp1253",
    "iso8859_8": "cp1255",
    "iso8859_13": "cp1257",
}
_C1 = re.compile(rb"[\x80-\x9f]")
# the first bytes show that a text is no UTF-8; this takes a fifth of the time of an exception
_SURELY_NO_UTF8 = re.compile(rb"[\0-\x7f]{0,200}+(?:[\x80-\xc1\xf5-\xff]|[\xc2-\xf4](?![\x80-\xbf]))")
# sets of two bytes from 0xA1 on; their larger versions have rare characters below
_PLAIN = frozenset({"big5hkscs", "cp949", "cp950", "euc_jp", "gb18030"})
_RARE_IN_PLAIN_SETS = re.compile(rb"[\x80-\xa0]")

_AS_CP1252 = {0xDC00 + byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0x100)}
_C1_AS_CP1252 = {byte: bytes([byte]).decode("cp1252", "replace") for byte in range(0x80, 0xA0)}
# bytes of broken UTF-8, as surrogateescape shows them: a character outside of the BMP as two surrogates
# (CESU-8, from Java and Oracle), and a character that is cut at the end of the text
_CESU8 = re.compile("\udced([\udca0-\udcaf])([\udc80-\udcbf])\udced([\udcb0-\udcbf])([\udc80-\udcbf])")
_CESU8_IN_BYTES = re.compile(rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]")
_CUT_CHARACTER = re.compile(
    "(?:[\udcc2-\udcdf]|[\udce0-\udcef][\udc80-\udcbf]?|[\udcf0-\udcf4][\udc80-\udcbf]{0,2})\\Z"
)

# a comment hides what it holds, as in browsers
_META = re.compile(rb"<!--.*?(?:-->|\Z)|<meta[\s/]([^>]{0,1000})", re.IGNORECASE | re.DOTALL)
_META_CHARSET = re.compile(rb"\bcharset\s{0,9}=\s{0,9}[\"']?\s{0,9}([^\s\"'/>;]{1,64})", re.IGNORECASE)
_XML_ENCODING = re.compile(
    rb"\s{0,99}<\?xml\s[^>]{0,200}?\bencoding\s{0,9}=\s{0,9}[\"']([^\s\"'>]{1,64})", re.IGNORECASE
)
_SEARCHED_BYTES = 16 * 1024


def decode_raw(data: bytes) -> str:
    """Decode bytes without a charset: by their byte order mark, as ISO-2022 by its escapes, or as UTF-8.

    Bytes that are not UTF-8 are read as Windows-1252, with U+FFFD for its five unused bytes.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        marked = decode_by_mark(data)
        if marked is not None:
            return marked[0]
        return decode_iso2022(data)[0] if is_iso2022(data) else _mixed(data)
    return decode_iso2022(data)[0] if "\x1b" in text and is_iso2022(data) else text


def decode_bytes(data: bytes, charset: str) -> tuple[str, bool]:
    """Decode `data`, and return whether the charset is known and fits; U+FFFD replaces what cannot be read.

    Bytes in an unknown charset, and 8-bit bytes that are labelled US-ASCII, go through :func:`decode_raw`.
    """
    codec = codec_for(charset[:64])
    if codec == "utf_8" or codec == "ascii":
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            return decode_raw(data), codec == "ascii" and decode_by_mark(data) is None
        if "\x1b" in text and is_iso2022(data):
            return decode_iso2022(data)[0], False
        return text, True
    if codec is None:
        return decode_raw(data), False
    if data[:1] in FIRST_OF_MARKS and (marked := decode_by_mark(data)):
        return marked[0], codec.startswith(marked[1][:6])
    return _DECODERS.get(codec, _decode_single_byte)(data, codec)


def _utf8(data: bytes) -> str | None:
    """Return the text if `data` is valid UTF-8 with at least one character beyond ASCII."""
    if data.isascii() or _SURELY_NO_UTF8.match(data):
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _mixed(data: bytes) -> str:
    """Decode what is UTF-8 as UTF-8, and all other bytes as Windows-1252."""
    if data.decode("utf_8", "ignore").isascii() and not _CESU8_IN_BYTES.search(data):
        return data.decode("cp1252", "replace")
    text = data.decode("utf_8", "surrogateescape")
    text = _CUT_CHARACTER.sub("\ufffd", _CESU8.sub(_from_cesu8, text))
    return text.translate(_AS_CP1252)


def _from_cesu8(match: re.Match[str]) -> str:
    high, low = ((ord(match[i]) & 0x0F) << 6 | ord(match[i + 1]) & 0x3F for i in (1, 3))
    return chr(0x10000 + (high << 10) + (low & 0x3FF))


def _decode_single_byte(data: bytes, codec: str) -> tuple[str, bool]:
    if data.isascii():
        if b"\x1b" in data and is_iso2022(data):
            return decode_iso2022(data)[0], False
    elif (utf8 := _utf8(data)) is not None and _is_rather_utf8(utf8, data, codec):
        return utf8, False
    try:
        return charmap_decode(data, "strict", _table(codec))[0], True
    except UnicodeDecodeError:
        pass
    if codec.startswith("iso8859") and _C1.search(data):
        if codec in _PAGES_OF_WINDOWS:
            return data.decode(_PAGES_OF_WINDOWS[codec], "replace"), False
        return data.decode(codec, "replace").translate(_C1_AS_CP1252), False
    return data.decode(codec, "replace"), False


@cache
def _table(codec: str) -> str:
    """Return the character for each byte of a single-byte charset, and U+FFFE for bytes that are not in it.

    The control characters of ISO 8859 count as such bytes. ``charmap_decode`` refuses U+FFFE.
    """
    table = bytes(range(256)).decode(codec, "replace").replace("\ufffd", "\ufffe")
    return table[:0x80] + 32 * "\ufffe" + table[0xA0:] if codec.startswith("iso8859") else table


def _is_rather_utf8(text: str, data: bytes, codec: str) -> bool:
    """Whether `data`, which is `text` in UTF-8, is not an accident of the letters of a single-byte charset.

    "SPÓŁKA" in Windows-1250 is valid UTF-8, too. So few characters count only if the charset has them too,
    or if they are symbols.
    """
    beyond = [character for character in text[:1000] if character > "\x7f"]
    if _continuation_bytes(beyond) >= (_ENOUGH_IF_DENSE if codec in _DENSE else _ENOUGH):
        return True
    named = data[:4000].decode(codec, "replace")
    has_symbols = any(character > "\x7f" and not character.isalpha() for character in named)
    return all(
        "\u2000" <= character <= "\u27bf"
        or character >= "\U00010000"
        or (has_symbols and "\xa0" <= character <= "\u017f")
        or _has(codec, character)
        for character in beyond
    )


def _continuation_bytes(characters: Iterable[str]) -> int:
    return sum(len(character.encode()) - 1 for character in characters)


def _has(codec: str, character: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _decode_multibyte(data: bytes, codec: str) -> tuple[str, bool]:
    utf8 = _utf8(data)
    try:
        text = data.decode(codec, VENDOR)
    except UnicodeDecodeError:
        if utf8 is not None:
            return utf8, False
        text = data.decode(codec, VENDOR_OR_REPLACE)
        if text.replace("\ufffd", "").isascii():
            return decode_raw(data), False
        return text, False
    enough = _ENOUGH_IF_RARE if codec in _PLAIN else _ENOUGH
    if utf8 is not None and _RARE_IN_PLAIN_SETS.search(data) and _continuation_bytes(utf8[:1000]) >= enough:
        return utf8, False
    if "\x1b" in text and is_iso2022(data):
        return decode_iso2022(data)[0], False
    return text, True


def _decode_other(data: bytes, codec: str) -> tuple[str, bool]:
    try:
        return data.decode(codec), True
    except UnicodeError:
        pass
    if codec == "hz" and not data.isascii():
        return _decode_multibyte(data, "gb18030")[0], False
    if data.isascii() and b"~{" not in data:
        return data.decode("ascii"), False
    return (data.decode(codec, "replace") if data.isascii() else decode_raw(data)), False


_DECODERS: dict[str, Callable[[bytes, str], tuple[str, bool]]] = {
    **dict.fromkeys(_MULTIBYTE, _decode_multibyte),
    **dict.fromkeys(_OTHER, _decode_other),
    **dict.fromkeys(WIDE, decode_wide),
    **{codec: decode_iso2022 for codec in charset_codecs().values() if codec.startswith("iso2022")},
    ISO_2022_CN: decode_iso2022,
}
"""The decoders by codec; all other codecs have one byte for each character."""


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
