"""Fields become messages and states; malformed fields become None."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from mailsync.imap.parsing.fetch_response import Fields, parse_fetch
from mailsync.imap.parsing.flags import parse_flags, parse_labels
from mailsync.imap.parsing.message import Detail, build_message, items, quick_state

HEADER = b"From: Ann <ann@x.test>\r\nSubject: hi\r\n\r\n"
STRUCTURE = b'("text" "plain" NIL NIL NIL "7bit" 5 1)'


def fields(**changes: object) -> Fields:
    parts = [
        b'* 1 FETCH (UID 7 FLAGS (\\Seen) INTERNALDATE "17-Jul-1996 02:44:25 -0700" RFC822.SIZE 44 '
        b"MODSEQ (9) EMAILID (M1) THREADID (T1) BODYSTRUCTURE " + STRUCTURE + b" BODY[HEADER.FIELDS (FROM)] ",
        HEADER,
        b")",
    ]
    parsed = parse_fetch(parts)
    for name, value in changes.items():
        parsed[name.replace("_", ".").encode()] = value  # type: ignore[assignment]
    return parsed


def test_a_complete_response_becomes_a_complete_message() -> None:
    message = build_message(7, fields(), Detail.FULL)
    assert message.flags == ("\\Seen",)
    assert message.internal_date == datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)
    assert (message.size_bytes, message.modseq) == (44, 9)
    assert (message.provider_message_id, message.provider_thread_id) == ("M1", "T1")
    assert message.headers.from_email == "ann@x.test"
    assert message.mime_structure is not None
    assert json.loads(message.mime_structure)["type"] == "text/plain"
    assert message.parse_errors == ()
    assert not message.has_attachments


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"BODYSTRUCTURE": [b"(("]}, ("bodystructure",)),
        ({"BODYSTRUCTURE": None}, ("bodystructure",)),
        ({"BODYSTRUCTURE": [b"(" * 400 + STRUCTURE + b' "mixed")' * 400]}, ("bodystructure_truncated",)),
        ({"RFC822_SIZE": b"-5"}, ("size",)),
        ({"RFC822_SIZE": b"99999999999999999999"}, ("size",)),
        ({"INTERNALDATE": b"yesterday"}, ("internal_date",)),
        ({"INTERNALDATE": None}, ("internal_date",)),
        ({"MODSEQ": b"none"}, ()),
        ({"BODY[]": None}, ("headers",)),
    ],
)
def test_a_malformed_field_is_none_and_named_and_the_others_are_kept(
    changes: dict[str, object], errors: tuple[str, ...]
) -> None:
    message = build_message(7, fields(**changes), Detail.FULL)
    assert message.parse_errors == errors
    assert message.uid == 7
    assert message.flags == ("\\Seen",)


def test_missing_flags_are_none_without_an_error() -> None:
    without = fields()
    del without[b"FLAGS"]
    message = build_message(7, without, Detail.FULL)
    assert message.flags is None
    assert message.parse_errors == ()


@pytest.mark.parametrize(
    ("detail", "item"),
    [
        (Detail.WHOLE_HEADER, b" BODY.PEEK[HEADER])"),
        (Detail.FEW_FIELDS, b" BODY.PEEK[HEADER.FIELDS (FROM "),
        (Detail.DATE, b"(UID INTERNALDATE)"),
        (Detail.SIZE, b"(UID RFC822.SIZE)"),
        (Detail.FLAGS, b"(UID FLAGS)"),
    ],
)
def test_what_is_asked_for_where_a_server_fails_to_give_more(detail: Detail, item: bytes) -> None:
    asked = items(detail, frozenset())
    assert item in asked
    assert (b"BODYSTRUCTURE" in asked) == (detail is Detail.FEW_FIELDS)
    assert b" TO " not in asked and b"REFERENCES" not in asked


def test_few_fields_are_never_taken_for_all_of_them() -> None:
    message = build_message(7, fields(**{"BODYSTRUCTURE": None}), Detail.FEW_FIELDS)
    assert "headers" in message.parse_errors
    assert message.headers.subject


def test_less_detail_names_the_missing_fields() -> None:
    basic = parse_fetch(
        [b'* 1 FETCH (UID 7 FLAGS () INTERNALDATE "17-Jul-1996 02:44:25 -0700" RFC822.SIZE 4)']
    )
    assert build_message(7, basic, Detail.BASIC).parse_errors == ("headers", "bodystructure")


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        (b"", ()),
        (b"\\SEEN \\recent \\answered", ("\\Answered", "\\Seen")),
        (b"work Work $Junk", ("$Junk", "Work", "work")),
        (b"a[b \xc3\xbc \xfc", ("a[b", "ü")),
        (b'"with space" x', ("with space", "x")),
        (b"x" * 600 + b" kept", ("kept",)),
        (b"n\x00l", ("n\ufffdl",)),
        (b"\\Seen \\Seen", ("\\Seen",)),
    ],
)
def test_flags_are_canonical_sorted_and_without_recent(raw: bytes, flags: tuple[str, ...]) -> None:
    assert parse_flags(raw) == flags
    assert parse_flags(raw) == flags


def test_labels_are_decoded() -> None:
    assert parse_labels(b'\\Inbox "My &AOk-t&AOk-" plain') == ("My été", "\\Inbox", "plain")
    parts = [b"* 1 FETCH (X-GM-LABELS (\\Inbox ", b'a "b"', b" c) UID 7 BODY[] NIL)"]
    assert build_message(7, parse_fetch(parts), Detail.FULL).labels == ("\\Inbox", 'a "b"', "c")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"* 1 FETCH (UID 7 FLAGS (\\Seen) MODSEQ (12))", (7, 12, ("\\Seen",))),
        (b"* 1 FETCH (UID 7 FLAGS ())", (7, None, ())),
        (b"* 1 FETCH (UID 7 MODSEQ (12) FLAGS (x))", (7, 12, ("x",))),
    ],
)
def test_usual_flag_responses_take_the_fast_path(line: bytes, expected: tuple[object, ...]) -> None:
    state = quick_state(line)
    assert state is not None
    assert state[:3] == expected


@pytest.mark.parametrize(
    "line", [b"* 1 FETCH (FLAGS () UID 7)", b"* 1 EXISTS", b'* 1 FETCH (UID 7 FLAGS ("a"))']
)
def test_other_responses_take_the_slow_path(line: bytes) -> None:
    assert quick_state(line) is None


def test_only_items_of_offered_extensions_are_fetched() -> None:
    full = items(Detail.FULL, frozenset({"CONDSTORE", "OBJECTID"}))
    assert b" MODSEQ EMAILID THREADID BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (FROM " in full
    gmail = items(Detail.FULL, frozenset({"X-GM-EXT-1", "OBJECTID"}))
    assert b"X-GM-MSGID X-GM-THRID X-GM-LABELS" in gmail
    assert b"EMAILID" not in gmail
    assert items(Detail.BASIC, frozenset({"CONDSTORE"})) == b"(UID FLAGS INTERNALDATE RFC822.SIZE)"
    assert b"BODYSTRUCTURE" not in items(Detail.NO_STRUCTURE, frozenset())
    assert b"BODY[" not in full
