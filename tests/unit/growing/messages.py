"""The functions that parse messages: header, structure and text."""

from __future__ import annotations

import io

from mailsync.mail import mime, transfer_encoding
from mailsync.mail.addresses import parse_addresses
from mailsync.mail.attachments import kind_of
from mailsync.mail.charsets import charset_in_html, decode_raw
from mailsync.mail.content_fields import (
    disposition_of,
    encoding_of,
    read_field,
    readable_type,
    subtype_of_multipart,
    type_of_words,
)
from mailsync.mail.dates import parse_date, parse_internal_date
from mailsync.mail.file_names import decode_filename
from mailsync.mail.header_fields import FieldReader
from mailsync.mail.headers import HEADER_FIELDS, parse_headers
from mailsync.mail.iso2022 import continues, is_iso2022
from mailsync.mail.line_ends import lines_of, with_line_feeds
from mailsync.mail.mime_part import spellings_of
from mailsync.mail.odd_fields import without_comments
from mailsync.mail.parameters import decode_octets, parameter, with_text
from mailsync.mail.text import clamp, clean_text, cut, decode_charset, decode_words, one_line
from mailsync.mail.time_zones import read_zone
from mailsync.mail.utf16 import decode_by_mark, decode_wide
from mailsync.mail.base64_lines import Base64Reader, decode_base64, decode_regular, looks_encoded
from mailsync.mail.base64_decoding import decode_base64, decode_regular
from mailsync.mail.base64_lines import Base64Reader, looks_encoded
from mailsync.mail.charsets import decode_raw
from mailsync.mail.content_fields import encoding_of, without_comments
from mailsync.mail.dates import parse_date, parse_internal_date
from mailsync.mail.encoded_lines import decode_text, has_no_controls, is_text
from mailsync.mail.files_in_text import files_in
from mailsync.mail.headers import HEADER_FIELDS, parse_headers
from mailsync.mail.line_blocks import lines_in_block
from mailsync.mail.mime_part import parameters_of, value_of
from mailsync.mail.text import clamp, clean_text, cut, decode_charset, decode_filename, decode_words, one_line
from mailsync.mail.uuencode import begin_file
from mailsync.web.http.downloads import disposition, extension_of, safe_name
from tests.unit.growing.entries import Reads, as_text, as_utf8, reads


def _fields(raw: bytes) -> None:
    value = raw.replace(b"\n", b" ")
    for name in HEADER_FIELDS:
        parse_headers(name.encode() + b": " + value + b"\r\n")


class _Header(FieldReader):
    wanted, joined, longest = frozenset({b"to", b"subject"}), frozenset({b"to"}), 1000


def _read_fields(raw: bytes) -> None:
    header = _Header()
    header.read_block(raw)
    header.values()


def _lines(raw: bytes) -> None:
    for _ in lines_of(with_line_feeds(raw)):
        pass


def _message(raw: bytes) -> None:
    mime.parse(io.BytesIO(raw))
    mime.locate(io.BytesIO(raw), "1")


def _shown(raw: bytes) -> None:
    transfer_encoding.decode_shown(raw, "base64")
    transfer_encoding.decode_shown(raw, "x-uuencode")


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
_CHARSETS = (
    *("utf-8", "us-ascii", "iso-8859-1", "iso-8859-2", "cp874", "utf-7", "utf-16", "utf-16le", "utf-32"),
    *("iso-2022-jp", "iso-2022-kr", "iso-2022-cn", "euc-jp", "shift_jis", "big5", "hz", "gb18030"),
)
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
        "fields of a header",
        _read_fields,
        (b"", b"a"),
        (b"", b"\n"),
        (b"", b"\r"),
        (b"", b"\r", b"\n"),
        (b"", b"\r", b"x\n"),
        (b"", b"a:\n"),
        (b"", b"a\r"),
        (b"", b"no field\n"),
        (b"", b"no field\n \n"),
        (b"", b"--\n"),
        (b"", b" \n"),
        (b"a", b" ", b": b"),
        (b"To: a\n", b" \n"),
        (b"To: a\n", b"\r \n"),
        (b"To: a\n", b" b\n"),
        (b"", b"To: a\n"),
        (b"", b"To: \n"),
        (b"To: a", b"   ", b"\nTo: b"),
        (b"Subject: ", "ü".encode()),
        (b"Subject: ", b"\x80"),
    ),
    reads(
        "lines",
        _lines,
        (b"", b"\n"),
        (b"", b"a"),
        (b"", b"a\n"),
        (b"", b"\r"),
        (b"a\r", b"\r\n"),
        (b"\r", b"a"),
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
        (b"", b"a b, "),
        (b"", b"A, ", b"B <a@b>"),
        (b"", b"A, b, "),
        (b"", b"A, B <a@b>, "),
        (b"", b"A: "),
        (b"", b"A: ", b"B <a@b>"),
        (b"", b"A: B, ", b"C <a@b>"),
        (b"", b"a:;"),
        (b"", b"; "),
        (b";", b" ", b"x:"),
        (b"", b"[a@b]"),
        (b"", b"a@b x "),
        (b'"', b"a@b ", b'"'),
        (b'"', b"a ", b'@ b"'),
        (b'"', b'\\"a@b\\" ', b'"'),
        (b"=?u?q?", b"=40_", b"?="),
        (b"", b"=?u?q?=40?= "),
        (b"", b"=?u?q?=40?=, "),
        (b"</", b"a ", b">"),
        (b"", b"(a@b) "),
        (b"", b"&lt;"),
        (b"", b"&lt;a@b&gt; c@d "),
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
        (b"1 Mar 2024 ", b"08 : "),
        (b"1 Mar 2024 08.15 ", b"8.15 "),
        (b"1 Mar 2024 08:15 ", b"(a"),
        (b"1 Mar 2024 08:15 ", b"gmt "),
        (b"2024", b"0305t"),
        (b"", b"mar "),
        (b"=?u?q?", b"1_", b"?="),
    ),
    reads(
        "zone",
        as_text(read_zone),
        (b"", b"a"),
        (b"", b"a "),
        (b"gmt", b" "),
        (b"+", b"0"),
        (b"+8", b" ", b"1"),
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
        (b"1-Jan-2000 00:00:00 +0000", b" ", b"x"),
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
        (b"", b"?=20"),
        (b"=?u?q?", b"a?=20"),
        (b"", b"=?utf-8?q?"),
        (b"", b"=?utf-8?q?a "),
        (b"=?utf-8?q?", b"a="),
        (b"=?utf-8?q?", b"a "),
        (b"", b"=? utf-8 "),
        (b"=?", b" "),
        (b"", b"=?iso-2022-jp?q?=1B$B?= "),
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
    reads("is ISO 2022", is_iso2022, (b"", b"\x1b"), (b"", b"\x1b$"), (b"", b"\x1b$B"), (b"", b"a")),
    reads("byte order mark", decode_by_mark, (b"\xff\xfe", b"a\0"), (b"\xef\xbb\xbf", b"\xff"), (b"", b"a")),
    reads(
        "UTF-16",
        lambda raw: decode_wide(raw, "utf_16"),
        (b"", b"a"),
        (b"", b"a\0"),
        (b"", b"\xd8\0"),
        (b"", b"\1\2"),
    ),
    reads(
        "word that goes on",
        lambda raw: continues(raw, raw),
        (b"", b"\x1b"),
        (b"", b"\x1b$B"),
        (b"", b"a"),
    ),
    reads(
        "charset in HTML",
        charset_in_html,
        (b"", b"<meta "),
        (b"", b"<meta charset="),
        (b"<meta ", b"charset "),
        (b"<meta ", b"charset=a "),
        (b"", b"<!--"),
        (b"", b"<!---->"),
        (b"<?xml ", b"encoding"),
        (b"<?xml ", b"encoding='"),
        (b"", b" "),
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
            (b"", b"\x1b$B"),
            (b"", b"\x1b$B-!"),
            (b"", b"\x1b$Ba\n"),
            (b"\x1b$B", b"a"),
            (b"\x1b$B", b"-!"),
            (b"\x1b$(D", b"0!"),
            (b"\x1b$)Z\x0e", b"0!"),
            (b"\x1b(I", b"1"),
            (b"\x1b(I", b"\xff"),
            (b"\x1b$)C", b"\x0ea\x0f"),
            (b"\x1b$B", b"\n"),
            (b"", b"\xad\xa1"),
            (b"", b"\xad\xa1a"),
            (b"", b"\xad\xff"),
            (b"", b"\x8f\xff\xff"),
            (b"\xc3\xbc", b"\xed\xa0\xbd\xed\xba\x80"),
            (b"\xc3\xbc", b"\xe2"),
            (b"\xc3\xbc", b"\xf0\x9f"),
            (b"", b"\x80"),
            (b"", b"\xc3\xbc"),
            (b"\xff\xfe", b"a\0"),
            (b"", b"~{"),
            (b"", b"\xd8\0"),
            (b"", b"xn--a."),
            (b"-", b"9"),
        )
        for charset in (*_CHARSETS, "punycode", "idna")
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
        (b"", b"\\"),
        (b"c:", b"\\"),
        (b"=?u?q?a?=", b'"'),
        (b"", b'?="'),
        (b"", b"??"),
        (b"", b"=?a?q?"),
        (b"u'", b"'"),
        (b"'", b"a", b"'"),
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
        read_field,
        (b"", b";"),
        (b"a/b", b";a=b"),
        (b'a;name="', b"\\\\", b'"'),
        (b'a;b="', b"\\\\", b'"'),
        (b"", b"("),
        (b"", b"()"),
        (b"a;", b"(a"),
        (b"", b"=?u?q?a"),
        (b";a=", b"=?u?q?"),
        (b";a=", b"=?u?q?a?="),
        (b'"', b"a"),
        (b"'", b'\\"'),
        (b"", b"content-type:"),
        (b"", b"content-"),
        (b'a="', b'" '),
        (b'a="', b'"b'),
        (b'a="', b"; name="),
        (b"", b'name="; '),
        (b"", b'name="x; '),
        (b"", b' charset="'),
        (b"", b"name=a "),
        (b"name=a", b" name"),
        (b"name=", b" "),
        (b"name=", b","),
        (b"name=a.b ", b"("),
        (b"name=", b"a."),
        (b"charset=", b"a "),
        (b"boundary=", b"a ("),
        (b"a/b ", b"\t"),
        (b"a", b"/a"),
        (b"", b"\r\n "),
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
    reads(
        "parameter",
        as_text(lambda text: parameter([("a*0*", text), ("a*1", text), ("a*" + text, text)], "a")),
        (b"", b"'"),
        (b"", b"%"),
        (b"", b"%41"),
        (b"", b"a'"),
        (b"", b"0"),
        (b"", b"\xff"),
    ),
    reads(
        "raw parameter",
        lambda raw: with_text(raw.decode("utf-8", "surrogateescape")),
        (b"", b"a"),
        (b"", b"\xff"),
    ),
    reads("boundary", spellings_of, (b"'", b"a", b"'"), (b"", b"'")),
    reads("octets", lambda raw: decode_octets(raw, "utf-8"), (b"", b"a"), (b"", b"\xff")),
    *(
        reads(name, as_text(read), (b"", b"a"), (b"", b"/"), (b"", b"a/"), (b"", b" "), (b"multipart", b"a"))
        for name, read in (
            ("type", readable_type),
            ("type of words", lambda text: type_of_words(text, text)),
            ("multipart", subtype_of_multipart),
            ("disposition", disposition_of),
            ("kind of a part", lambda text: kind_of(text, text, False, False)),
        )
    ),
    reads(
        "message",
        _message,
        (b"", b"\r\n"),
        (b"\r\nbegin 644 x\r\n", b"#0V%T\r\n"),
        (b"\r\n", b"begin 644 x\r\n"),
        (b"\r\n", b"begin 644 x\r\n#0V%T\r\nend\r\n"),
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
        (b"", b"a\r"),
        (b"", b"\r"),
        (b"", b"no field\r\n"),
        (b"X-a: b\r\n", b"no field\r\n"),
        (b"no field\r\n", b"X-a: b\r\n"),
        (b"no field\r\n", b"X-a: b\r\n", b"\r\n"),
        (_MIXED[:-2], b"--b\r\n"),
        (b"Content-Type: text/plain;\r\n", b"a=b;\r\n"),
        (b"Content-Type: text/plain;\r\n", b"a"),
        (b"Content-Type: text/plain;\r\n", b"a=:b;\r\nContent-Type: b;\r\n"),
        (b"Content-Type: text/plain; a=" + b"b" * 16_000 + b"\r\n", b"--b\r\n"),
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
        "base64 with other lines",
        _decoded("base64"),
        (b"", b"Dear all,\r\n"),
        (b"QUJD" * 19 + b"\r\n", b"> QUJD\r\n"),
        (b"QUJD" * 19 + b"\r\n", b"QUJD" * 19 + b"\r\n"),
        (b"", b"-_A\r\n"),
        (b"", b"a b"),
        (b"", b"A!"),
        (b"", b"\r"),
        (b"Q", b"QUJD\r\n"),
    ),
    reads(
        "uuencode",
        _decoded("x-uuencode"),
        (b"begin 644 x\n", b"#0V%T\n"),
        (b"begin 644 x\n", b"M"),
        (b"begin 644 x\n#0V%T\n", b"M" + b"A" * 59 + b"\xff\n"),
        (b"begin 644", b" "),
        (b"", b"begin 644 x\n"),
        (b"begin-base64 644 x\n", b"QUJD\n"),
        (b"begin-base64 644 x\n", b"="),
        (b"", b"\n"),
        (b"", b"M"),
    ),
    reads(
        "base64 and text",
        _shown,
        (b"", b"A"),
        (b"", b"A="),
        (b"", b"a\n\n"),
        (b"SGVsbG8=\n", b"Rosa\n"),
        (b"", b"SGVsbG8=\nRosa\n"),
        (b"", b"Aa0-"),
        (b"Dear all,\n", b"\n"),
        (b"", b"a b "),
        (b"a ", b"a"),
    ),
    reads(
        "characters of base64",
        lambda raw: (
            decode_base64(raw),
            decode_regular(raw),
            looks_encoded(raw),
        ),
        (b"", b"A"),
        (b"", b"A="),
        (b"", b"="),
    ),
    reads("decoded text", lambda raw: (is_text(raw), has_no_controls(raw)), (b"", b"a"), (b"", b"\xff")),
    reads("text as base64", lambda raw: decode_text(raw, Base64Reader()), (b"", b"a"), (b"", b"a\n")),
    reads(
        "files in a text",
        files_in,
        (b"", b"begin "),
        (b"", b"begin 644 a\n"),
        (b"begin 644 a\n", b"#0V%T\n"),
        (b"", b"begin 644 a\n#0V%T\n"),
    ),
    reads("lines in a block", lambda raw: list(lines_in_block(raw)), (b"", b"a\n"), (b"", b"\r")),
    reads(
        "beginning of a file",
        begin_file,
        (b"begin 644", b" "),
        (b"begin 644 a", b" "),
        (b"begin ", b"0"),
        (b"begin 644 ", b"a"),
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
