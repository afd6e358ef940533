"""File names of attachments, from the parameters of a BODYSTRUCTURE."""

from __future__ import annotations

import pytest

from mailsync.mail.file_names import decode_filename
from mailsync.mail.text import clean_text, decode_words

Pairs = list[tuple[str, str]]


@pytest.mark.parametrize(
    ("pairs", "name"),
    [
        ([], None),
        ([("charset", "utf-8")], None),
        ([("FILENAME", "plain.pdf")], "plain.pdf"),
        ([("name", "type.pdf"), ("filename", "disposition.pdf")], "disposition.pdf"),
        ([("filename", ""), ("name", "type.pdf")], "type.pdf"),
        ([("filename", "=?utf-8?q?=C3=9Cbersicht.pdf?=")], "Übersicht.pdf"),
        ([("filename*", "UTF-8''%C3%9Cbersicht%20Q3.pdf")], "Übersicht Q3.pdf"),
        ([("filename*", "iso-8859-1'de'%DCbersicht.pdf")], "Übersicht.pdf"),
        ([("filename*", "x-martian''%DC.pdf")], "Ü.pdf"),
        ([("filename*", "no-quotes%20here.pdf")], "no-quotes here.pdf"),
        ([("filename*1", "b.pdf"), ("filename*0", "a")], "ab.pdf"),
        ([("filename*0*", "utf-8''%C3"), ("filename*1*", "%BC-%27.pdf")], "ü-'.pdf"),
        ([("filename*0*", "utf-8''%C3%BC"), ("filename*1", "100%25.pdf")], "ü100%25.pdf"),
        ([("filename*0", "=?utf-8?q?=C3=BC"), ("filename*1", ".pdf?=")], "ü.pdf"),
        ([("filename", "plain.pdf"), ("filename*", "utf-8''%C3%BC.pdf")], "ü.pdf"),
        ([("filename", "Grüße.txt")], "Grüße.txt"),
        ([("filename", "\x1b$B8+@Q=q\x1b(B.pdf")], "見積書.pdf"),
        ([("filename", "Grüße.txt".encode("latin-1").decode("ascii", "surrogateescape"))], "Grüße.txt"),
        ([("filename", "a\r\n\tb\0.txt")], "a b\ufffd.txt"),
    ],
)
def test_names_are_decoded(pairs: Pairs, name: str | None) -> None:
    assert decode_filename(pairs) == name


def test_a_long_name_is_cut() -> None:
    name = decode_filename([("filename", "ü" * 5_000)])
    assert name == "ü" * 500


def test_words_are_decoded_and_text_is_cleaned() -> None:
    assert decode_words("=?utf-8?q?Gr=C3=BC?= =?utf-8?b?w59l?=") == "Grüße"
    assert clean_text("a\0b\ud800c") == "a\ufffdb\ufffdc"
    assert clean_text("Grüße 🎂") == "Grüße 🎂"
