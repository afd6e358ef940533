"""Where the header of a message or a part ends, and where its content begins."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from mailsync.mail.mime import Parsed, parse

MIXED = b"From: a@b.example\r\nContent-Type: multipart/mixed; boundary=b\r\n"
HTML = b"Content-Type: text/html\r\n"


def read(message: bytes) -> Parsed:
    return parse(io.BytesIO(message))


def one_part(part: bytes) -> bytes:
    return MIXED + b"\r\n--b\r\n" + part + b"\r\n--b--\r\n"


ODD_LINES = {
    "blanks": b" \t \r\n",
    "blanks, twice": b" \r\n\t\r\n",
    "an mbox line": b"From relay@x.example Sun Apr  5 10:00:00 2026\r\n",
    "a quoted mbox line": b">From relay@x.example Sun Apr  5 10:00:00 2026\r\n",
    "the rest of a value": b"the rest of a value\r\n",
    "the rest of a value, with a colon": b"the rest: of a value\r\n",
    "a line and its continuation": b"no field\r\n Content-Type: text/plain\r\n",
    "a colon without a name": b": x\r\n",
    "raw 8-bit": b"Gr\xfc\xdfe: x\r\n",
    "a NUL": b"\0\r\n",
    "somebody's boundary": b"--x\r\n",
    "a long line": b"z" * 20_000 + b"\r\n",
    "a long field": b"X-Long: " + b"z" * 200_000 + b"\r\n",
    "many fields": b"X-Many: z\r\n" * 20_000,
}  # fmt: skip
WITHOUT_WARNING = {"blanks", "blanks, twice", "a long field", "many fields"}


@pytest.mark.parametrize("odd", ODD_LINES)
@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r\r\n", b"\r"])
def test_an_odd_line_in_a_header_costs_only_itself(odd: str, end: bytes) -> None:
    fields = [HTML, b"Content-Transfer-Encoding: quoted-printable\r\n"]
    for place in range(3):
        header = b"".join([*fields[:place], ODD_LINES[odd], *fields[place:]])
        for message in (
            b"From: a@b.example\r\n" + header + b"\r\n<p>=C3=A4",
            one_part(header + b"\r\n<p>=C3=A4"),
        ):
            parsed = read(message.replace(b"\r\n", end))
            assert (parsed.text, (parsed.html or "").rstrip("\r")) == (None, "<p>ä")
            if place:
                assert parsed.warnings == (() if odd in WITHOUT_WARNING else ("header",))


@pytest.mark.parametrize(
    "first", [b"From a@b.example Mon\r\n", b">From a@b.example Mon\r\n", b"\xef\xbb\xbf"]
)
def test_what_programs_put_in_front_of_a_header_is_no_reason_to_warn(first: bytes) -> None:
    parsed = read(first + HTML + b"\r\n<p>")
    assert (parsed.html, parsed.warnings) == ("<p>", ())


def test_a_byte_order_mark_in_front_of_a_text_without_a_header() -> None:
    assert (read(b"\xef\xbb\xbfHello\r\nyou\r\n").text or "").lstrip("\ufeff") == "Hello\nyou\n"
    assert set(read(b"\xef\xbb\xbf" * 100_000).text or "") == {"\ufeff"}


@pytest.mark.parametrize(
    "parameter", [b"boundary=b", b'boundary="b"', b"charset=x;\r\nboundary=b", b'a="b:c";\r\nboundary=b']
)
def test_a_parameter_without_a_blank_in_front_is_not_lost(parameter: bytes) -> None:
    header = b"Content-Type: multipart/mixed; \r\n" + parameter + b"\r\nMIME-Version: 1.0\r\n"
    parsed = read(header + b"\r\n--b\r\n" + HTML + b"\r\n<p>\r\n--b--\r\n")
    assert (parsed.html, parsed.warnings) == ("<p>", ())


@pytest.mark.parametrize("line", [b"name=x.pdf", b"a=b", b"--a=b", b"X-y: z\r\nname=x.pdf"])
def test_other_lines_do_not_become_parameters(line: bytes) -> None:
    assert read(b"Content-Type: application/pdf\r\n" + line + b"\r\n\r\nx").attachments[0].filename is None


# -- no empty line -------------------------------------------------------------------------------------

CONTENT: dict[str, tuple[bytes, str]] = {
    "a text without a header": (b"Hello\r\nyou", "Hello\nyou"),
    "a text without a header, in paragraphs": (b"Hello\r\n\r\nyou", "Hello\n\nyou"),
    "a text with a colon": (b"Dear all,\r\nNote: at ten\r\n\r\nBye", "Dear all,\nNote: at ten\n\nBye"),
    "a quoted message": (b"He wrote:\r\nFrom: x\r\nTo: y\r\n\r\nBye", "He wrote:\nFrom: x\nTo: y\n\nBye"),
    "a long text without a header": (b"word " * 20_000 + b"\r\n" + b"line\r\n" * 30_000, ""),
    "a header without its empty line": (b"Content-Language: en\r\nHello\r\nyou", "Hello\nyou"),
    "a long text behind a header": (b"Content-Language: en\r\n" + b"line\r\n" * 30_000, ""),
    "a field that no program uses": (b"Note: x\r\nHello\r\n\r\nyou", "Hello\n\nyou"),
    "blanks for the empty line": (b" \r\nHello\r\n\r\nyou", "Hello\n\nyou"),
    "a field behind the first line of text": (
        b"Content-Language: en\r\nHello\r\nContent-Type: text/html", "Hello\nContent-Type: text/html",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTENT)
def test_content_without_an_empty_line_in_front_is_not_lost(case: str) -> None:
    part, text = CONTENT[case]
    if not text:
        text = part.removeprefix(b"Content-Language: en\r\n").replace(b"\r\n", b"\n").decode()
    parsed = read(one_part(part))
    assert (parsed.text, parsed.html, parsed.warnings) == (text, None, ("header",))


@pytest.mark.parametrize(
    "message", [b"Hello\r\nyou\r\n", b"Hello\n\nyou", b"Hello", b"Hello:\r\n", b"a: b\nHello"]
)
def test_a_message_that_is_only_text(message: bytes) -> None:
    text = message.replace(b"\r\n", b"\n").removeprefix(b"a: b\n").decode()
    assert read(message).text == ("" if message == b"Hello:\r\n" else text)


def test_a_text_that_may_be_a_header_keeps_64_kib() -> None:
    part = HTML + b"<p>\r\n" + b"Content-Language: en\r\n" * 30_000
    parsed = read(one_part(part.removesuffix(b"\r\n")))
    assert parsed.warnings == ("header",)
    assert parsed.html is not None
    assert part.startswith(HTML + parsed.html.encode().replace(b"\n", b"\r\n"))
    assert 60_000 < len(parsed.html) < 70_000


# -- boundaries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", [b"c", b"=_Part:1", b"-- - :x"])
@pytest.mark.parametrize("preamble", [b"", b"This is a message in MIME format.\r\n", b"--x\r\n"])
def test_the_boundary_of_its_own_multipart_ends_a_header(boundary: bytes, preamble: bytes) -> None:
    alternatives = b'Content-Type: multipart/alternative; boundary="' + boundary + b'"\r\n' + preamble
    for part in (b"\r\none", HTML + b"\r\n<p>two"):
        alternatives += b"--" + boundary + b"\r\n" + part + b"\r\n"
    alternatives += b"--" + boundary + b"--\r\n"
    for message in (
        b"From: a@b.example\r\n" + alternatives,
        MIXED + b"--b\r\n" + alternatives + b"--b--\r\n",
    ):
        parsed = read(message)
        assert (parsed.text, parsed.html, parsed.warnings) == ("one", "<p>two", ("header",))


def test_a_boundary_is_found_behind_a_preamble_of_any_length() -> None:
    for length in range(64 * 1024 - 12, 64 * 1024 + 1):
        preamble = b"x" * (length - 2) + b"\r\n"
        parsed = read(MIXED + preamble + b"--b\r\n" + HTML + b"\r\n<p>\r\n--b--\r\n")
        assert (parsed.html, parsed.warnings) == ("<p>", ("header",)), length


def test_the_last_boundary_of_its_own_multipart_ends_a_header() -> None:
    assert read(MIXED + b"--b--\r\n").warnings == ("header", "no_text")


def test_the_boundary_around_a_part_ends_its_header() -> None:
    parsed = read(MIXED + b"\r\n--b\r\n" + HTML + b"--b\r\n\r\nHello\r\n--b--\r\n")
    assert (parsed.text, parsed.warnings) == ("Hello", ("header",))


# -- bare CRs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 65_500, 65_534, 65_535, 65_536, 65_537, 200_000])
def test_bare_crs_end_lines_where_no_line_feed_does(length: int) -> None:
    text = b"word \r" * (length // 6) + b"x" * (length % 6)
    message = MIXED + b"\r\n--b\r\n\r\n" + text + b"\r\n--b--\r\n"
    parsed = read(message.replace(b"\r\n", b"\r"))
    assert (parsed.text, parsed.warnings) == (text.replace(b"\r", b"\n").decode(), ())


def test_a_crlf_behind_bare_crs_is_one_line_end() -> None:
    for length in (65_536, 65_537, 65_538):
        beginning = b"From: a@b.example\r\r"
        message = beginning + b"x" * (length - len(beginning) - 1) + b"\r\ny\r\n"
        assert read(message).text == message[len(beginning) :].replace(b"\r\n", b"\n").decode()


# -- bounds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unit",
    [b"Content-Type: x\r\n y\r\n", b"no field\r\n", b"X: y\r\nno field\r\n", b"--x\r\n", b" \r\n", b"a:\r"],
)
def test_any_header_takes_little_memory(unit: bytes) -> None:
    message = io.BytesIO(b"Content-ID: " + b"z" * 20_000 + b"\r\nno field\r\n" + unit * 50_000)
    tracemalloc.start()
    try:
        parse(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * len(unit) * 50_000
