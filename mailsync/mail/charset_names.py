"""The names of charsets in mail, and Python's codecs for them; pure."""

from __future__ import annotations

import re
from encodings.aliases import aliases as _ALIASES
from functools import lru_cache

_NOT_NAME = re.compile("[^a-z0-9]+")
_WORD = re.compile("[a-z0-9][a-z0-9_.:+-]*")

# Many messages name a subset of the charset that they use; the superset decodes both (WHATWG Encoding §4.2).
# Only sets whose printable characters are all the same count: ISO-8859-2, -7 and others have none.
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
# Names that Python does not know: labels of the WHATWG Encoding Standard (§4.2), numbers of Windows' code
# pages, and names that mail programs made up.
_MORE_NAMES = {
    "ascii": "ansi_x3 cp20127 x_ascii",
    "big5hkscs": "big5_eten big5_hkscs_2004 cn_big5 cp1370 x_windows_950 x_x_big5",
    "cp720": "dos_720",
    "cp866": "dos_866",
    "cp874": "dos_874 windows_874",
    "cp932": "cp31j cp943 cp943c shift_jis_ms windows_31j windows_932 x_ms_cp932",
    "cp949": "cp1363 cp51949 csksc56011987 iso_ir_149 ks_c_5601_1989 ksc_5601 uhc windows_949",
    "cp950": "windows_950",
    "cp1250": "win_1250",
    "cp1251": "ansi_1251 win_1251",
    "cp1252": "ansi ansi_1252 cp28591 iso_8859 win_1252 x_ansi x_user_defined",
    "cp1253": "win_1253",
    "cp1254": "win_1254",
    "cp1255": "win_1255",
    "cp1256": "win_1256",
    "cp1257": "win_1257",
    "cp1258": "win_1258",
    "euc_jp": "cp20932 cp51932 cseucpkdfmtjapanese euc_jp_ms euc_jp_open euc_jp_win x_euc",
    "gb18030": "cn_gb cp1386 cp54936 csgb2312 gb_2312 gb_2312_80 gb18030_2000 gb18030_2005 gb18030_2022 "
    "windows_936 windows_54936",
    "hz": "cp52936 hz_gb_2312",
    "iso2022_jp": "cp50220 cp50221 cp50222 iso_2022_jp_ms jis",
    "iso2022_kr": "cp50225",
    "iso8859_2": "cp28592",
    "iso8859_3": "cp28593",
    "iso8859_4": "cp28594",
    "iso8859_5": "cp28595",
    "iso8859_6": "cp28596 iso_8859_6_e iso_8859_6_i",
    "iso8859_7": "cp28597 sun_eu_greek",
    "iso8859_8": "cp28598 cp38598 iso_8859_8_e iso_8859_8_i logical visual",
    "iso8859_13": "cp28603",
    "iso8859_15": "cp28605 csisolatin9",
    "johab": "cp1361",
    "koi8_r": "cp20866 koi koi8",
    "koi8_t": "koi8_t",
    "koi8_u": "cp21866 koi8_ru koi8_u",
    "mac_arabic": "cp10004 mac_arabic",
    "mac_croatian": "cp10082 mac_croatian",
    "mac_cyrillic": "cp10007 mac_ukrainian",
    "mac_farsi": "mac_farsi",
    "mac_greek": "cp10006",
    "mac_iceland": "cp10079 mac_icelandic",
    "mac_latin2": "cp10029 mac_ce mac_central_europe mac_centraleurroman",
    "mac_roman": "cp10000 csmacintosh mac",
    "mac_romanian": "cp10010 mac_romania mac_romanian",
    "mac_turkish": "cp10081",
    "utf_7": "cp65000 unicode_1_1_utf_7 unicode_2_0_utf_7",
    "utf_8": "cp65001 unicode_1_1_utf_8 unicode_2_0_utf_8 unicode_11_utf_8 unicode_20_utf_8 utf8mb3 utf8mb4",
    "utf_8_sig": "utf_8_bom utf_8_sig",
    "utf_16": "csunicode iso_10646_ucs_2 ucs_2 unicode unicodefeff",
    "utf_16_be": "cp1201 ucs_2be unicodefffe",
    "utf_16_le": "cp1200 ucs_2le",
    "utf_32": "iso_10646_ucs_4 ucs_4",
    "utf_32_be": "cp12001 ucs_4be",
    "utf_32_le": "cp12000 ucs_4le",
}
ISO_2022_CN = "iso2022_cn"
"""The codec's name of ISO-2022-CN, which Python does not have and :mod:`mailsync.mail.iso2022` reads."""

# Python's codecs that are not charsets: from bytes to bytes, or the platform's own
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
_CODECS |= {codec: codec for codec in (*_CODECS.values(), "cp720", "cp737", "cp856", "cp1006")}
_CODECS |= {name: codec for codec, names in _MORE_NAMES.items() for name in names.split()}
_CODECS = {name: _SUPERSETS.get(codec, codec) for name, codec in _CODECS.items()}
_CODECS |= {codec: codec for codec in _CODECS.values()}
_CODECS |= dict.fromkeys(("iso_2022_cn", "iso_2022_cn_ext", "x_iso_2022_cn"), ISO_2022_CN)
# "windows1251" and "iso88591" differ from known names only in their separators
_SQUEEZED = {name.replace("_", ""): codec for name, codec in _CODECS.items()}


@lru_cache(maxsize=256)
def codec_for(charset: str) -> str | None:
    """Return Python's codec for the name of a charset, or None if the name is unknown.

    A table serves instead of ``codecs.lookup``, which imports a module by the name that the sender chose.
    Quotes, blanks, parameters and a language (RFC 2231 §5) around the name are ignored.
    """
    name = charset.partition("*")[0].lower()
    codec = _CODECS.get(_NOT_NAME.sub("_", name).strip("_"))
    if codec is not None:
        return codec
    words = [word for word in _WORD.findall(name) if word != "charset"]
    return _known(words[0]) if words else None


def _known(word: str) -> str | None:
    name = _NOT_NAME.sub("", word).removesuffix("charset")
    # x-…, cs…, =3D of a quoted-printable header, iso-latin-1, 8859-1, sjis-win
    names = [name, *(name.removeprefix(prefix) for prefix in ("x", "cs", "3d", "iso"))]
    names += [f"iso{name}", name.removesuffix("win")]
    return next((_SQUEEZED[name] for name in names if name in _SQUEEZED), None)


def charset_codecs() -> dict[str, str]:
    """Return all known charset names, normalised, with Python's codecs for them."""
    return {name: codec for name, codec in _CODECS.items() if codec != ISO_2022_CN}
