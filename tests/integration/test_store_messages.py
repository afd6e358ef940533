"""Batches into rows: every value comes back as it went in, and the counts are true after anything."""

from __future__ import annotations

import string
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsync.errors import DatabaseUnavailable, RowsRefused
from mailsync.model import FolderState, MailboxStatus, Message, MessageState
from mailsync.store import db, folders, messages
from mailsync.store.db import Connection
from mailsync.uids import UidSet
from tests.integration.stored import (
    ATTACHMENT,
    DATE,
    NO_HEADERS,
    UIDVALIDITY,
    message,
    new_account,
    new_folder,
    settings_for,
)

FIXED = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    with db.connect(settings_for(database_url), "test") as conn:
        yield conn


@pytest.fixture
def folder(conn: Connection, database_url: str) -> FolderState:
    return new_folder(conn, new_account(conn, settings_for(database_url)))


def store(conn: Connection, folder: FolderState, *batch: Message, announce: bool = False) -> int:
    with db.transaction(conn):
        return messages.store_batch(conn, folder, batch, announce=announce)


def flag(conn: Connection, folder: FolderState, states: dict[int, tuple[str, ...] | None]) -> int:
    with db.transaction(conn):
        told = [MessageState(uid, None, flags, None, None) for uid, flags in states.items()]
        return messages.apply_flags(conn, folder, told)


def row(conn: Connection, uid: int) -> dict[str, Any]:
    cursor = conn.execute("select * from messages where uid = %s", [uid])
    names = [column.name for column in cursor.description or ()]
    return dict(zip(names, cursor.fetchone() or (), strict=True))


def events(conn: Connection) -> list[tuple[str, int | None]]:
    return conn.execute(
        "select type, (data ->> 'uid')::int from sync_events where type like 'message.%' order by seq"
    ).fetchall()


def assert_counts_are_true(conn: Connection, folder: FolderState) -> None:
    (kept,) = folders.load(conn, folder.account_id, folder.id)
    counted = conn.execute(
        "select count(*), count(*) filter (where not is_seen) from messages"
        " where folder_id = %s and deleted_at is null",
        [folder.id],
    ).fetchone()
    assert (kept.live_count, kept.live_unseen) == counted


# -- every value comes back ---------------------------------------------------------------------------------

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
    from_name=st.none() | TEXT, reply_to_emails=TEXTS, to_emails=TEXTS, to_names=NAMES, cc_emails=TEXTS,
    cc_names=NAMES, bcc_emails=TEXTS, list_id=st.none() | TEXT, is_automated=st.booleans(),
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


@FIXED
@given(batch=st.lists(MESSAGES, min_size=1, max_size=20))
def test_what_goes_in_comes_back(conn: Connection, folder: FolderState, batch: list[Message]) -> None:
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


# -- batches meet rows that are there -----------------------------------------------------------------------


def test_new_mail_is_announced_and_a_backfill_is_not(conn: Connection, folder: FolderState) -> None:
    assert store(conn, folder, message(1), message(2), announce=True) == 2
    assert store(conn, folder, message(3), announce=False) == 1
    assert events(conn) == [("message.created", 1), ("message.created", 2)]


def test_a_row_that_is_there_is_brought_up_to_date_under_its_id(
    conn: Connection, folder: FolderState
) -> None:
    store(conn, folder, message(1, subject="old"))
    before = row(conn, 1)
    assert store(conn, folder, message(1, "\\Seen", subject="new"), announce=True) == 0
    after = row(conn, 1)
    assert (after["id"], after["created_at"]) == (before["id"], before["created_at"])
    assert (after["subject"], after["is_seen"]) == ("new", True)
    assert after["updated_at"] > before["updated_at"]
    assert events(conn) == []
    assert_counts_are_true(conn, folder)


def test_a_tombstone_lives_again_under_its_old_id(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, message(1), message(2))
    before = row(conn, 1)["id"]
    assert messages.tombstone(conn, folder, UidSet([(1, 1)]), "expunged") == 1
    assert row(conn, 1)["deleted_reason"] == "expunged"
    assert store(conn, folder, message(1), announce=True) == 0
    after = row(conn, 1)
    assert (after["id"], after["deleted_at"], after["deleted_reason"]) == (before, None, None)
    assert events(conn) == [("message.deleted", 1), ("message.restored", 1)]
    assert_counts_are_true(conn, folder)


def test_flags_that_the_server_left_out_keep_the_old(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, message(1, "\\Seen", "work"))
    store(conn, folder, message(1, flags=None))
    assert row(conn, 1)["flags"] == ["\\Seen", "work"]
    store(conn, folder, message(2, flags=None))
    assert (row(conn, 2)["flags"], row(conn, 2)["parse_errors"]) == ([], ["flags"])
    assert_counts_are_true(conn, folder)


def test_a_stub_never_takes_the_place_of_a_row(conn: Connection, folder: FolderState) -> None:
    def stub(uid: int) -> Message:
        return message(uid, flags=None, subject=None, internal_date=None, parse_errors=("unfetchable",))

    store(conn, folder, message(1, "\\Seen"))
    assert store(conn, folder, stub(1), stub(2)) == 1
    assert messages.SentBatch(conn, folder, [stub(1), stub(3)], lambda: None, announce=False).wait() == 1
    assert row(conn, 1)["subject"] == "Message 1"
    assert row(conn, 2)["parse_errors"] == row(conn, 3)["parse_errors"] == ["unfetchable"]
    assert_counts_are_true(conn, folder)


def test_a_missing_date_is_when_it_was_sent_or_else_now(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, message(1, internal_date=None, sent_at=DATE), message(2, internal_date=None))
    assert row(conn, 1)["internal_date"] == DATE
    assert datetime.now(UTC) - row(conn, 2)["internal_date"] < timedelta(minutes=1)


def test_rows_of_another_uidvalidity_are_other_rows(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, message(1), message(2))
    folders.restart(conn, folder, UIDVALIDITY + 1)
    (restarted,) = folders.load(conn, folder.account_id, folder.id)
    assert store(conn, restarted, message(1)) == 1
    assert_counts_are_true(conn, folder)
    assert messages.tombstone_chunk(conn, restarted, "uidvalidity_reset", keep=UIDVALIDITY + 1) == 2
    assert messages.tombstone_chunk(conn, restarted, "uidvalidity_reset", keep=UIDVALIDITY + 1) == 0
    assert_counts_are_true(conn, folder)


def test_a_uidvalidity_that_becomes_known_keeps_the_rows(conn: Connection, folder: FolderState) -> None:
    unknown = new_folder(conn, folder.account_id, "Lists", uidvalidity=0)
    store(conn, unknown, message(1))
    before = row(conn, 1)["id"]
    messages.note_attempt(conn, unknown, UidSet([(2, 5)]))
    folders.adopt_uidvalidity(conn, unknown, 77)
    (known,) = folders.load(conn, unknown.account_id, unknown.id)
    assert (row(conn, 1)["id"], row(conn, 1)["uidvalidity"]) == (before, 77)
    assert messages.open_attempts(conn, known) == [(2, 5, 1)]
    assert_counts_are_true(conn, unknown)


def test_a_uidvalidity_that_is_left_out_later_is_kept(conn: Connection, folder: FolderState) -> None:
    folders.begin_initial(conn, folder, MailboxStatus(uidvalidity=None), 2**31 - 1)
    (again,) = folders.load(conn, folder.account_id, folder.id)
    assert again.uidvalidity == UIDVALIDITY
    assert again.initial_oldest_uid == 2**31


# -- flags, tombstones, comparisons -------------------------------------------------------------------------


def test_only_rows_that_differ_are_written_and_told(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, message(1), message(2, "\\Seen"), message(3))
    messages.tombstone(conn, folder, UidSet([(3, 3)]), "expunged")
    assert flag(conn, folder, {1: ("\\Seen",), 2: ("\\Seen",), 3: ("\\Seen",), 9: ("\\Seen",), 4: None}) == 1
    assert row(conn, 3)["flags"] == []
    (data,) = conn.execute("select data from sync_events where type = 'message.flags_changed'").fetchone()
    assert data == {"uid": 1, "old": [], "new": ["\\Seen"]}
    assert_counts_are_true(conn, folder)


def test_tombstones_are_set_for_live_rows_only_and_once(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, *[message(uid) for uid in range(1, 11)])
    assert messages.tombstone(conn, folder, UidSet([(2, 4), (8, 99)]), "expunged") == 6
    assert messages.tombstone(conn, folder, UidSet([(1, 99)]), "expired") == 4
    assert row(conn, 3)["deleted_reason"] == "expunged"
    assert messages.tombstone(conn, folder, UidSet(), "expired") == 0


def test_more_than_a_chunk_is_tombstoned_in_several(
    conn: Connection, folder: FolderState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "CHUNK", 3)
    store(conn, folder, *[message(uid) for uid in range(1, 11)])
    assert messages.tombstone(conn, folder, UidSet([(1, 10)]), "expunged") == 10
    xids = conn.execute(
        "select count(distinct xid) from sync_events where type = 'message.deleted'"
    ).fetchone()
    assert xids == (4,)
    assert_counts_are_true(conn, folder)


UIDS = st.sets(st.integers(1, 60), max_size=60).map(UidSet.of)


@FIXED
@given(here=UIDS, there=UIDS, lowest=st.integers(1, 60), highest=st.integers(1, 60))
def test_a_comparison_tells_both_differences(
    conn: Connection, folder: FolderState, here: UidSet, there: UidSet, lowest: int, highest: int
) -> None:
    conn.execute("delete from messages")
    store(conn, folder, *[message(uid) for uid in here])
    missing, gone = messages.compare_uids(conn, folder, there, lowest, highest)
    inside = set(range(lowest, highest + 1))
    assert set(missing) == (set(there) - set(here)) & inside
    assert set(gone) == (set(here) - set(there)) & inside


def test_states_come_ascending_with_what_was_not_read(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, message(3), message(1, "\\Seen", parse_errors=("size",)), message(2))
    messages.tombstone(conn, folder, UidSet([(2, 2)]), "expunged")
    assert list(messages.select_states(conn, folder, 1, 9)) == [
        (MessageState(1, 1, ("\\Seen",), DATE, 1001), frozenset({"size"})),
        (MessageState(3, 3, (), DATE, 1003), frozenset()),
    ]


# -- whatever happens, in whatever order --------------------------------------------------------------------

FEW = st.sets(st.integers(1, 12), min_size=1, max_size=8)
SOME_FLAGS = st.sampled_from([(), ("\\Seen",), ("\\Flagged", "\\Seen"), ("work",), None])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), FEW, SOME_FLAGS),
        st.tuples(st.just("send"), FEW, SOME_FLAGS),
        st.tuples(st.just("flag"), FEW, SOME_FLAGS),
        st.tuples(st.just("delete"), FEW, st.none()),
        st.tuples(st.just("reconcile"), FEW, SOME_FLAGS),
        st.tuples(st.just("refused"), FEW, SOME_FLAGS),
        st.tuples(st.just("empty"), FEW, st.none()),
    ),
    max_size=12,
)


@FIXED
@given(steps=STEPS)
def test_the_counts_are_true_after_any_sequence(
    conn: Connection, folder: FolderState, steps: list[tuple[str, set[int], tuple[str, ...] | None]]
) -> None:
    conn.execute("delete from messages")
    conn.execute("update folders set live_count = 0, live_unseen = 0")
    live: dict[int, tuple[str, ...]] = {}
    known: dict[int, tuple[str, ...]] = {}
    for step, uids, flags in steps:
        batch = [message(uid, flags=flags) for uid in uids]
        if step in ("store", "send"):
            if step == "store":
                new = store(conn, folder, *batch, announce=True)
            else:
                new = messages.SentBatch(conn, folder, batch, lambda: None, announce=True).wait()
            assert new == len(uids - set(known))
            live |= {uid: known.get(uid, ()) if flags is None else flags for uid in uids}
        elif step == "flag":
            changed = {uid for uid in uids & set(live) if flags is not None and live[uid] != flags}
            assert flag(conn, folder, dict.fromkeys(uids, flags)) == len(changed)
            live |= dict.fromkeys(changed, flags or ())
        elif step == "delete":
            assert messages.tombstone(conn, folder, UidSet.of(uids), "expunged") == len(uids & set(live))
            live = {uid: kept for uid, kept in live.items() if uid not in uids}
        elif step == "reconcile":
            missing, gone = messages.compare_uids(conn, folder, UidSet.of(uids), 1, 12)
            assert (set(missing), set(gone)) == (uids - set(live), set(live) - uids)
            messages.tombstone(conn, folder, gone, "expunged")
            store(conn, folder, *[message(uid, flags=flags) for uid in missing])
            live = {uid: live.get(uid, known.get(uid, ()) if flags is None else flags) for uid in uids}
        elif step == "refused":
            with pytest.raises(RowsRefused):
                store(conn, folder, *batch, message(13, subject="\0"))
        else:
            assert messages.tombstone_chunk(conn, folder, "untracked") == len(live)
            live = {}
        known |= live
        assert_counts_are_true(conn, folder)
        states = messages.select_states(conn, folder, 1, 99)
        assert {state.uid: state.flags for state, _ in states} == live


# -- a batch that is on its way -----------------------------------------------------------------------------


def test_rows_and_cursor_commit_together_or_not_at_all(conn: Connection, folder: FolderState) -> None:
    def move(oldest: int) -> None:
        folders.advance_initial(conn, folder, oldest)

    sent = messages.SentBatch(conn, folder, [message(5)], lambda: move(5), announce=False)
    assert sent.wait() == 1
    with pytest.raises(RowsRefused):
        messages.SentBatch(conn, folder, [message(4, subject="\0")], lambda: move(4), announce=False).wait()
    (now,) = folders.load(conn, folder.account_id, folder.id)
    assert now.initial_oldest_uid == 5
    empty = messages.SentBatch(conn, folder, [], lambda: move(1), announce=False)
    assert empty.wait() == 0
    assert folders.load(conn, folder.account_id, folder.id)[0].initial_oldest_uid == 1


@pytest.mark.parametrize("seconds", [0.0, 0.05], ids=["before", "while"])
def test_a_refusal_that_comes_while_the_cursor_is_sent_leaves_the_connection_in_step(
    conn: Connection, folder: FolderState, seconds: float
) -> None:
    def move() -> None:
        time.sleep(seconds)
        folders.advance_initial(conn, folder, 5)
        time.sleep(seconds)

    bad = message(5, attachments=(ATTACHMENT, ATTACHMENT))
    for _ in range(5):
        with pytest.raises(RowsRefused):
            messages.SentBatch(conn, folder, [bad], move, announce=False).wait()
        assert conn.execute("select count(*) from messages").fetchone() == (0,)
    assert store(conn, folder, message(5)) == 1


def test_a_backend_that_dies_under_a_batch_stores_nothing_of_it(
    conn: Connection, folder: FolderState, database: psycopg.Connection
) -> None:
    store(conn, folder, message(1))
    database.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
    with pytest.raises(DatabaseUnavailable):
        messages.SentBatch(conn, folder, [message(2)], lambda: None, announce=False).wait()
    assert database.execute("select uid from messages").fetchall() == [(1,)]


# -- attempts -----------------------------------------------------------------------------------------------


def test_attempts_are_counted_before_and_forgotten_after(conn: Connection, folder: FolderState) -> None:
    assert [messages.note_attempt(conn, folder, UidSet([(1, 9)])) for _ in range(3)] == [1, 2, 3]
    messages.note_attempt(conn, folder, UidSet([(5, 5)]))
    assert sorted(messages.open_attempts(conn, folder)) == [(1, 9, 3), (5, 5, 1)]
    messages.forget_attempts(conn, folder, 2, 8)
    assert messages.open_attempts(conn, folder) == [(1, 9, 3)]
    messages.forget_attempts(conn, folder, 1, 9)
    assert messages.open_attempts(conn, folder) == []


def test_attempts_at_batches_are_cleared_and_those_at_one_message_stay(
    conn: Connection, folder: FolderState
) -> None:
    for uids in ([(1, 9)], [(10, 19)], [(5, 5)]):
        messages.note_attempt(conn, folder, UidSet(uids))
    messages.forget_batches(conn, folder, UidSet([(1, 9)]))
    assert sorted(messages.open_attempts(conn, folder)) == [(5, 5, 1), (10, 19, 1)]
