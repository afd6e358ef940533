"""The lines of a header are read by one set of rules, for columns and bodies alike."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsync.mail.header_fields import FieldReader, Line
from mailsync.mail.headers import parse_headers
from mailsync.mail.line_ends import first_line
from mailsync.mail.part_header import MessageHeader, PartHeader

LONGEST = 64 * 1024
FUZZ = settings(derandomize=True, deadline=None, max_examples=600, database=None)


class _Header(FieldReader):
    wanted, joined, longest = frozenset({b"to", b"subject"}), frozenset({b"to"}), 16


@pytest.mark.parametrize(
    "odd",
    [
        b" \r\n",
        b"\t\r\n \t \r\n",
        b" \n\n",
        b"From relay@x.example Sun Apr  5 10:00:00 2026\r\n",
        b">From relay@x.example Sun Apr  5 10:00:00 2026\r\n",
        b"the rest of a value, without a blank in front\r\n",
        b"the rest of a value: with a colon\r\n",
        b"no field\r\n and its continuation\r\n",
        b"no field\r\n \r\n Subject: two\r\n",
        b": a colon without a name\r\n",
        b"Subject\r\n : two\r\n",
        b"Sub ject: two\r\n",
        b"Sub\0ject: two\r\n",
        b"Sub\x7fject: two\r\n",
        "Sübject: two\r\n".encode(),
        "Subject\N{NO-BREAK SPACE}: two\r\n".encode(),
        b"\xff\xfe\r\n",
        b"--Subject: two\r\n",
        b"=\r\n",
        b"\x0c\r\n",
        b"\x0bSubject: two\r\n",
        b"X-Long: " + b"z" * 200_000 + b"\r\n",
        b"long without a colon " * 10_000 + b"\r\n",
    ],
)
def test_an_odd_line_costs_only_itself(odd: bytes) -> None:
    fields = [b"From: a@b.example\r\n", b"Subject: one\r\n", b"Date: Tue, 05 Mar 2024 09:15:00 +0100\r\n"]
    ends_header = odd.endswith(b"\n\n")
    for place in range(4):
        block = b"".join([*fields[:place], odd, *fields[place:]]) + b"\r\nSubject: of the body\r\n"
        headers = parse_headers(block)
        assert headers.from_email == (None if ends_header and place < 1 else "a@b.example")
        assert headers.subject == (None if ends_header and place < 2 else "one")
        assert (headers.sent_at is None) is (ends_header and place < 3)
        assert headers.errors == ()


@pytest.mark.parametrize(
    "block",
    [
        b"Subject: one\n\nTo: a@b.example\n",
        b"Subject: one\r\n\r\nTo: a@b.example\r\n",
        b"Subject: one\r\r\n\r\r\nTo: a@b.example\r\r\n",
        b"Subject: one\r\rTo: a@b.example\r",
        b"\r\n\nSubject: one\n\r\nTo: a@b.example\n",
        b"\xef\xbb\xbfSubject: one\n\nTo: a@b.example\n",
        b"Subject:\r\n \r\n\tone\r\n \r\n\r\nTo: a@b.example\r\n",
        b"Subject\t : one\n\nTo: a@b.example\n",
    ],
)
def test_a_header_ends_at_the_empty_line(block: bytes) -> None:
    headers = parse_headers(block)
    assert (headers.subject, headers.to_emails) == ("one", ())


def test_a_bare_cr_is_a_blank_where_line_feeds_end_lines() -> None:
    headers = parse_headers(b"Subject: a\rTo: b@c.example\r\nFrom: a@b.example\r\n")
    assert (headers.subject, headers.to_emails) == ("a To: b@c.example", ())
    assert headers.from_email == "a@b.example"


# -- large headers -------------------------------------------------------------------------------------

GIANTS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "a field that has no column": (b"X-Pad: " + b"y" * 3_000_000 + b"\n", ()),
    "many fields that have no column": (b"X-Pad: y\n" * 300_000, ()),
    "a subject": (b"Subject: " + b"y" * 3_000_000 + b"\n", ("headers_truncated", "subject_truncated")),
    "a folded subject": (b"Subject: y\n" + b" y\n" * 900_000, ("headers_truncated", "subject_truncated")),
    "recipients": (
        b"To: " + b"an.address@example.org,\n " * 100_000 + b"a@b.example\n",
        ("headers_truncated", "to_truncated"),
    ),
    "a field for each recipient": (
        b"To: an.address@example.org\n" * 100_000,
        ("headers_truncated", "to_truncated"),
    ),
    "references": (
        b"References: " + b"<a@b>\n " * 300_000 + b"\n",
        ("headers_truncated", "references_truncated"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("giant", GIANTS)
def test_a_giant_field_costs_only_itself(giant: str) -> None:
    field, errors = GIANTS[giant]
    headers = parse_headers(
        field + b"From: Jo <a@b.example>\nMessage-ID: <c@d>\nDate: Tue, 05 Mar 2024 09:15:00 +0100\n\n"
    )
    assert (headers.from_email, headers.from_name, headers.message_id) == ("a@b.example", "Jo", "c@d")
    assert headers.sent_at is not None
    assert headers.errors == errors


def test_a_giant_field_is_cut_between_characters() -> None:
    subject = parse_headers("Subject: {}\n".format("é" * 1_000_000).encode()).subject
    assert subject == "é" * 2_048


# -- columns and bodies --------------------------------------------------------------------------------

# two fields of a row whose text is stored as it is, and the fields of a part that are read in their place
_ROW_AND_PART = {b"References": b"Content-Type", b"Subject": b"Content-ID"}
_A, _B = b"\1", b"\2"
_PIECES = st.sampled_from(
    [
        _A + b": ", _B + b": ", _A + b":", _A, _B, b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n ", b"\n\t",
        b":", b"x", b"X-y: z", b"From a", b">From b", b"--", b"\xef\xbb\xbf", b"\xff", b"\xc3", "ü".encode(),
        b" ", b"\t", b"\0", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xa0", b"a b", b" \r\n", b"\r\r\n", b"  ,",
    ]
)  # fmt: skip


def _of_part(block: bytes) -> PartHeader:
    header = MessageHeader()
    line, readline = first_line(io.BytesIO(block).readline, LONGEST)
    while line:
        # only in front of a row's block, empty lines are ignored
        if header.feed(line, True) is Line.END and not header.is_empty:
            break
        line = readline(LONGEST)
    return header


def _text(value: bytes) -> str:
    """The text that :func:`parse_headers` stores of a value, but for its spaces."""
    name = b"References: "
    return " ".join((parse_headers(name + value.replace(b"\r", b" ")).references_header or "").split())


@FUZZ
@given(st.lists(_PIECES, max_size=25).map(b"".join))
def test_columns_and_bodies_find_the_same_fields(block: bytes) -> None:
    row, part = block, block
    for mark, (of_row, of_part) in zip((_A, _B), _ROW_AND_PART.items(), strict=True):
        row, part = row.replace(mark, of_row), part.replace(mark, of_part)
    headers, header = parse_headers(row), _of_part(part)
    found = headers.references_header or "", headers.subject or ""
    for text, (of_row, of_part) in zip(found, _ROW_AND_PART.items(), strict=True):
        value = header.value(of_part.lower())
        for name, other in _ROW_AND_PART.items():
            value = value.replace(other, name)
        assert " ".join(text.split()) == _text(value), of_row


@FUZZ
@given(st.lists(_PIECES | st.binary(max_size=8), max_size=40).map(b"".join))
def test_the_reader_for_all_blocks_and_the_fast_one_agree(block: bytes) -> None:
    block = block.replace(_A, b"To").replace(_B, b"Subject")
    # 1 MiB more than the fast reader takes, in a field that has no column
    large = b"X-Pad: " + b"y" * 1024 * 1024 + b"\n" + block
    assert parse_headers(b"X-Pad: y\n" + block) == parse_headers(large)


@FUZZ
@given(st.binary(max_size=300))
def test_any_bytes_are_read_as_a_header(block: bytes) -> None:
    header = _Header()
    header.read_block(block)
    for value in header.values().values():
        assert len(value) <= 16
    _of_part(block).finish(at_empty_line=False)


def test_repeated_fields() -> None:
    header = _Header()
    header.read_block(b"To: \nTo: a,\n b \nCc: c\nTo: d\nSubject: \nSubject: one\n two\nSubject: three\n")
    assert header.values() == {b"to": b"a,\n b; d\n", b"subject": b"one\n two\n"}
    assert not header.cut
