"""The lines of a COPY block in Postgres' text format; the round trip is an integration test."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from mailsync.model import MessageState
from mailsync.store.copy_format import flags_block, message_block
from tests.support.stored import ATTACHMENT, message

FIRST_FIELDS = ["uid", "modseq", "flags", "internal_date", "size_bytes"]


def fields(block: str) -> list[str]:
    assert block.endswith("\n")
    return block[:-1].split("\t")


def test_a_message_is_one_line_of_29_fields() -> None:
    block = message_block([message(1, "\\Seen"), message(2)])
    assert block.count("\n") == 2
    assert {len(fields(line + "\n")) for line in block.splitlines()} == {29}


def test_what_is_missing_is_null_and_never_an_empty_text() -> None:
    line = fields(message_block([message(1, modseq=None, subject=None, from_email="", size_bytes=None)]))
    assert line[:5] == ["1", "\\N", "{}", "2025-05-17 08:30:00+00:00", "\\N"]
    assert "" in line
    assert line[16] == "\\N", "the subject"


def test_a_text_that_looks_like_null_stays_a_text() -> None:
    assert fields(message_block([message(1, subject="\\N")]))[16] == "\\\\N"
    assert fields(message_block([message(1, subject="NULL")]))[16] == "NULL"


def test_separators_inside_a_text_do_not_separate() -> None:
    block = message_block([message(1, subject="a\tb\nc\rd\\e")])
    assert len(fields(block)) == 29
    assert fields(block)[16] == "a\\tb\\nc\\rd\\\\e"


def test_one_field_that_needs_escaping_escapes_the_whole_row_and_no_null() -> None:
    line = fields(
        message_block([message(1, subject="tab\there", from_email="a\\b@example.com", in_reply_to=None)])
    )
    assert line[16:18] == ["tab\\there", "a\\\\b@example.com"]
    assert line[12] == "\\N"


def test_elements_of_arrays_are_quoted_whatever_they_hold() -> None:
    names = ("NULL", None, "", "a,b", "{}", 'say "hi"', "back\\slash")
    line = fields(message_block([message(1, to_names=names, to_emails=("a@b",) * len(names))]))
    assert line[22] == '{"NULL",NULL,"","a,b","{}","say \\\\"hi\\\\"","back\\\\\\\\slash"}'


def test_flags_that_the_server_left_out_are_null_and_named() -> None:
    line = fields(message_block([message(1, flags=None)]))
    assert line[2] == "\\N"
    assert line[-1] == '{"flags"}'


def test_a_stub_names_only_that_it_is_one() -> None:
    assert (
        fields(message_block([message(1, flags=None, parse_errors=("unfetchable",))]))[-1]
        == '{"unfetchable"}'
    )


def test_attachments_travel_as_json() -> None:
    block = message_block([message(1, attachments=(ATTACHMENT._replace(filename='a"\u2028b.pdf'),))])
    assert '"part": "2"' in block
    assert block.count("\n") == 1


def test_dates_keep_their_zone() -> None:
    date = datetime(1999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-9, minutes=-30)))
    assert fields(message_block([message(1, internal_date=date)]))[3] == "1999-12-31 23:59:59-09:30"


def test_states_without_flags_are_left_out_of_a_flags_block() -> None:
    states = [
        MessageState(1, 9, ("\\Seen", "work"), None, None),
        MessageState(2, 9, None, None, None),
        MessageState(3, None, (), None, None),
    ]
    assert flags_block(states) == '1\t9\t{"\\\\\\\\Seen","work"}\n3\t\\N\t{}\n'
