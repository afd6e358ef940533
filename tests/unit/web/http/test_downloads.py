"""File names and types of downloads."""

from __future__ import annotations

import re
from email.message import EmailMessage
from urllib.parse import unquote

import pytest
from werkzeug.http import parse_options_header

from mailsync.web.http.downloads import ANY, disposition, extension_of, headers_for, safe_name, safe_type


@pytest.mark.parametrize(
    ("content_type", "sent"),
    [
        ("image/png", "image/png"),
        (" Application/PDF ", "application/pdf"),
        ("text/plain", "text/plain"),
        ("message/rfc822", "message/rfc822"),
        *(
            (content_type, ANY)
            for content_type in (
                "", "text/html", "TEXT/HTML", "text/html; charset=utf-8", "application/xhtml+xml",
                "image/svg+xml",
                "text/xml", "application/xml", "application/rss+xml", "text/xsl", "text/javascript",
                "application/javascript", "application/x-javascript", "text/css", "multipart/x-mixed-replace",
                "application/x-shockwave-flash", "text/cache-manifest", "application/wasm", "x/y",
                "image/png\r\nX: y",
                "image/png, text/html", "image/*", "message/external-body", "application/octet-stream",
            )
        ),
    ],
)  # fmt: skip
def test_only_types_that_no_browser_executes_are_sent(content_type: str, sent: str) -> None:
    assert safe_type(content_type) == sent


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("plain.pdf", "plain.pdf"),
        ("Übersicht Q3.pdf", "Übersicht Q3.pdf"),
        ("Προσφορά.docx", "Προσφορά.docx"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\..\\boot.ini", "_.._boot.ini"),
        ("C:\\x.exe", "C__x.exe"),
        ("a\r\nSet-Cookie: x=1\r\n\r\n<script>", "a  Set-Cookie_ x=1    _script_"),
        ('a"; filename="b.html', "a_; filename=_b.html"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("a\u2066b\u2069\u200f\u200b\ufeff.txt", "ab.txt"),
        ("nul\0 and \x1b[31m bell\x07.txt", "nul and [31m bell.txt"),
        ("50%41.txt", "50_41.txt"),
        (".htaccess", "htaccess"),
        ("trailing. . ", "trailing"),
        (None, "7-2.png"),
        ("", "7-2.png"),
        ("...", "7-2.png"),
        ("///", "7-2.png"),
        ("\u202e\u200f", "7-2.png"),
        ("x" * 10_000 + ".pdf", "x" * 196 + ".pdf"),
        ("ü" * 10_000 + ".pdf", "ü" * 98 + ".pdf"),
        ("a." + "x" * 10_000, "a." + "x" * 198),
        ("." * 10_000 + "x", "x"),
    ],
)
def test_file_names_are_safe_on_every_system(given: str | None, safe: str) -> None:
    assert safe_name(given, "7-2.png") == safe


def test_a_file_without_a_name_gets_the_extension_of_its_type() -> None:
    assert [extension_of(media) for media in ("image/png", "message/rfc822", "text/html", "x")] == [
        ".png", ".eml", ".bin", ".bin"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "plain.pdf",
        "Übersicht Q3.pdf",
        "Προσφορά.docx",
        "日本語.txt",
        "it's; a=b, (c).txt",
        "a\u0301.txt",
        "＂／.txt",
        "😀.png",
    ],
)
def test_both_forms_of_the_name_can_be_parsed(name: str) -> None:
    header = disposition(safe_name(name, "x"))
    assert re.fullmatch(
        r"""attachment; filename="[ -!#-$&-~]+"; filename\*=UTF-8''[\w.~%-]+""", header, re.ASCII
    ), header
    kind, options = parse_options_header(header)
    assert (kind, options["filename"]) == ("attachment", safe_name(name, "x"))
    message = EmailMessage()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "attachment"
    assert unquote(header.partition("UTF-8''")[2]) == safe_name(name, "x")


def test_headers_are_one_line_of_ascii_for_any_name() -> None:
    hostile = "".join(
        map(chr, [*range(0x3000), *range(0xD800, 0xE100), *range(0xFE00, 0x10000), 0x1F600, 0x10FFFF])
    )
    for start in range(0, len(hostile), 60):
        headers = headers_for(safe_name(hostile[start : start + 60], "x"), 3)
        assert all(re.fullmatch(r"[ -~]+", value) for value in headers.values()), headers
        assert headers["Content-Disposition"].count('"') == 2
    assert headers["Content-Length"] == "3"
    assert "Content-Length" not in headers_for("x")
