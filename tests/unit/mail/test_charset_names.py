"""The names of charsets that mail programs use."""

from __future__ import annotations

import pytest

from mailsync.mail.charset_names import charset_codecs, codec_for

# the labels of the Encoding Standard (§4.2) with Python's codecs; some of them name a smaller set in mail
WHATWG = {
    "utf_8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859_2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso8859_3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso8859_4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso8859_5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 "
    "iso_8859-5:1988",
    "iso8859_6": "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e "
    "iso-8859-6-i iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987",
    "iso8859_7": "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso88597 "
    "iso_8859-7 iso_8859-7:1987 sun_eu_greek",
    "iso8859_8": "csiso88598e csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-ir-138 iso8859-8 iso88598 "
    "iso_8859-8 iso_8859-8:1988 visual csiso88598i iso-8859-8-i logical",
    "iso8859_10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859_13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859_14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859_15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso8859_16": "iso-8859-16",
    "koi8_r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8_u": "koi8-ru koi8-u",
    "mac_roman": "csmacintosh mac macintosh x-mac-roman",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "ascii": "ansi_x3.4-1968 ascii us-ascii",
    "cp1252": "cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 "
    "iso_8859-1:1987 l1 latin1 windows-1252 x-cp1252 x-user-defined",
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 "
    "latin5 windows-1254 x-cp1254",
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc_jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "iso2022_jp": "csiso2022jp iso-2022-jp",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "cp949": "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 "
    "windows-949",
    "iso2022_kr": "csiso2022kr iso-2022-kr",
    "iso2022_cn": "iso-2022-cn iso-2022-cn-ext",
    "hz": "hz-gb-2312",
    "utf_16_be": "unicodefffe utf-16be",
    "utf_16": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16",
    "utf_16_le": "utf-16le",
}


def test_all_labels_of_the_encoding_standard_are_known() -> None:
    labels = [label for names in WHATWG.values() for label in names.split()]
    # the standard's label "replacement" means that nothing can be decoded
    assert len(set(labels)) == len(labels) == 227
    wrong = {
        label: codec_for(label)
        for codec, names in WHATWG.items()
        for label in names.split()
        if {codec_for(label), codec_for(label.upper())} != {codec}
    }
    assert not wrong


@pytest.mark.parametrize(
    ("codec", "names"),
    {
        "utf_8": 'utf8mb4|utf-8;|"utf-8"|\'utf-8\'|charset=utf-8|charset="UTF-8"|utf-8*en|UTF_8|utf-8 (a)|'
        "utf-8;format=flowed|utf-8,iso-8859-1|<utf-8>|cp65001|=3Dutf-8",
        "cp1251": "win-1251|windows1251|x-cp1251|cp-1251|Windows 1251|1251|ansi-1251",
        "cp1252": "windows1252|cp-1252|latin-1|iso-latin-1|8859_1|ISO8859_1|iso-8859-1;|ansi",
        "cp949": "ks_c_5601-1989|ksc5601_1987|x-windows-949|uhc|ms949",
        "gb18030": "cn-gb|gb2312_charset|euc-cn|euccn|cp936|x-gb2312|GB_2312-80",
        "big5hkscs": "big5-eten|x-big5|big5-hkscs:2004",
        "cp932": "windows-31j|sjis-win|shiftjis|x-ms-cp932",
        "euc_jp": "x-euc-jp|eucjp-ms|eucjp-win|eucjp-open|cp51932|ujis",
        "iso2022_jp": "cp50220|cp50221|iso-2022-jp-ms|iso2022jp",
        "mac_cyrillic": "x-mac-cyrillic",
        "mac_latin2": "x-mac-ce|x-mac-centraleurroman|maccentraleurope",
        "mac_greek": "x-mac-greek",
        "mac_turkish": "x-mac-turkish",
        "iso8859_8": "iso-8859-8-i|iso-8859-8-e",
        "iso8859_15": "iso8859-15|latin-9|iso_8859_15",
        "koi8_u": "koi8-ru",
        "johab": "johab|ms1361",
        "utf_16": "ucs-2|utf16|unicode",
        "utf_7": "utf-7|unicode-1-1-utf-7",
        None: "x-unknown|unknown-8bit|default|_autodetect|none|x-|8bit||=|'|iso-8859-99|idna|rot13|base64",
    }.items(),
)
def test_names_that_mail_programs_use(codec: str | None, names: str) -> None:
    assert {name: codec_for(name) for name in names.split("|")} == dict.fromkeys(names.split("|"), codec)


def test_names_that_differ_only_in_separators_mean_one_codec() -> None:
    codecs: dict[str, set[str]] = {}
    for name, codec in charset_codecs().items():
        codecs.setdefault(name.replace("_", ""), set()).add(codec)
    assert {name for name, several in codecs.items() if len(several) > 1} == set()
