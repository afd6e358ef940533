"""Every value is read as it was written, or rejected without harm (SPEC §0.6)."""

from __future__ import annotations

import string
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsync.errors import RowsRefused
from mailsync.model import FolderState, Message
from mailsync.store import folders, messages
from mailsync.store.db import Connection
from tests.support.stored import (
    ATTACHMENT,
    DATE,
    NO_HEADERS,
    assert_counts_are_true,
    flag,
    message,
    row,
    store,
)

FIXED = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


NASTY = [
    "", " ", "\\", "\\N", "\\.", "\\\\", "\t", "\n", "\r\n", "a\tb\nc\\d", "NULL", "null", "{}", "{,}", '"',
    "'", ",",
    '{"a"}', "\x01", "\x02\x1f\x7f", "".join(map(chr, range(1, 32))), "\ufffd",
    "👩‍👧‍👦", "ä ö ü", "\u2028\u2029", "\ufeff",
    "\u202e", "%s %(x)s", "--", "$1", "\\x00", "E'\\x01'", "'; drop table messages; --",
]  # fmt: skip
TEXT = st.one_of(
    st.sampled_from(NASTY), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
)
TEXTS = st.lists(TEXT, max_size=4).map(tuple)
NAMES = st.lists(st.none() | TEXT, max_size=4).map(tuple)
DATES = st.datetimes(
    datetime(1900, 1, 2),
    datetime(2199, 12, 30),
    timezones=st.integers(-15 * 60 - 59, 15 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m))),
)
WIDE = st.integers(0, 2**63 - 1)
ATTACHMENTS = st.lists(
    st.builds(
        ATTACHMENT._replace,
        part=st.from_regex(r"[0-9](\.[0-9]){0,3}", fullmatch=True),
        filename=st.none() | TEXT,
        content_type=TEXT,
        size_bytes=st.none() | WIDE,
        content_id=st.none() | TEXT,
        is_inline=st.booleans(),
    ),
    max_size=3,
    unique_by=lambda a: a.part,
).map(tuple)
HEADERS = st.builds(
    NO_HEADERS._replace,
    message_id=st.none() | TEXT, in_reply_to=st.none() | TEXT, references_header=st.none() | TEXT,
    reference_ids=TEXTS, sent_at=st.none() | DATES, subject=st.none() | TEXT, from_email=st.none() | TEXT,
    from_name=st.none() | TEXT, from_emails=TEXTS, reply_to_emails=TEXTS, to_emails=TEXTS, to_names=NAMES,
    cc_emails=TEXTS, cc_names=NAMES, bcc_emails=TEXTS, list_id=st.none() | TEXT, is_automated=st.booleans(),
)  # fmt: skip
MESSAGES = st.builds(
    message(1)._replace,
    modseq=st.none() | WIDE, flags=TEXTS, internal_date=DATES, size_bytes=st.none() | WIDE,
    provider_message_id=st.none() | TEXT, provider_thread_id=st.none() | TEXT, labels=st.none() | TEXTS,
    has_attachments=st.booleans(),
    mime_structure=st.sampled_from([None, "[]", '["text/plain", {"a": "\\"\\\\"}]']),
    attachments=ATTACHMENTS, headers=HEADERS,
    parse_errors=st.sampled_from([(), ("size",), ("size", "charset")]),
)  # fmt: skip


@pytest.mark.long
@FIXED
@given(batch=st.lists(MESSAGES, min_size=1, max_size=20))
def test_values_are_read_as_they_were_written(
    conn: Connection, folder: FolderState, batch: list[Message]
) -> None:
    conn.execute("delete from messages")
    conn.execute("update folders set live_count = 0, live_unseen = 0")
    batch = [each._replace(uid=uid) for uid, each in enumerate(batch, 1)]
    assert store(conn, folder, *batch) == len(batch)
    for sent in batch:
        found = row(conn, sent.uid)
        expected = sent._asdict() | sent.headers._asdict()
        for name in ("headers", "errors", "attachments", "mime_structure"):
            expected.pop(name)
        for name, value in expected.items():
            assert found[name] == (list(value) if isinstance(value, tuple) else value), name
        assert found["is_seen"] == ("\\Seen" in sent.flags)
        kept = conn.execute(
            "select part, filename, content_type, size_bytes, content_id, is_inline from attachments"
            " where message_pk = %s",
            [found["id"]],
        )
        assert {tuple(each) for each in kept} == set(map(tuple, sent.attachments))
    assert_counts_are_true(conn, folder)


@FIXED
@given(flags=st.lists(st.lists(TEXT, max_size=3).map(tuple), min_size=1, max_size=5))
def test_flags_come_back(conn: Connection, folder: FolderState, flags: list[tuple[str, ...]]) -> None:
    store(conn, folder, *[message(uid, "before") for uid in range(1, len(flags) + 1)])
    flag(conn, folder, dict(enumerate(flags, 1)))
    for uid, each in enumerate(flags, 1):
        assert row(conn, uid)["flags"] == list(each)
    assert_counts_are_true(conn, folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"subject": "a\0b"}, id="NUL in a text"),
        pytest.param({"to_names": ("a\0b",)}, id="NUL in an array"),
        pytest.param({"mime_structure": '["\\u0000"]'}, id="NUL in JSON"),
        pytest.param({"subject": "\ud800"}, id="a lone surrogate in a text"),
        pytest.param({"labels": ("\udfff",)}, id="a lone surrogate in an array"),
        pytest.param({"mime_structure": '["\\ud800"]'}, id="a lone surrogate in JSON"),
        pytest.param({"attachments": (ATTACHMENT._replace(filename="\ud800"),)}, id="one in a file name"),
        pytest.param({"mime_structure": '["'}, id="broken JSON"),
        pytest.param({"size_bytes": 2**63}, id="a size beyond 64 bits"),
        pytest.param(
            {"message_id": "".join(chr(33 + i * i * 7 % 9001) for i in range(4000))},
            id="too long for an index",
        ),
        pytest.param({"attachments": (ATTACHMENT, ATTACHMENT)}, id="a part that stands twice"),
    ],
)
def test_what_postgres_does_not_take_is_refused_and_nothing_is_stored(
    conn: Connection, folder: FolderState, change: dict[str, Any]
) -> None:
    bad = message(2, **change)
    with pytest.raises(RowsRefused) as caught:
        store(conn, folder, message(1), bad)
    assert "\n" not in str(caught.value)
    with pytest.raises(RowsRefused):
        messages.SentBatch(conn, folder, [message(1), bad], lambda: None, announce=False).wait()
    assert conn.execute("select count(*) from messages").fetchone() == (0,)
    assert store(conn, folder, message(1)) == 1, "the connection goes on"
    assert_counts_are_true(conn, folder)


def test_a_message_that_stands_twice_in_a_batch_is_refused(conn: Connection, folder: FolderState) -> None:
    with pytest.raises(RowsRefused):
        store(conn, folder, message(1), message(1))


def test_indexed_texts_of_the_greatest_length_are_taken(conn: Connection, folder: FolderState) -> None:
    hard = "".join(string.printable[i * i * 7919 % 94] for i in range(2_500))
    assert store(conn, folder, message(1, message_id=hard, from_email=hard[:2_000])) == 1


def test_a_text_that_cannot_be_encoded_is_refused_everywhere(conn: Connection, folder: FolderState) -> None:
    with pytest.raises(RowsRefused):
        folders.note_error(conn, folder, "\ud800", DATE)
