"""Base64 with other lines before, between and behind; and what is called base64 but is none."""

from __future__ import annotations

import base64
import random

import pytest

from mailsync.mail.transfer_encoding import decode, decode_shown, decoder

WORDS = "Gr\u00fc\u00dfe an die Liste, bis bald!\n" * 20
DATA = random.Random(3).randbytes(1000)
FOOTER = (
    b"_______________________________________________\r\nHikers mailing list\r\nHikers@lists.example\r\n"
    b"https://lists.example/mailman/listinfo/hikers\r\n"
)


def encoded(data: bytes | str, line_break: bytes = b"\r\n") -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return base64.encodebytes(raw).replace(b"\n", line_break)


def shown(content: bytes) -> tuple[str, bool]:
    pieces, fits = decode_shown(content, "base64")
    return b"".join(piece.data for piece in pieces).decode("utf-8", "replace"), fits


def as_file(content: bytes) -> tuple[bytes, bool]:
    whole = decoder("base64")
    return whole.feed(content) + whole.finish(), whole.fits


@pytest.mark.parametrize("footer", [FOOTER, b"\r\n" + FOOTER, b"\r\n\r\n-- \r\nHikers\r\n", b"Hikers\r\n"])
@pytest.mark.parametrize("text", [WORDS, "Hello", "x" * 57, "x" * 58, "\u00fc" * 1000])
def test_a_footer_behind_base64_is_text(text: str, footer: bytes) -> None:
    whole, fits = shown(encoded(text) + footer)
    assert not fits
    lines = [line for line in whole.replace("\r\n", "\n").split("\n") if line]
    assert lines == [*text.rstrip("\n").split("\n"), *footer.decode().split()] or whole.startswith(text)
    assert whole.endswith(footer.decode())
    assert "\ufffd" not in whole


def test_a_note_before_base64_is_text_and_no_part_of_a_file() -> None:
    note = b"[External sender]\r\nbe careful with links\r\n\r\n"
    assert shown(note + encoded(WORDS)) == (note.decode() + WORDS, False)
    assert as_file(note + encoded(DATA) + b"\r\n" + FOOTER) == (DATA, False)


@pytest.mark.parametrize(
    "text",
    [
        "Dear all, this was never encoded - sorry for that!\n",
        "Dear all\n\nthis was never encoded and has no mark at all\nHello\nRosa\n",
        "Hello", "Rosa", "OK", "Room12", "1\n2\n3\n", "Hi\n--\nRosa Lind\n", "=====\n", "100%",
        "Your code\n\n1BxiMVs0XRA5nFMdKvBdBZjgmUUqptlbs74OgvE2upms\n\nis valid for an hour.\n",
        "commit\n9fceb02d0ae598e95dc970b74767f19372d61af8\nwas reverted\n",
        "Gr\u00fc\u00dfe\n", "https://example.org/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v\n",
    ],
)  # fmt: skip
def test_what_was_never_encoded_is_shown_as_it_is(text: str) -> None:
    assert shown(text.encode()) == (text, False)


def test_a_file_that_was_never_encoded_stays_as_it_is() -> None:
    for content in (b"name;sum\nAnn;1\n" * 10_000, b"name\nAnn Bell\n", b"%PDF-1.4\n%\xe2\xe3\n" * 9, b"%%%"):
        assert as_file(content) == (content, False)


@pytest.mark.parametrize("text", ["a", "ab", "abc", "Gr\u00fc\u00dfe", "", WORDS])
def test_the_encoding_is_believed_where_it_can_be_true(text: str) -> None:
    assert shown(encoded(text)) == (text, True)
    if len(text) > 2:
        assert shown(encoded(text).rstrip(b"=\r\n")) == (text, True)
    assert shown(b"\r\n\r\n" + encoded(text) + b"\r\n\r\n") == (text, True)


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("好", "gb18030"), ("收到", "gb18030"), ("<p>会议50</p>", "gb18030"), ("今天下午开会", "gb18030"),
        ("你好", "big5"), ("ok好", "utf-16-le"), ("会议改到三点", "utf-16-le"), ("Нет", "utf-16-be"),
        ("Да", "koi8-r"), ("Спасибо", "windows-1251"), ("Хорошо, жду", "iso-8859-5"), ("Grüße", "latin-1"),
    ],
)  # fmt: skip
def test_a_short_text_without_padding_is_read_in_its_charset(text: str, charset: str) -> None:
    content = base64.b64encode(text.encode(charset)).rstrip(b"=")
    pieces, fits = decode_shown(content, "base64", charset)
    assert fits
    assert [piece.data.decode(charset) for piece in pieces] == [text]


@pytest.mark.parametrize(
    "charset", ["gb18030", "utf-16", "koi8-r", "windows-1252", "latin-1", "big5", "x", ""]
)
def test_words_stay_words_in_each_charset(charset: str) -> None:
    for word in (
        b"Rosa",
        b"Hello",
        b"OK",
        b"Room12",
        b"Nina",
        b"Hans",
        b"Danke",
        b"and/or",
        b"+4917612345678",
    ):
        pieces, fits = decode_shown(word, "base64", charset)
        assert ([piece.data for piece in pieces], fits) == ([word], False)


def test_stray_bytes_do_not_move_the_lines_behind() -> None:
    content = encoded(DATA)
    lines = content.splitlines(keepends=True)
    for broken in (lines[1][:9] + b"*" + lines[1][10:], lines[1][:9] + b"\xff" + lines[1][9:], lines[1][1:]):
        out, fits = as_file(b"".join([lines[0], broken, *lines[2:]]))
        assert not fits
        assert out[:57] == DATA[:57]
        assert out.endswith(DATA[114:])
        assert len(out) - len(DATA) in (0, -1)


def test_quoted_base64_is_base64() -> None:
    quoted = b"> " + encoded(WORDS, b"\r\n> ")
    assert shown(quoted) == (WORDS, False)


def test_a_text_in_another_charset_keeps_its_footer() -> None:
    raw = WORDS.encode("utf-16-le")
    pieces, fits = decode_shown(encoded(raw) + b"\r\n" + FOOTER, "base64")
    assert not fits
    assert [piece.was_encoded for piece in pieces] == [True, False]
    assert pieces[0].data.startswith(raw)


def test_parts_that_were_encoded_one_by_one_are_joined() -> None:
    assert (
        decode(b"".join(encoded(word) for word in ("Good ", "morning", "!\n")), "base64")
        == b"Good morning!\n"
    )
