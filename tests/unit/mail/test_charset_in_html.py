"""The charset that HTML names for itself."""

from __future__ import annotations

import pytest

from mailsync.mail.charsets import charset_in_html
from mailsync.mail.text import decode_charset


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (b'<meta charset="iso-8859-2">', "iso-8859-2"),
        (b"<META  CHARSET = KOI8-R >", "KOI8-R"),
        (b"<meta charset='gbk'/>", "gbk"),
        (b"<meta charset=gbk/>", "gbk"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">', "windows-1251"),
        (b"<meta http-equiv=Content-Type content=text/html;charset=big5>", "big5"),
        (b"<meta content='text/html; charset=\"euc-kr\"' http-equiv=content-type>", "euc-kr"),
        (b'<meta\ncharset="cp1250"\n>', "cp1250"),
        (b'<?xml version="1.0" encoding="Shift_JIS"?><html>', "Shift_JIS"),
        (b'<?xml version="1.0" encoding="gbk"?><meta charset="big5">', "big5"),
        (b"<style>" + b"p {}\n" * 2000 + b"</style><meta charset=cp1253>", "cp1253"),
        (b'<meta charset="utf-16">', "utf-8"),
        (b'<meta http-equiv=Content-Type content="text/html; charset=utf-16le">', "utf-8"),
        (b'<meta charset="x-nonsense"><meta charset="cp1254">', "cp1254"),
        (b'<meta charset="x-nonsense">', "x-nonsense"),
        (b"<!-- <meta charset=gbk> --><meta charset=big5>", "big5"),
        (b"<!-- <meta charset=gbk>", ""),
        (b'<metadata charset="gbk">', ""),
        (b'<p title="charset=gbk">', ""),
        (b"<meta>", ""),
        (b"", ""),
    ],
)
def test_the_charset_in_a_meta_tag(html: bytes, expected: str) -> None:
    assert charset_in_html(html) == expected


def test_utf16_in_readable_bytes_is_utf8() -> None:
    html = '<meta charset="utf-16">plain ascii, naïve'
    assert decode_charset(html.encode(), None, is_html=True) == (html, True)


def test_the_charset_of_the_html_is_used_where_that_of_the_header_does_not_fit() -> None:
    html = '<meta charset="windows-1251">Привет'
    for charset in ("utf-8", "x-nonsense", ""):
        assert decode_charset(html.encode("cp1251"), charset, is_html=True)[0] == html
    assert decode_charset(html.encode("cp1251"), "utf-8", is_html=True)[1] is False
    assert decode_charset(html.encode("koi8-r"), "koi8-r", is_html=True) == (html, True)
