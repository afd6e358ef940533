"""Charsets: their labels, bytes that do not fit them, and encoded words."""

from __future__ import annotations

import base64

from tests.support.cases.building import Case, letter, table

# label, codec of Python, text
_LABELS = [
    ("windows-1250", "cp1250", "Příliš žluťoučký"),
    ("cp-1252", "cp1252", "5 € – naïve"),
    ("x-cp1251", "cp1251", "Привет"),
    ("windows1251", "cp1251", "Привет"),
    ("ansi_x3.4-1968", "ascii", "plain"),
    ("latin1", "cp1252", "the council’s"),
    ("iso-8859-1", "cp1252", "the council’s"),
    ("iso8859-15", "iso8859-15", "5 €, œuvre"),
    ("iso-8859-9", "cp1254", "İstanbul’da"),
    ("iso-8859-8-i", "iso8859-8", "שלום"),
    ("iso-8859-11", "cp874", "สวัสดี “ก”"),
    ("tis-620", "cp874", "สวัสดี"),
    ("koi8-ru", "koi8-u", "Київ є"),
    ("koi8_r", "koi8-r", "Привет"),
    ("macintosh", "mac_roman", "Grüße • “a”"),
    ("x-mac-roman", "mac_roman", "Grüße"),
    ("x-mac-ce", "mac_latin2", "Příliš"),
    ("ibm866", "cp866", "Привет"),
    ("cp850", "cp850", "Grüße"),
    ("utf8", "utf-8", "naïve – 会"),
    ("utf-8;", "utf-8", "naïve – 会"),
    ("'utf-8'", "utf-8", "naïve – 会"),
    ("unicode-1-1-utf-8", "utf-8", "naïve – 会"),
    ("utf8mb4", "utf-8", "naïve – 会"),
    ("utf-16", "utf-16", "naïve – 会"),
    ("utf-16le", "utf-16-le", "naïve – 会"),
    ("gb2312", "gbk", "朱镕基"),
    ("gb_2312-80", "gbk", "会议"),
    ("x-gbk", "gbk", "朱镕基"),
    ("gb18030", "gb18030", "会议 €"),
    ("hz-gb-2312", "hz", "会议"),
    ("big5", "cp950", "會議 €"),
    ("big5-hkscs", "big5hkscs", "會議 嘅"),
    ("x-x-big5", "cp950", "會議"),
    ("shift_jis", "cp932", "①㈱山田 髙橋"),
    ("x-sjis", "cp932", "①㈱山田"),
    ("windows-31j", "cp932", "①㈱山田"),
    ("ms_kanji", "cp932", "会議"),
    ("x-euc-jp", "euc_jp", "会議"),
    ("euc-kr", "cp949", "똠방각하"),
    ("ks_c_5601-1987", "cp949", "똠방각하"),
    ("korean", "cp949", "서울 회의"),
    ("iso-2022-kr", "iso2022_kr", "서울 회의"),
    ("iso-2022-jp-2", "iso2022_jp_2", "会議 서울"),
    ("utf-7", "utf-7", "naïve"),
]

# name, label or none, bytes, text
_MISFITS: list[tuple[str, str | None, bytes, str]] = [
    ("utf-8-called-latin-1", "iso-8859-1", "Grüße – 会".encode(), "Grüße – 会"),
    ("utf-8-called-cp1252", "windows-1252", "naïve €".encode(), "naïve €"),
    ("utf-8-called-ascii", "us-ascii", "Grüße".encode(), "Grüße"),
    ("utf-8-called-koi8-r", "koi8-r", "Привет, как дела?".encode(), "Привет, как дела?"),
    ("utf-8-without-a-label", None, "Grüße".encode(), "Grüße"),
    ("cp1252-without-a-label", None, "the council’s naïve".encode("cp1252"), "the council’s naïve"),
    ("cp1252-called-ascii", "us-ascii", "the council’s naïve".encode("cp1252"), "the council’s naïve"),
    ("cp1252-called-utf-8-in-much-utf-8", "utf-8", "会議 Grüße ".encode() + b"\x96 x", "会議 Grüße – x"),
    ("utf-8-with-an-unknown-label", "x-klingon", "Grüße".encode(), "Grüße"),
    ("cp1252-with-an-unknown-label", "x-klingon", "naïve".encode("cp1252"), "naïve"),
    ("unknown-8bit", "unknown-8bit", "Grüße".encode(), "Grüße"),
    ("x-unknown", "x-unknown", "naïve".encode("cp1252"), "naïve"),
    ("utf-8-mark", "utf-8", "\ufeffGrüße".encode(), "Grüße"),
    ("utf-16-mark-without-a-label", None, "Grüße vom Berg".encode("utf-16"), "Grüße vom Berg"),
    ("ascii-called-utf-16", "utf-16", b"plain words", "plain words"),
    ("iso-2022-jp-called-ascii", "us-ascii", "会議は十時".encode("iso2022_jp"), "会議は十時"),
    ("iso-2022-jp-called-utf-8", "utf-8", "会議は十時".encode("iso2022_jp"), "会議は十時"),
    ("iso-2022-jp-called-latin-1", "iso-8859-1", "会議は十時".encode("iso2022_jp"), "会議は十時"),
    ("iso-2022-jp-without-its-last-escape", "iso-2022-jp", "会議".encode("iso2022_jp")[:-3], "会議"),
    # rows that only vendors have, which Python's codec of ISO-2022-JP lacks
    ("iso-2022-jp-circled-and-roman", "iso-2022-jp", b"\x1b$B-!-5-j\x1b(B", "①Ⅰ㈱"),
    ("iso-2022-jp-ms", "iso-2022-jp-ms", b"\x1b$B-!\x1b(B", "①"),
    ("cp50220", "cp50220", b"\x1b$B-!\x1b(B", "①"),
    ("cp50221-half-width", "cp50221", b"\x1b(I123\x1b(B", "ｱｲｳ"),
    ("euc-jp-half-width", "euc-jp", b"\x8e\xb1\x8e\xb2\x8e\xb3", "ｱｲｳ"),
    ("euc-jp-company", "euc-jp", b"\xad\xea\xbb\xb3\xc5\xc4", "㈱山田"),
    ("eucjp-ms", "eucjp-ms", b"\xad\xa1", "①"),
    ("iso-2022-jp-2004", "iso-2022-jp-2004", "会議 ①".encode("iso2022_jp_2004"), "会議 ①"),
]


def _message(label: str | None, data: bytes) -> bytes:
    quoted = "" if label is None else f'; charset="{label}"'
    return letter(
        f"Content-Type: text/plain{quoted}\nContent-Transfer-Encoding: base64\n\n"
        f"{base64.encodebytes(data).decode()}"
    )


def _subject(name: str, subject: str | bytes, text: str, why: str) -> Case:
    return Case(f"subject-{name}", letter(Subject=subject), why, {"subject": text, "text": "The body"})


CHARSETS = [
    *(
        Case(f"charset-{label}", _message(label, text.encode(codec)), codec, {"text": text})
        for label, codec, text in _LABELS
    ),
    *(
        Case(f"bytes-{name}", _message(label, data), label or "no charset", {"text": text})
        for name, label, data, text in _MISFITS
    ),
    _subject("raw-utf-8", "Grüße", "Grüße", "raw bytes"),
    _subject("raw-cp1252", "Grüße – naïve".encode("cp1252"), "Grüße – naïve", "raw bytes"),
    _subject("raw-iso-2022-jp", "会議は十時".encode("iso2022_jp"), "会議は十時", "escapes say so"),
    _subject("with-language", "=?utf-8*de?Q?Gr=C3=BC=C3=9Fe?=", "Grüße", "RFC 2231 §5"),
    _subject("split-in-a-letter", "=?utf-8?Q?Gr=C3?= =?utf-8?Q?=BC=C3=9Fe?=", "Grüße", "one letter"),
    _subject("of-two-encodings", "=?utf-8?Q?Gr=C3=BC?=\n =?utf-8?B?w59l?=", "Grüße", "Q and B side by side"),
    _subject("without-padding", "=?utf-8?B?R3LDvMOfZQ?=", "Grüße", "base64 without its padding"),
    _subject("blanks-inside", "=?utf-8?Q?Gr=C3=BC=C3=9Fe an alle?=", "Grüße an alle", "raw blanks in a word"),
    _subject("joined-to-text", "Re:=?utf-8?Q?Gr=C3=BC=C3=9Fe?=!", "Re:Grüße!", "no blanks around a word"),
    _subject("utf-8-called-latin-1", "=?iso-8859-1?Q?Gr=C3=BC=C3=9Fe?=", "Grüße", "a wrong label"),
    _subject("latin-1-called-utf-8", "=?utf-8?Q?Gr=FC=DFe?=", "Grüße", "a wrong label"),
    _subject("cp1252-called-latin-1", "=?iso-8859-1?Q?council=92s?=", "council’s", "the Windows superset"),
    _subject("gb2312", "=?gb2312?B?1uzpRrv5?=", "朱镕基", "a letter of GBK"),
    _subject("koi8-r-lower-case", "=?koi8-r?b?8NLJ18XU?=", "Привет", "b for B"),
    _subject("shift-jis-vendor-row", "=?Shift_JIS?B?h0A=?=", "①", "NEC row 13"),
    *table(
        {
            "html-meta-charset": (
                letter(b'Content-Type: text/html\n\n<meta charset="koi8-r"><p>'
                       + "Привет".encode("koi8-r") + b"</p>"),
                "only the page names its charset",
                {"html_has": "Привет"},
            ),
            "html-meta-http-equiv": (
                letter(
                    b"Content-Type: text/html\n\n<META HTTP-EQUIV=Content-Type"
                    b' CONTENT="text/html; charset=windows-1251"><p>'
                    + "Привет".encode("cp1251") + b"</p>"
                ),
                "the older form",
                {"html_has": "Привет"},
            ),
            "html-meta-utf-16le": (
                letter('Content-Type: text/html\n\n<meta charset=utf-16le><p>naïve</p>'),
                "a meta tag that can be read is not in UTF-16",
                {"html_has": "<p>naïve</p>"},
            ),
            "html-header-before-meta": (
                letter(b'Content-Type: text/html; charset=koi8-r\n\n<meta charset="utf-8"><p>'
                       + "Привет".encode("koi8-r") + b"</p>"),
                "the header counts before the page",
                {"html_has": "Привет"},
            ),
            "from-name-in-iso-2022-jp": (
                letter(From="=?ISO-2022-JP?B?GyRCMnE1RBsoQg==?= <rosa@sender.example>"),
                "names as well as subjects",
                {"from_email": "rosa@sender.example", "from_name": "会議"},
            ),
        }
    ),
]  # fmt: skip
