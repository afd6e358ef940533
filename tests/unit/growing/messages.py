"""The functions that parse messages: header, structure and text."""

from __future__ import annotations

import io

from mailsync.mail import mime, transfer_encoding
from mailsync.mail.addresses import parse_addresses
from mailsync.mail.charsets import decode_raw
from mailsync.mail.content_fields import encoding_of, without_comments
from mailsync.mail.dates import parse_date, parse_internal_date
from mailsync.mail.headers import HEADER_FIELDS, parse_headers
from mailsync.mail.mime_part import parameters_of, value_of
from mailsync.mail.text import clamp, clean_text, cut, decode_charset, decode_filename, decode_words, one_line
from mailsync.web.http.downloads import disposition, extension_of, safe_name
from tests.unit.growing.entries import Reads, as_text, as_utf8, reads


def _fields(raw: bytes) -> None:
    value = raw.replace(b"\n", b" ")
    for name in HEADER_FIELDS:
        parse_headers(name.encode() + b": " + value + b"\r\n")


def _message(raw: bytes) -> None:
    mime.parse(io.BytesIO(raw))


def _decoded(encoding: str) -> object:
    def read(raw: bytes) -> None:
        decoder = transfer_encoding.decoder(encoding)
        for start in range(0, len(raw), 4096):
            decoder.feed(raw[start : start + 4096])
        decoder.finish()
        transfer_encoding.decode(raw, encoding)

    return read


def _download(name: str) -> None:
    extension_of(name)
    disposition(safe_name(name, "attachment"))


_TEXT = b"Content-Type: text/plain"
_MIXED = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"

MESSAGES: list[Reads] = [
    reads(
        "header",
        parse_headers,
        (b"", b"\n"),
        (b"", b"a: b\n"),
        (b"", b"a"),
        (b"", b" \n"),
        (b"", b"\r"),
        (b"", b"\0"),
        (b"", b"\xff\n"),
        (b"To: a", b"\n "),
        (b"", b"To: a@b\n"),
        (b"", b"To: a\nCc: b\n"),
        (b"Subject: ", b"a"),
        (b":", b":"),
        (b"List-Id: ", b"<"),
        (b"References: ", b"<a@b> "),
        (b"Return-Path: ", b"< "),
        (b"a", b" ", b": b"),
        (b"Subject: ", b"=?utf-8?q?a?= "),
        (b"Subject: ", b"=?x?q?a?= b "),
        (b"Date: ", b" "),
    ),
    reads(
        "fields",
        _fields,
        (b"", b" "),
        (b"", b"<"),
        (b"", b"<a"),
        (b"", b"a@b "),
        (b"", b"a@b,"),
        (b"", b"<a b> "),
        (b"", b"1 "),
        (b"", b"=?"),
        (b"", b"=?a?q?"),
        (b"", b"a "),
        (b"", b"(a) "),
        (b"", b";"),
        (b"", b">"),
    ),
    reads(
        "addresses",
        as_text(parse_addresses),
        (b"", b" "),
        (b"", b"("),
        (b"", b"((a)"),
        (b"", b"(a) "),
        (b"", b")"),
        (b"", b'"'),
        (b"", b'"\\'),
        (b"", b'\\"'),
        (b"", b'"a'),
        (b"", b"\\"),
        (b"", b"<"),
        (b"", b"<a"),
        (b"", b"<a@b> "),
        (b"", b"<a>"),
        (b"", b"a <b> "),
        (b"", b"@"),
        (b"", b"a@"),
        (b"", b"a@b "),
        (b"", b"a@b,"),
        (b"a@b", b" ", b"x"),
        (b"a@", b"b"),
        (b"a", b"a"),
        (b"", b"a:"),
        (b"", b";"),
        (b"", b","),
        (b"", b"["),
        (b"", b"[a] "),
        (b"", b"=?"),
        (b"", b"=?a?q?"),
        (b"", b"=?a?q?b"),
        (b"", b"=?a?q??="),
        (b"=?a", b"b"),
        (b'"', b"a", b'" <a@b>'),
        (b"", b'"a" '),
        (b"", b"a b "),
        (b"", b"'"),
        (b"a", b" ", b"<"),
        (b"", b"=?u?q?a?= "),
        (b"<", b"=?u?q?a?= ", b">"),
        (b"", b"mailto:"),
        (b"<@", b"a:"),
        (b'a, "', b"\\a", b'" <a@b>'),
        (b"(", b"\\a", b") a@b"),
    ),
    reads(
        "date",
        as_text(parse_date),
        (b"", b" "),
        (b"", b"1"),
        (b"Fri,", b" "),
        (b"1 Jan 2000", b" "),
        (b"1 Jan 2000 00:00:00", b" "),
        (b"1 Jan 2000 00:00:00 +0000", b" ", b"x"),
        (b"1 Jan 2000 00:00:00 +0000 (", b"a", b") x"),
        (b"", b"a "),
        (b"", b"-"),
        (b"", b":"),
        (b"", b","),
    ),
    reads(
        "internal date",
        parse_internal_date,
        (b"", b" "),
        (b'"', b" "),
        (b"", b"1"),
        (b"1-Jan-2000", b" "),
        (b"1-Jan-2000 00:00", b" "),
        (b" ", b'"'),
    ),
    reads(
        "encoded words",
        as_text(decode_words),
        (b"", b"=?"),
        (b"", b"=?a?q?"),
        (b"", b"=?a?q?b"),
        (b"", b"=?a?q??="),
        (b"", b"?="),
        (b"", b"? ="),
        (b"", b"=?utf-8?b?w7w=?= "),
        (b"", b"=?utf-8?q?=C3?= "),
        (b"", b"=?u?q?a?= "),
        (b"=?u?q?", b"=", b"?="),
        (b"=?u?b?", b"a", b"?="),
        (b"=?u?b?", b"=", b"?="),
        (b"=?", b"a", b"?q?a?="),
        (b"=?u?q?", b"?", b"?="),
        (b"=?u?b?", b"a=", b"?="),
        (b"=?utf-7?q?", b"+", b"?="),
        (b"=?utf-16?q?", b"=D8", b"?="),
        (b"=?idna?q?", b"a", b"?="),
        (b"=?punycode?q?", b"a", b"?="),
        (b"=?punycode?q?-", b"a9", b"?="),
        (b"=?unicode_escape?q?", b"\\", b"?="),
        (b"=?iso-2022-jp?q?", b"=1B", b"?="),
        (b"=?hz?q?", b"~", b"?="),
    ),
    reads("broken base64 in words", as_text(decode_words), (b"=?u?b?", b"a!", b"a?=")),
    reads("text", as_text(clean_text), (b"", b"a"), (b"", b"\0"), (b"", b"\xff")),
    reads("line", as_text(one_line), (b"", b" "), (b"", b"\n"), (b"", b"a\n")),
    reads("cut", as_text(lambda text: (cut(text, 1000), clamp(text))), (b"", b"a"), (b"", b"\xff")),
    reads(
        "raw text", decode_raw, (b"", b"a"), (b"", b"\xff"), (b"", b"\xc3\xbc"), (b"a", b"\xc3\xbc", b"\xff")
    ),
    *(
        reads(
            f"text in {charset}",
            lambda raw, charset=charset: decode_charset(raw, charset),
            (b"", b"a"),
            (b"", b"\xff"),
            (b"", b"+"),
            (b"", b"+A"),
            (b"", b"\\"),
            (b"", b"-"),
            (b"a-", b"a9"),
            (b"", b"\x1b"),
            (b"", b"~{"),
            (b"", b"\xd8\0"),
            (b"", b"xn--a."),
            (b"-", b"9"),
        )
        for charset in ("utf-8", "utf-7", "utf-16", "iso-2022-jp", "hz", "gb18030", "punycode", "idna")
    ),
    reads(
        "file name",
        as_text(lambda text: decode_filename([("filename", text), ("name*0*", text)])),
        (b"", b"=?u?q?a?= "),
        (b"", b"'"),
        (b"", b"%"),
        (b"", b"%4"),
        (b"", b"%C3"),
        (b"", b"a"),
        (b"", b" "),
    ),
    reads(
        "many parameters",
        as_text(lambda text: decode_filename((f"filename*{i}", w) for i, w in enumerate(text.split(" ")))),
        (b"", b"a "),
        (b"", b"%41 "),
    ),
    reads("name of a download, decomposed", as_utf8(_download), (b"a", "\u0301\u0316".encode())),
    reads(
        "name of a download",
        as_text(_download),
        (b"", b"a"),
        (b"", b"."),
        (b"", b" "),
        (b"", b"/"),
        (b"a.", b"b"),
        (b"", b"_"),
        (b"", b"\xff"),
        (b"image/png", b" "),
    ),
    reads(
        "parameters",
        lambda raw: list(parameters_of(raw)),
        (b"", b";"),
        (b";", b" "),
        (b"", b";a"),
        (b"", b";a="),
        (b';a="', b"\\"),
        (b"", b';a="'),
        (b"", b'"'),
        (b";", b"a"),
        (b";a", b" "),
        (b";a=", b" "),
        (b"", b";a=b"),
        (b"", b"; "),
        (b"", b'\\"'),
    ),
    reads("parameter", value_of, (b'"', b"\\"), (b"", b" "), (b"", b"\n"), (b'"', b"a")),
    reads(
        "message",
        _message,
        (b"", b"\r\n"),
        (_TEXT, b";a"),
        (_TEXT + b"; a=", b'"\\'),
        (_MIXED, b"--a \r\n"),
        (_MIXED, b"--a--\r\n"),
        (_MIXED, b"--a\r\n\r\n"),
        (b"\r\n", b" "),
        (b"", b" "),
        (b"", b"a:b\r\n"),
        (b"a: ", b" b\r\n"),
        (b"Content-Type: text/html\r\n\r\n", b"<meta "),
        (b"Content-Type: text/html\r\n\r\n<meta ", b"charset "),
        (b"Content-Transfer-Encoding: base64\r\n\r\n", b"A="),
        (b"", b"From a\r\n"),
        (b"Content-Type: ", b"a/"),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\n", b" ", b"x"),
        (_TEXT, b"\r\n a=b;"),
        (b"", b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"),
        (_MIXED, b"--a\r\na:b\r\n\r\nx\r\n"),
        (_MIXED, b"--"),
        (_MIXED + b"--a\r\n", b"Content-Disposition: attachment\r\n\r\n--a\r\n"),
        (b"Content-Type: multipart/alternative; boundary=a\r\n\r\n", b"--a\r\n\r\nx\r\n"),
    ),
    reads(
        "base64",
        _decoded("base64"),
        (b"", b"A"),
        (b"", b"="),
        (b"", b"A="),
        (b"", b"AA=="),
        (b"", b"\n"),
        (b"", b"!"),
        (b"A", b"=A"),
    ),
    reads(
        "quoted-printable",
        _decoded("quoted-printable"),
        (b"", b" "),
        (b"", b"="),
        (b"", b"=\n"),
        (b"", b" \n"),
        (b"", b"=4"),
        (b"", b"\t "),
        (b"", b" \r"),
        (b"", b"\r"),
        (b"", b"a"),
    ),
    reads(
        "other encoding",
        as_text(lambda text: transfer_encoding.decode(b"abc", text)),
        (b"", b"a"),
        (b"", b" "),
        (b"", b"("),
    ),
    reads("encoding's name", as_text(transfer_encoding.is_known), (b"", b"a"), (b"", b" ")),
    reads(
        "encoding of a part",
        lambda raw: encoding_of(raw.decode("latin-1")),
        (b"", b"a"),
        (b"", b" "),
        (b"", b"("),
        (b"", b"content-a:"),
        (b"content-", b"a-"),
    ),
    reads("comments", as_text(without_comments), (b"", b"("), (b"", b")"), (b"", b"()"), (b"(", b"a")),
    reads(
        "encoding in a header",
        transfer_encoding.named_in,
        (b"", b"content-transfer-encoding"),
        (b"", b"content-transfer-encoding:\n"),
        (b"", b"\n"),
        (b"content-transfer-encoding", b" "),
        (b"content-transfer-encoding:", b"\n"),
        (b"", b"content-"),
        (b"content-transfer-encoding:", b"\r\n "),
    ),
]
