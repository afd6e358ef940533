"""Any bytes become headers within the limits of Postgres, in linear time."""

from __future__ import annotations

import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsync.mail.charset_names import charset_codecs
from mailsync.mail.dates import parse_internal_date
from mailsync.mail.file_names import decode_filename
from mailsync.mail.headers import HEADER_FIELDS, parse_headers
from mailsync.mail.text import clean_text, decode_words
from mailsync.model import Headers

FUZZ = settings(derandomize=True, deadline=None, max_examples=300, database=None)

_PIECES = st.sampled_from(
    [
        *[f"{name}: ".encode() for name in HEADER_FIELDS],
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n ",
        b"\n\t",
        b" ",
        b"\0",
        b":",
        b",",
        b";",
        b"<",
        b">",
        b"@",
        b'"',
        b"\\",
        b"(",
        b")",
        b"[",
        b"]",
        b"=?",
        b"?=",
        b"=?utf-8?q?",
        b"=?utf-8?b?",
        b"=?utf-16?b?2AA=?=",
        b"=?x?q?=FF?=",
        b"a@b.example",
        b"=?utf-7?q?+2AA-?=",
        b"\xff\xfe",
        "ü".encode(),
        b"\xed\xa0\x80",
        b"\xc3",
        b"+9999",
        b"Fri, 21 Nov 1997 09:55:06 ",
        b"9" * 400,
        b"<a@b>",
        b"=?utf-8?b?w7w=?=",
        b"\xf0\x9f\x8e\x82" * 300,
    ]
)
_BLOCKS = st.lists(_PIECES | st.binary(max_size=12), max_size=40).map(b"".join)


def _check(headers: Headers) -> None:
    """Assert that the tables can hold all values."""
    texts = [
        headers.message_id,
        headers.in_reply_to,
        headers.references_header,
        headers.subject,
        headers.list_id,
    ]
    texts += [
        headers.from_email,
        headers.from_name,
        *headers.reference_ids,
        *headers.to_emails,
        *headers.to_names,
    ]
    texts += [
        *headers.from_emails,
        *headers.cc_emails,
        *headers.cc_names,
        *headers.bcc_emails,
        *headers.reply_to_emails,
        *headers.errors,
    ]
    for text in texts:
        assert text is None or (isinstance(text, str) and "\0" not in text)
        assert text is None or text.encode().decode() == text  # raises on a lone surrogate
    for text in (
        headers.message_id,
        headers.in_reply_to,
        headers.from_email,
        *headers.to_emails,
        *headers.reference_ids,
    ):
        assert text is None or 0 < len(text.encode()) <= 1_000
    assert headers.subject is None or len(headers.subject.encode()) <= 4_096
    assert headers.from_email == (headers.from_emails[0] if headers.from_emails else None)
    for emails in (
        headers.from_emails,
        headers.to_emails,
        headers.cc_emails,
        headers.bcc_emails,
        headers.reply_to_emails,
        headers.reference_ids,
    ):
        assert len(emails) <= 1_000
    assert len(headers.to_emails) == len(headers.to_names)
    assert len(headers.cc_emails) == len(headers.cc_names)
    assert headers.sent_at is None or (
        headers.sent_at.tzinfo is not None and 1900 <= headers.sent_at.year <= 2200
    )
    assert len(set(headers.errors)) == len(headers.errors)


@FUZZ
@given(st.binary(max_size=2_000))
def test_any_bytes_are_parsed(block: bytes) -> None:
    _check(parse_headers(block))


@FUZZ
@given(_BLOCKS)
def test_any_mixture_of_header_pieces_is_parsed(block: bytes) -> None:
    _check(parse_headers(block))


@FUZZ
@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_is_decoded(text: str) -> None:
    for result in (clean_text(text), decode_words(text), decode_filename([("filename", text), (text, text)])):
        assert result is None or ("\0" not in result and result.encode().decode() == result)


@FUZZ
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["filename", "filename*", "filename*0", "filename*0*", "name*1*"]), st.text()
        )
    )
)
def test_any_file_name_is_decoded(parameters: list[tuple[str, str]]) -> None:
    result = decode_filename(parameters)
    assert result is None or (result and len(result.encode()) <= 1_000)


@FUZZ
@given(st.binary(max_size=60))
def test_any_internal_date_is_parsed_or_none(text: bytes) -> None:
    moment = parse_internal_date(text)
    assert moment is None or 1900 <= moment.year <= 2200


def test_every_charset_decodes_all_bytes_without_an_error_or_a_warning() -> None:
    every_byte = bytes(range(256)) * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for charset, codec in charset_codecs().items():
            assert isinstance(every_byte.decode(codec, "replace"), str), charset
            quoted = "".join(f"={byte:02X}" for byte in every_byte)
            _check(parse_headers(f"Subject: =?{charset}?q?{quoted}?=\n".encode()))


# each is repeated many times and put into every field; a quadratic parser would take minutes for one
_HOSTILE = [
    b" ",
    b"\t \r\n ",
    b"(",
    b"((a)",
    b")",
    b'"',
    b'"\\',
    b'\\"',
    b"\\",
    b"<",
    b"<a",
    b">",
    b"<>",
    b"@",
    b"a@",
    b"a@b ",
    b"a@b,",
    b"a b ",
    b"a\\b",
    b"a:",
    b";",
    b"[",
    b"=?",
    b"=?a?q?",
    b"=?a?q?b",
    b"=?a?q??=",
    b"=?utf-8?b?w7w=?= ",
    b"=?utf-8?q?=C3?= ",
    b"?=",
    b"? =",
    b"<a@b> ",
    b"<a b> ",
    b"1 ",
    b"(a) ",
    b"a",
    b"\xe9",
    b"\0",
    b"A <a@b> B ",
]


@pytest.mark.parametrize("piece", _HOSTILE)
def test_hostile_headers_take_linear_time(piece: bytes) -> None:
    long = piece * (60_000 // len(piece))
    began = time.process_time()
    for name in HEADER_FIELDS:
        _check(parse_headers(name.encode() + b": " + long + b"\r\n"))
    assert time.process_time() - began < 3


def test_a_field_repeated_ten_thousand_times_takes_linear_time() -> None:
    began = time.process_time()
    for name in HEADER_FIELDS:
        _check(parse_headers(f"{name}: a@b.example\r\n".encode() * 10_000))
    assert time.process_time() - began < 3


def test_deep_comments_groups_and_quotes_do_not_recurse() -> None:
    for deep in (b"(" * 50_000 + b")" * 50_000, b"a:" * 50_000 + b";", b"<" * 50_000 + b">" * 50_000):
        _check(parse_headers(b"From: " + deep + b" jo@x.example\n"))
