"""Content-Type, Content-Disposition and Content-Transfer-Encoding as programs write them."""

from __future__ import annotations

import pytest

from mailsync.mail.content_fields import encoding_of


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        ("", ""),
        ("  \r\n ", ""),
        ("BASE64", "base64"),
        ('"base64"', "base64"),
        ("'base64'", "base64"),
        ("base64;", "base64"),
        ("base64; charset=utf-8", "base64"),
        ("base64 charset=utf-8", "base64"),
        ("(c) quoted-printable (d (e))", "quoted-printable"),
        ("Quoted-Printable.", "quoted-printable"),
        ("quoted/printable", "quoted-printable"),
        ("quoted printable", "quoted-printable"),
        ("quotedprintable", "quoted-printable"),
        ("8-bit", "8bit"),
        ("7 bit", "7bit"),
        ("x-base64", "base64"),
        ("X-UUencode", "x-uuencode"),
        ("Content-Transfer-Encoding: base64", "base64"),
        ("utf-8", "utf-8"),
    ],
)
def test_an_encoding_is_read_in_any_spelling(value: str, encoding: str) -> None:
    assert encoding_of(value) == encoding
    assert encoding_of(value.encode() + b" \xff") == encoding
