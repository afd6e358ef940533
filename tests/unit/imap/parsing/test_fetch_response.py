"""The fields of a FETCH response, in common, rare and malformed forms."""

from __future__ import annotations

import random

import pytest

from mailsync.imap.parsing.fetch_response import UNREADABLE, is_fetch, parse_fetch

DATE = b'INTERNALDATE "17-Jul-1996 02:44:25 -0700"'
TEXT = b'("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 5 1 NIL NIL NIL NIL)'
HEADER = b"BODY[HEADER.FIELDS (FROM TO)] "


def test_the_usual_response_becomes_its_fields() -> None:
    parts = [
        b"* 12 FETCH (UID 7 FLAGS (\\Seen $Work) " + DATE + b" RFC822.SIZE 4286 MODSEQ (65) "
        b"BODYSTRUCTURE " + TEXT + b" " + HEADER,
        b"From: a@b.test\r\n\r\n",
        b")",
    ]
    assert parse_fetch(parts) == {
        b"UID": b"7",
        b"FLAGS": b"\\Seen $Work",
        b"INTERNALDATE": b"17-Jul-1996 02:44:25 -0700",
        b"RFC822.SIZE": b"4286",
        b"MODSEQ": b"65",
        b"BODYSTRUCTURE": [TEXT],
        b"BODY[]": b"From: a@b.test\r\n\r\n",
    }


@pytest.mark.parametrize(
    ("parts", "name", "value"),
    [
        ([b"* 1 FETCH (BODY[] ", b"abc", b" UID 9)"], b"UID", b"9"),
        ([b"* 1 FETCH (BODY[]<0> ", b"abc", b" UID 9)"], b"BODY[]", b"abc"),
        ([b'* 1 FETCH (UID 9 BODY[HEADER.FIELDS ("FROM")] "")'], b"BODY[]", b""),
        ([b'* 1 FETCH (UID 9 BODY[HEADER] "a\\"b\\\\")'], b"BODY[]", b'a"b\\'),
        ([b"* 1 FETCH (UID 9 BODY[HEADER] NIL)"], b"BODY[]", None),
        ([b"* 1 FETCH (UID 9 EMAILID (M123) THREADID NIL)"], b"THREADID", None),
        ([b"* 1 FETCH (UID 9 EMAILID (M123) THREADID NIL)"], b"EMAILID", b"M123"),
        ([b"* 1 FETCH (uid 9 flags ())"], b"UID", b"9"),
        ([b"* 1 FETCH (UID 9 FLAGS ())"], b"FLAGS", b""),
        ([b"* 1 FETCH (UID 9"], b"UID", b"9"),
        ([b"* 1 FETCH (  UID  9  )"], b"UID", None),
        ([b"* 1 FETCH (UID 9 RFC822.SIZE -5)"], b"RFC822.SIZE", b"-5"),
        ([b"* 1 FETCH (UID 9 X-GM-LABELS (\\Inbox \"a b\") MODSEQ (1))"], b"MODSEQ", b"1"),
        ([b"* 1 FETCH (X-GM-LABELS (", b"a b", b" c) UID 9)"], b"X-GM-LABELS", [b"(", b"a b", b" c)"]),
        ([b"* 1 FETCH (UNKNOWN 5 OTHER (1 (2 \")\") 3) UID 9)"], b"UID", b"9"),
        ([b"* 1 FETCH (FLAGS (a{b} c) UID 9)"], b"UID", b"9"),
    ],
)  # fmt: skip
def test_each_form_of_a_value_is_parsed(parts: list[bytes], name: bytes, value: object) -> None:
    assert parse_fetch(parts).get(name) == value


def test_strings_with_parentheses_and_literals_do_not_end_a_structure() -> None:
    tricky = b'("text" "plain" ("name" "a) BODY[x (") NIL NIL "7bit" 5 1)'
    parts = [b"* 1 FETCH (BODYSTRUCTURE " + tricky + b" UID 9 " + HEADER, b"x", b")"]
    assert parse_fetch(parts) == {b"BODYSTRUCTURE": [tricky], b"UID": b"9", b"BODY[]": b"x"}
    parts = [b'* 1 FETCH (BODYSTRUCTURE ("text" "plain" ("name" ', b'a)"(', b") NIL) UID 9)"]
    fields = parse_fetch(parts)
    assert fields[b"UID"] == b"9"
    assert fields[b"BODYSTRUCTURE"] == [b'("text" "plain" ("name" ', b'a)"(', b") NIL)"]


@pytest.mark.parametrize(
    "structure",
    [
        b'(("text" "plain" NIL',  # one parenthesis too few
        b'("text" "plain" NIL)))',  # one too many
        b'("text" "pla NIL)',  # a string without end
        b"garbage (",
        b'"\\"\\"\\"',
        b")",
    ],
)
def test_a_malformed_structure_does_not_affect_the_other_fields(structure: bytes) -> None:
    parts = [
        b"* 1 FETCH (UID 9 BODYSTRUCTURE " + structure + b" RFC822.SIZE 3 " + HEADER,
        b"From: a\r\n",
        b" FLAGS (\\Seen))",
    ]
    fields = parse_fetch(parts)
    assert fields[b"UID"] == b"9"
    assert fields[b"BODY[]"] == b"From: a\r\n"
    assert fields[b"FLAGS"] == b"\\Seen"


def test_a_malformed_field_is_named() -> None:
    fields = parse_fetch([b"* 1 FETCH (UID 9 FLAGS (a (b RFC822.SIZE 3)"])
    assert fields[b"UID"] == b"9"
    assert fields[b"RFC822.SIZE"] == b"3"
    assert fields[UNREADABLE] == b"FLAGS"


def test_other_responses_have_no_fields() -> None:
    assert is_fetch([b"* 1 FETCH (UID 9)"])
    assert is_fetch([b"* 1 fetch (UID 9)"])
    assert not is_fetch([b"* 1 EXPUNGE"])
    assert parse_fetch([b"* 1 EXPUNGE"]) == {}


def test_mutilated_responses_never_raise() -> None:
    rng = random.Random(7)
    whole = b"* 1 FETCH (UID 7 FLAGS (\\Seen) " + DATE + b" BODYSTRUCTURE " + TEXT + b' X "\\"" ' + HEADER
    for _ in range(3000):
        text = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            start = rng.randrange(len(text))
            text[start : start + rng.randrange(3)] = rng.choice(
                [b"(", b")", b'"', b"\\", b" ", b"", b"{", b"\xff"]
            )
        parse_fetch([bytes(text), b"literal", b" MODSEQ (5))"])


def test_a_million_open_brackets_or_quotes_take_linear_time() -> None:
    for filler in (b"(" * 300_000, b'"\\' * 300_000, b'"\\"' * 200_000, b"a" * 300_000):
        fields = parse_fetch([b"* 1 FETCH (UID 9 BODYSTRUCTURE " + filler + b" RFC822.SIZE 3)"])
        assert fields[b"UID"] == b"9"
