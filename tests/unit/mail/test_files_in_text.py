"""Files between the lines of a plain text are attachments, and can be found again in the message."""

from __future__ import annotations

import base64
import io
import random

import pytest

from mailsync.mail import transfer_encoding
from mailsync.mail.mime import Parsed, locate, parse
from tests.unit.mail.test_uuencode import uuencoded

DATA = random.Random(5).randbytes(1000)
FILE = uuencoded(DATA)


def read(body: bytes, header: bytes = b"Content-Type: text/plain\r\n") -> tuple[Parsed, bytes]:
    message = header + b"\r\n" + body
    return parse(io.BytesIO(message)), message


def content_of(message: bytes, part: str) -> bytes:
    section = locate(io.BytesIO(message), part)
    assert section is not None
    return transfer_encoding.decode(message[section.start : section.end], section.encoding)


def test_a_file_leaves_the_text_and_becomes_an_attachment() -> None:
    parsed, message = read(b"See the list.\r\n\r\n" + FILE + b"\r\nRosa\r\n")
    assert (parsed.text, parsed.warnings) == ("See the list.\n\n\nRosa\n", ())
    (file,) = parsed.attachments
    assert (file.part, file.filename, file.content_type) == ("1.1", "a file.bin", "application/octet-stream")
    assert file.size_bytes == len(FILE)
    assert parsed.files_in_text == {"1.1"}
    assert content_of(message, "1.1") == DATA


def test_several_files_in_several_texts() -> None:
    csv = b"begin 666 list.CSV\r\n#0V%T\r\n`\r\nend\r\n"
    text = b"\r\none\r\n" + FILE + b"two\r\n" + csv
    message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"".join(
        b"--b\r\n" + part + b"\r\n"
        for part in (text, b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD", text)
    ) + b"--b--\r\n"  # fmt: skip
    parsed = parse(io.BytesIO(message))
    assert parsed.text == "one\ntwo\n\none\ntwo\n"
    assert [(file.part, file.content_type) for file in parsed.attachments] == [
        ("1.1", "application/octet-stream"), ("1.2", "text/csv"), ("2", "image/png"),
        ("3.1", "application/octet-stream"), ("3.2", "text/csv"),
    ]  # fmt: skip
    expected = {"1.1": DATA, "1.2": b"Cat", "2": b"ABC", "3.1": DATA, "3.2": b"Cat"}
    assert {part: content_of(message, part) for part in expected} == expected


@pytest.mark.parametrize("end", [b"", b"end", b"`\r\nend"])
def test_a_file_may_end_with_the_text(end: bytes) -> None:
    parsed, message = read(b"See:\r\nbegin 644 cat.txt\r\n#0V%T\r\n" + end)
    assert (parsed.text, [file.content_type for file in parsed.attachments]) == ("See:\n", ["text/plain"])
    assert content_of(message, "1.1") == b"Cat"


@pytest.mark.parametrize(
    "text",
    [
        "begin 644 is how uuencode begins.\nIt ends with\nend\n",
        "begin 644 a\nend\n",
        "begin 64 a\n#0V%T\n`\nend\n",
        "begin 644\n#0V%T\n`\nend\n",
        "begin 644 a\n#0V%T\nand so on, until\nend\n",
        "  begin 644 a\n#0V%T\n`\nend\n",
        "begin with the list\n",
    ],
)
def test_words_about_uuencode_are_text(text: str) -> None:
    parsed, _ = read(text.replace("\n", "\r\n").encode())
    assert (parsed.text, parsed.attachments) == (text, ())


def test_only_the_text_of_the_message_itself_is_searched() -> None:
    attached = b"Content-Type: text/plain; name=a.txt\r\nContent-Disposition: attachment\r\n"
    for header in (attached, b"Content-Type: text/html\r\n"):
        parsed, _ = read(FILE, header)
        assert not parsed.files_in_text


def test_a_file_longer_than_the_text_that_is_kept_stays_text() -> None:
    parsed, _ = read(b"before\r\n" + uuencoded(bytes(1000) * 9000) + b"after\r\n")
    assert (parsed.attachments, parsed.warnings) == ((), ("text_cut",))


def test_a_part_is_found_whatever_surrounds_it() -> None:
    inner = b"Content-Type: multipart/related; boundary=i\r\n\r\n--i\r\n\r\nx\r\n--i\r\nContent-Type: a/b\r\n"
    encoded = base64.encodebytes(DATA)
    for line_break in (b"\r\n", b"\n"):
        message = (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n--b\r\n" + inner
            + b"Content-Transfer-Encoding: Base64\r\n\r\n" + encoded
            + b"--i--\r\n--b\r\n\r\nraw \xff\0\r\n--b--"
        ).replace(b"\r\n", line_break)  # fmt: skip
        assert content_of(message, "1.2") == DATA
        assert content_of(message, "2") == b"raw \xff\0"
        assert locate(io.BytesIO(message), "3") is None
        assert locate(io.BytesIO(message), "1") is None
