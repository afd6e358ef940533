"""Bytes become the text that their sender wrote, although the charset that is named may be wrong."""

from __future__ import annotations

import pytest

from mailsync.mail.charset_names import charset_codecs
from mailsync.mail.charsets import decode_bytes, decode_raw

JAPANESE = "会議は十時からです"


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("utf-8", "Grüße, 会議 🚀"),
        ("us-ascii", "plain"),
        ("iso-8859-1", "naïve"),
        ("windows-1251", "Привет, мир"),
        ("koi8-u", "Привіт"),
        ("iso-8859-2", "Łódź, Škoda"),
        ("iso-8859-7", "Καλημέρα"),
        ("windows-1255", "שלום"),
        ("tis-620", "เขตและโดย"),
        ("tis-620", "เขต"),
        ("cp874", "เขต"),
        ("cp866", "там"),
        # each of these is valid UTF-8, too
        ("windows-1250", "SPÓŁKA AKCYJNA"),
        ("iso-8859-2", "RÓŻA"),
        ("windows-1250", "VÝŽIVA"),
        ("windows-1250", "déšť"),
        ("windows-1252", "CAFÉ™"),
        ("gbk", "藥"),
        ("cp932", "皸ウ"),
        ("utf-16le", "瘮"),
        ("utf-16be", "Йἀ"),
        ("gbk", "会议在十点"),
        ("gb2312", "联通"),
        ("big5", "會議在十點"),
        ("euc-kr", "서울 회의"),
        ("shift_jis", JAPANESE),
        ("cp932", JAPANESE + "①㈱"),
        ("euc-jp", JAPANESE),
        ("iso-2022-jp", JAPANESE),
        ("iso-2022-kr", "서울 회의"),
        ("hz-gb-2312", "会议"),
        ("utf-7", "Grüße"),
        ("utf-16", "Grüße"),
        ("utf-16le", "会議"),
        ("utf-16be", "会議"),
        ("utf-32", "Grüße"),
        ("x-mac-cyrillic", "Привет"),
        ("johab", "서울"),
        ("cp037", "Hello"),
    ],
)
def test_text_in_the_charset_that_is_named(charset: str, text: str) -> None:
    assert decode_bytes(text.encode(charset.replace("x-mac-", "mac-")), charset) == (text, True)


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        # UTF-8 under another name
        ("iso-8859-1", "Grüße".encode(), "Grüße"),
        ("iso-8859-1", "ü".encode(), "ü"),
        ("windows-1252", "it’s 5 € 🚀".encode(), "it’s 5 € 🚀"),
        ("windows-1251", "Готово ✓".encode(), "Готово ✓"),
        ("koi8-r", "Привет".encode(), "Привет"),
        ("iso-8859-2", "Łódź".encode(), "Łódź"),
        ("iso-8859-1", "Paweł".encode(), "Paweł"),
        ("iso-8859-1", "会议".encode(), "会议"),
        ("iso-8859-1", "Straße, Être".encode(), "Straße, Être"),
        ("windows-1250", "5 €".encode(), "5 €"),
        ("iso-8859-15", JAPANESE.encode(), JAPANESE),
        ("tis-620", "เขตและโดย".encode(), "เขตและโดย"),
        ("tis-620", "เขต".encode(), "เขต"),
        ("cp866", "там".encode(), "там"),
        ("gb2312", "会议在十点".encode(), "会议在十点"),
        ("big5", "會議".encode(), "會議"),
        ("euc-kr", "서울 회의".encode(), "서울 회의"),
        ("shift_jis", JAPANESE.encode(), JAPANESE),
        ("euc-jp", JAPANESE.encode(), JAPANESE),
        ("iso-2022-jp", JAPANESE.encode(), JAPANESE),
        ("utf-7", "Grüße".encode(), "Grüße"),
        ("hz-gb-2312", "会议".encode(), "会议"),
        ("x-nonsense", "Grüße".encode(), "Grüße"),
        # bytes that are not UTF-8 under its name
        ("utf-8", "council’s policy, naïve".encode("cp1252"), "council’s policy, naïve"),
        ("utf-8", "caf\xe9".encode("cp1252"), "café"),
        ("utf-8", "« café »".encode("cp1252"), "« café »"),
        ("utf-8", "Grüße ".encode() + b"na\xefve", "Grüße naïve"),
        ("utf-8", "Grüße ".encode() + b"\x93quoted\x94", "Grüße “quoted”"),
        ("utf-8", "a\x81 ü".encode("latin-1"), "a\ufffd ü"),
        ("utf-8", "Grüße ✓".encode()[:-1], "Grüße \ufffd"),
        ("utf-8", "Grüße 🚀".encode()[:-3], "Grüße \ufffd"),
        ("utf-8", "Grüße 🚀".encode()[:-1], "Grüße \ufffd"),
        ("utf-8", "ü ".encode() + b"\xed\xa0\xbd\xed\xba\x80", "ü 🚀"),
        # pages of Windows under the name of ISO 8859
        ("iso-8859-2", "„Škoda” – ąžś".encode("cp1250"), "„Škoda” – ąžś"),
        ("iso-8859-7", "“Άννα” – €".encode("cp1253"), "“Άννα” – €"),
        ("iso-8859-8", "“שלום” –".encode("cp1255"), "“שלום” –"),
        ("iso-8859-6", "“مرحبا” –".encode("cp1256"), "“مرحبا” –"),
        ("iso-8859-13", "“Ąžuolas” –".encode("cp1257"), "“Ąžuolas” –"),
        ("iso-8859-15", b"\x935 \xa4\x94", "“5 €”"),
        ("iso-8859-5", "Привет".encode("iso8859-5") + b" \x96 ok", "Привет – ok"),
        # bytes of no charset of the language
        ("gb2312", b"caf\xe9 ol\xe9", "café olé"),
        ("euc-jp", b"caf\xe9 ol\xe9", "café olé"),
        ("cp1252", b"a\x81b\xfc", "a\ufffdbü"),
        # UTF-16 under another name, and another text under its name
        ("utf-8", "Grüße".encode("utf-16"), "Grüße"),
        ("iso-8859-1", "Grüße".encode("utf-16"), "Grüße"),
        ("us-ascii", b"\xfe\xff" + "会議".encode("utf-16-be"), "会議"),
        ("iso-8859-1", b"\xef\xbb\xbf" + "Grüße".encode(), "Grüße"),
        ("utf-16", b"plain ascii", "plain ascii"),
        ("utf-16le", "Grüße\r\n".encode(), "Grüße\r\n"),
        ("utf-16le", "Hello there".encode("utf-16-be"), "Hello there"),
        ("utf-16be", "Hello there".encode("utf-16-le"), "Hello there"),
        ("utf-16", "Grüße".encode("utf-16-le") + b"x", "Grüße\ufffd"),
        ("utf-7", b"a + b", "a + b"),
        ("hz-gb-2312", b"see ~user/x", "see ~user/x"),
        ("hz-gb-2312", "会议在".encode("gbk"), "会议在"),
    ],
)
def test_bytes_that_do_not_fit_the_charset_that_is_named(charset: str, data: bytes, text: str) -> None:
    assert decode_bytes(data, charset) == (text, False)


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("utf-16", "Hello".encode("utf-16-le"), "Hello"),
        ("utf-16", "Hello".encode("utf-16-be"), "Hello"),
        ("utf-16", "会議は十時".encode("utf-16-le"), "会議は十時"),
        ("utf-16", "Привет".encode("utf-16-be"), "Привет"),
        ("utf-16", "Привет".encode("utf-16-le"), "Привет"),
        ("utf-16le", "\ufeffHello".encode("utf-16-le"), "Hello"),
        ("utf-32", "Hello".encode("utf-32-be"), "Hello"),
        (
            "utf-8",
            b"\x1b[1mbold\x1b(B\x1b[m and \x1b(0lqk\x1b(B",
            "\x1b[1mbold\x1b(B\x1b[m and \x1b(0lqk\x1b(B",
        ),
        ("us-ascii", b"G\xfc", "Gü"),
        ("us-ascii", "Grüße".encode(), "Grüße"),
        ("gbk", b"5 \x80 \xbb\xe1", "5 € 会"),
        ("big5", b"\xa3\xe1", "€"),
    ],
)
def test_what_a_name_leaves_open_is_no_fault(charset: str, data: bytes, text: str) -> None:
    assert decode_bytes(data, charset) == (text, True)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        ("Grüße".encode(), "Grüße"),
        ("Grüße".encode("cp1252"), "Grüße"),
        (b"\x93it\x92s\x94", "“it’s”"),
        (b"a\x81", "a\ufffd"),
        ("Grüße ✓ ".encode() + b"na\xefve", "Grüße ✓ naïve"),
        ("Grüße ✓".encode()[:-1], "Grüße \ufffd"),
        (JAPANESE.encode("iso2022_jp"), JAPANESE),
        ("서울 회의".encode("iso2022_kr"), "서울 회의"),
        ("Grüße".encode("utf-16"), "Grüße"),
        (b"", ""),
    ],
)
def test_bytes_without_a_charset(data: bytes, text: str) -> None:
    assert decode_raw(data) == text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_nul_that_a_server_replaced_is_read_in_utf_16(codec: str) -> None:
    text = "Gr\u00fc\u00dfe an alle"
    sent = text.encode(codec).replace(b"\0", b"\x80")
    assert decode_bytes(sent, codec) == (text, False)
    assert decode_bytes(sent, codec[:6]) == (text, False)
    assert decode_bytes("\u8060\u4e00\u8054".encode(codec), codec)[0] == "\u8060\u4e00\u8054"


def test_surrogates_of_cesu_8_alone_are_one_character() -> None:
    for text in (b"\xed\xa0\xbd\xed\xb8\x80", b"well done \xed\xa0\xbd\xed\xb8\x80!"):
        assert decode_raw(text).count("\U0001f600") == 1
    assert decode_raw(b"aqu\xed") == "aqu\u00ed"


@pytest.mark.parametrize("codec", sorted(set(charset_codecs().values())))
def test_each_byte_is_read_as_python_reads_it(codec: str) -> None:
    for byte in range(256):
        data = b"\xa4 " + bytes([byte])  # the first byte keeps this from being UTF-8 or ASCII
        try:
            expected = data.decode(codec)
        except UnicodeError:
            continue
        text, fits = decode_bytes(data, codec)
        if fits:
            assert text == expected


@pytest.mark.parametrize("plain", [0, 1, 199, 200, 201, 100_000])
@pytest.mark.parametrize("codec", ["windows-1252", "gb18030"])
def test_utf8_is_found_behind_any_length_of_ascii(plain: int, codec: str) -> None:
    text = "a" * plain + "Größenänderung – 5 €"
    assert decode_bytes(text.encode(), codec) == (text, False)
