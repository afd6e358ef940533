"""Content-Type, Content-Disposition and Content-Transfer-Encoding as programs write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsync.mail.content_fields import encoding_of, read_field
from mailsync.mail.mime_part import Part


def part_with(content_type: str = "", disposition: str = "") -> Part:
    fields = {"content-type": content_type, "content-disposition": disposition}
    part = Part("1", "text/plain")
    part.fields = {
        name.encode(): value.encode("utf-8", "surrogateescape") for name, value in fields.items() if value
    }
    part.read_header()
    return part


@pytest.mark.parametrize(
    ("value", "content_type", "charset"),
    [
        ("text/html; charset=utf-8", "text/html", "utf-8"),
        ('TEXT/HTML;CHARSET="utf-8";format=flowed', "text/html", "utf-8"),
        ("text/html charset=utf-8", "text/html", "utf-8"),
        ("text/html, charset=utf-8", "text/html", "utf-8"),
        ("text/html:charset=utf-8", "text/html", "utf-8"),
        ("text/html/charset=utf-8", "text/html", "utf-8"),
        ("text/html; charset: utf-8", "text/html", "utf-8"),
        ("text/html;; charset=utf-8;;", "text/html", "utf-8"),
        ("text/html \\; charset=utf-8", "text/html", "utf-8"),
        ("text/html;\r\n\tcharset = \r\n\t\"utf-8\"", "text/html", "utf-8"),
        ("text / html; charset=utf-8", "text/html", "utf-8"),
        ("text/html (generated); charset=utf-8", "text/html", "utf-8"),
        ("(a) text/(b)html(c(d));(e)charset(f)=(g)\"utf-8\"(h)", "text/html", "utf-8"),
        ("text/html; charset=utf-8 (Plain text)", "text/html", "utf-8"),
        ("text/html (no end; charset=utf-8", "text/html", "utf-8"),
        ('"text/html"; charset=utf-8', "text/html", "utf-8"),
        ('"text/html; charset=utf-8"', "text/html", "utf-8"),
        ('"text/html; charset="utf-8""', "text/html", "utf-8"),
        ("'text/html'; charset='utf-8'", "text/html", "utf-8"),
        ("<text/html>; charset=\"'utf-8'\"", "text/html", "utf-8"),
        ('text/html; charset="utf-8', "text/html", "utf-8"),
        ('text/html; charset="utf-8; format=flowed', "text/html", "utf-8"),
        ('text/html; charset="utf-8; name="a.html"', "text/html", "utf-8"),
        ('text/html; charset=utf-8"', "text/html", "utf-8"),
        ("text/html; charset=utf-8 format=flowed", "text/html", "utf-8"),
        ("text/html; charset=utf-8, format=flowed", "text/html", "utf-8"),
        ("text/html; charset=utf-8; charset=koi8-r", "text/html", "utf-8"),
        ("text/html; charset=; charset=utf-8", "text/html", "utf-8"),
        ("text/html; charset*=us-ascii'en'utf-8", "text/html", "utf-8"),
        ("text/html; charset*1=8; charset*0=utf-", "text/html", "utf-8"),
        ("Content-Type: text/html; charset=utf-8", "text/html", "utf-8"),
        ("=?utf-8?q?text/html?=; charset=utf-8", "text/html", "utf-8"),
        ("text\\html; charset=utf-8", "text/html", "utf-8"),
        ("html; charset=utf-8", "text/html", "utf-8"),
        ("/html", "text/html", ""),
        ("text/html.", "text/html", ""),
        ("plain", "text/plain", ""),
        ("text", "text/plain", ""),
        ("text/", "text/plain", ""),
        ("text/*; charset=utf-8", "text/plain", "utf-8"),
        ("charset=utf-8", "text/plain", "utf-8"),
        ("; charset=utf-8", "text/plain", "utf-8"),
        ("a/b/c", "text/plain", ""),
        ("nonsense; name=a.bin", "application/octet-stream", ""),
        (" ", "text/plain", ""),
        ("image", "application/octet-stream", ""),
        ("application", "application/octet-stream", ""),
        ("application/; name=a.bin", "application/octet-stream", ""),
    ],
)  # fmt: skip
def test_type_and_charset_are_read_in_any_spelling(value: str, content_type: str, charset: str) -> None:
    part = part_with(value)
    assert (part.type, part.charset) == (content_type, charset)


@pytest.mark.parametrize(
    ("value", "content_type", "boundary"),
    [
        ('multipart/alternative; boundary="b0"', "multipart/alternative", "b0"),
        ('multipart/alternative\r\n\tboundary="b0"', "multipart/alternative", "b0"),
        ('multipart/*; boundary="b0"', "multipart/mixed", "b0"),
        ("multipart; boundary=b0", "multipart/mixed", "b0"),
        ("multipart/; boundary=b0", "multipart/mixed", "b0"),
        ("multipart-related; boundary=b0", "multipart/related", "b0"),
        ('"multipart/mixed"; boundary=b0', "multipart/mixed", "b0"),
        ("boundary=b0", "multipart/mixed", "b0"),
        ("multipart/mixed; boundary=----=_Part_1.2", "multipart/mixed", "----=_Part_1.2"),
        ("multipart/mixed; boundary==_b", "multipart/mixed", "=_b"),
        ("multipart/mixed; boundary=b0 (a comment)", "multipart/mixed", "b0"),
        ("multipart/mixed; boundary=a b; x=y", "multipart/mixed", "a b"),
        ('multipart/mixed; boundary="a b "', "multipart/mixed", "a b"),
        ('multipart/mixed; boundary="b0--"', "multipart/mixed", "b0--"),
        ('multipart/mixed; boundary="b0', "multipart/mixed", "b0"),
        ('multipart/mixed; boundary="a(b"', "multipart/mixed", "a(b"),
        ('multipart/mixed; boundary="a\\"b"', "multipart/mixed", 'a"b'),
        (f'multipart/mixed; boundary="{"x" * 200}"', "multipart/mixed", "x" * 200),
        ("multipart/mixed; boundary*=us-ascii''b%200", "multipart/mixed", "b 0"),
        (
            "multipart/mixed; boundary*0*=us-ascii''%3D_a;\r\n boundary*1*=%2Db; boundary*2=c",
            "multipart/mixed", "=_a-bc",
        ),
    ],
)  # fmt: skip
def test_a_boundary_is_read_in_any_spelling(value: str, content_type: str, boundary: str) -> None:
    part = part_with(value)
    assert (part.type, part.boundary.decode()) == (content_type, boundary)


@pytest.mark.parametrize(
    ("value", "disposition", "name"),
    [
        ('attachment; filename="a b.pdf"', "attachment", "a b.pdf"),
        ("Attachment ; FILENAME = a.pdf ; size = 3", "attachment", "a.pdf"),
        ("attachment filename=a.pdf", "attachment", "a.pdf"),
        ("attachment, filename=a.pdf", "attachment", "a.pdf"),
        ('"attachment"; filename=a.pdf', "attachment", "a.pdf"),
        ('"attachment; filename="a b.pdf""', "attachment", "a b.pdf"),
        ("(a) inline (b); filename=a.pdf", "inline", "a.pdf"),
        ("inline/attachment; filename=a.pdf", "inline", "a.pdf"),
        ("filename=a.pdf", "", "a.pdf"),
        ("=?utf-8?q?attachment=3B_filename=3Da=2Epdf?=", "attachment", "a.pdf"),
        # without quotes
        ("attachment; filename=as of\r\n 12.02.24.zip", "attachment", "as of 12.02.24.zip"),
        ("attachment; filename=Roth, Ida.pdf", "attachment", "Roth, Ida.pdf"),
        ("attachment; filename=a (1).pdf", "attachment", "a (1).pdf"),
        ("attachment; filename=(1) a.pdf", "attachment", "(1) a.pdf"),
        ("attachment; filename=a.pdf (a comment)", "attachment", "a.pdf"),
        ("attachment; filename=a b.pdf size=12", "attachment", "a b.pdf"),
        ("attachment; filename=a;b.pdf", "attachment", "a"),
        ("attachment; filename='a b.pdf'", "attachment", "a b.pdf"),
        # with quotes
        ('attachment; filename="a; b.pdf"', "attachment", "a; b.pdf"),
        ('attachment; filename="a; size=1; b.pdf"', "attachment", "a; size=1; b.pdf"),
        ('attachment; filename="a.pdf', "attachment", "a.pdf"),
        ('attachment; filename="a.pdf; size=12', "attachment", "a.pdf"),
        ('attachment; filename="The "best" a.pdf"; size=1', "attachment", 'The "best" a.pdf'),
        ('attachment; filename="a\\"b\\\\c.pdf"', "attachment", 'a"b\\c.pdf'),
        ('attachment; filename="C:\\Docs\\new.pdf"', "attachment", "new.pdf"),
        ('attachment; filename="\\\\\\\\server\\\\Docs\\\\a.pdf"', "attachment", "a.pdf"),
        ('attachment; filename="a.pdf"; filename="b.pdf"', "attachment", "a.pdf"),
        # encoded
        ("attachment; filename*=utf-8''%C3%9Cber.pdf", "attachment", "Über.pdf"),
        ("attachment; filename*=utf-8''%DCber.pdf", "attachment", "Über.pdf"),
        ("attachment; filename*=\"utf-8''%C3%9Cber.pdf\"", "attachment", "Über.pdf"),
        ("attachment; filename*=UTF-8'%C3%9Cber.pdf", "attachment", "Über.pdf"),
        ("attachment; filename=utf-8''%C3%9Cber.pdf", "attachment", "Über.pdf"),
        ("attachment; filename=%C3%9Cber.pdf", "attachment", "Über.pdf"),
        ("attachment; filename=100%25.pdf", "attachment", "100%25.pdf"),
        ("attachment; filename=%DCber.pdf", "attachment", "%DCber.pdf"),
        ("attachment; filename*1=.pdf; filename*0*=utf-8''%C3%9C", "attachment", "Ü.pdf"),
        ("attachment; filename*00=a; filename*01=b; filename*03=c", "attachment", "ab"),
        ("attachment; filename*1=a; filename*2=b", "attachment", "ab"),
        ("attachment; filename*0*=utf-8''%C3%9C; filename*1*=utf-8''a", "attachment", "Üa"),
        ("attachment; filename==?utf-8?Q?=C3=9C?= =?utf-8?Q?a?=", "attachment", "Üa"),
        ("attachment; filename==?utf-8?Q?=C3=9C;a?=; size=1", "attachment", "Ü;a"),
        ('attachment; filename="=?utf-8?B?w5w=?="\r\n\t"=?utf-8?B?w5w=?="', "attachment", "ÜÜ"),
        ('attachment; filename*0="=?utf-8?B?"; filename*1="w5w=?="', "attachment", "Ü"),
        ("attachment; filename*==?utf-8?B?w5w=?=", "attachment", "Ü"),
        # raw
        ('attachment; filename="Über.pdf"', "attachment", "Über.pdf"),
        ("attachment; filename=\udcdcber uns.pdf", "attachment", "Über uns.pdf"),
        # the better one
        ("attachment; filename=??.pdf; name==?utf-8?B?w5w=?=", "attachment", "Ü"),
        ("attachment; filename==?x-none?B?gQ==?=; name=a.pdf", "attachment", "a.pdf"),
        ("attachment; filename=; name=a.pdf", "attachment", "a.pdf"),
        ("attachment; filename*=utf-8''%C3%9C.pdf; filename=U.pdf", "attachment", "Ü.pdf"),
    ],
)  # fmt: skip
def test_disposition_and_name_are_read_in_any_spelling(value: str, disposition: str, name: str) -> None:
    part = part_with("application/pdf", value)
    assert (part.disposition, part.attachment().filename) == (disposition, name)


def test_the_name_of_the_type_counts_where_the_disposition_has_none() -> None:
    assert part_with("application/pdf; name=a.pdf", "attachment").attachment().filename == "a.pdf"
    assert (
        part_with("application/pdf; name=a.pdf", "attachment; filename=b.pdf").attachment().filename
        == "b.pdf"
    )
    lost = 'attachment; filename="\ufffd.pdf"'
    assert part_with("application/pdf; name=a.pdf", lost).attachment().filename == "a.pdf"


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


# -- what follows RFC 2045 §5.1 is read as the RFC says ---------------------------------------------------

_TOKEN = st.text(st.sampled_from("abzXY019!#$%&'*+-.^_`{|}~"), min_size=1, max_size=12)
_TEXT = st.text(st.characters(min_codepoint=32, exclude_characters="\x7f", codec="utf-8"), max_size=20)
_COMMENT = st.sampled_from(["", " ", "\r\n\t", "(c)", " (c; name=x) ", "(a (b) \\) c)"])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(["charset", "boundary", "name", "filename", "x-other"]),
        st.one_of(_TOKEN.map(lambda text: (text, text)), _TEXT.map(lambda text: (text, _quoted(text)))),
    ),
    max_size=4,
)


@given(_PARAMETERS, _COMMENT, _COMMENT)
def test_a_well_made_field_is_read_exactly(
    parameters: list[tuple[str, tuple[str, str]]], before: str, after: str
) -> None:
    field = f"{before}Text/HTML{after}"
    for name, (_, written) in parameters:
        # a name may hold parentheses without quotes, so only a blank begins a comment behind it
        field += f";{before}{name.upper()}={written}{'' if name.endswith('name') else after}"
    word, pairs = read_field(field.encode())
    assert word == "text/html"
    assert pairs == [(name, value) for name, (value, _) in parameters]


@given(st.binary(max_size=80))
def test_any_field_is_read(value: bytes) -> None:
    word, pairs = read_field(value)
    assert word == word.lower()
    for name, _ in pairs:
        assert name
    encoding_of(value)
    part = Part("1", "text/plain", fields={b"content-type": value, b"content-disposition": value})
    part.read_header()
    assert part.type
    assert part.disposition in ("", "inline", "attachment")
    name = part.attachment().filename
    assert name is None or name.encode().decode() == name
    assert part.charset.encode("utf-8", "surrogatepass") is not None
    assert b"\n" not in part.boundary
