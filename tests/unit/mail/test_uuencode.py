"""Files in uuencode, as programs write them and as mail delivers them."""

from __future__ import annotations

import binascii
import random

import pytest

from mailsync.mail.transfer_encoding import decoder

DATA = random.Random(5).randbytes(1000) + bytes(100)


def uuencoded(data: bytes, *, line_break: bytes = b"\r\n", backtick: bool = True, cut: bool = False) -> bytes:
    lines = [
        binascii.b2a_uu(data[start : start + 45], backtick=backtick).rstrip(b"\n")
        for start in range(0, len(data), 45)
    ]
    lines = [b"begin 644 a file.bin", *lines, b"`" if backtick else b" ", b"end", b""]
    return line_break.join(line.rstrip(b" ") if cut else line for line in lines)


def decoded(content: bytes, encoding: str = "x-uuencode") -> tuple[bytes, bool]:
    whole = decoder(encoding)
    return whole.feed(content) + whole.finish(), whole.fits


@pytest.mark.parametrize("encoding", ["uuencode", "x-uuencode", "UUE", "x-uue", "x-uu", '"X-UUENCODE"'])
def test_each_name_of_the_encoding_is_known(encoding: str) -> None:
    assert decoded(uuencoded(DATA), encoding) == (DATA, True)


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n", b"\r", b"  \r\n", b"\r\n\r\n"])
@pytest.mark.parametrize(("backtick", "cut"), [(True, False), (False, False), (False, True)])
def test_blanks_and_line_breaks_do_not_matter(line_break: bytes, backtick: bool, cut: bool) -> None:
    content = uuencoded(DATA, line_break=line_break, backtick=backtick, cut=cut)
    assert decoded(content) == (DATA, True)


def test_a_checksum_behind_each_line_is_no_data() -> None:
    first, *lines, zero, end = uuencoded(DATA).splitlines()
    assert decoded(b"\n".join([first, *(line + b"X" for line in lines), zero, end])) == (DATA, True)


def test_what_stands_around_the_file_is_no_part_of_it() -> None:
    assert decoded(b"Here is the file:\r\n\r\n" + uuencoded(DATA) + b"\r\nRosa\r\n") == (DATA, False)


@pytest.mark.parametrize("missing", ["begin", "end", "both"])
def test_a_file_without_its_first_or_last_line(missing: str) -> None:
    content = uuencoded(DATA)
    if missing != "end":
        content = content.partition(b"\n")[2]
    if missing != "begin":
        content = content.removesuffix(b"end\r\n")
    assert decoded(content) == (DATA, False)


def test_a_damaged_character_costs_its_own_bytes() -> None:
    content = uuencoded(DATA)
    lines = content.splitlines(keepends=True)
    lines[2] = lines[2][:9] + b"\xff" + lines[2][10:]
    out, fits = decoded(b"".join(lines))
    assert not fits
    assert out[:45] == DATA[:45]
    assert out[90:] == DATA[90:]


def test_base64_between_the_lines_of_uuencode() -> None:
    content = b"begin-base64 644 hello.txt\r\naGVsbG8=\r\n====\r\n"
    assert decoded(content) == (b"hello", True)


@pytest.mark.parametrize(
    "content", [b"", b"plain words\r\n" * 10_000, b"begin 644 x\r\nplain\r\n", b"begin\r\n"]
)
def test_what_is_no_uuencode_stays_as_it_is(content: bytes) -> None:
    assert decoded(content) == (content, content == b"")
