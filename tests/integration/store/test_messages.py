"""Batches, flags, tombstones and comparisons, after each of which the stored counts are correct."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsync.errors import DatabaseUnavailable, RowsRefused
from mailsync.model import FolderState, MailboxStatus, Message, MessageState
from mailsync.store import attempts, folders, messages
from mailsync.store.db import Connection
from mailsync.store.statements import run
from mailsync.uidset import UidSet
from tests.support.patience import pause
from tests.support.stored import (
    ATTACHMENT,
    DATE,
    UIDVALIDITY,
    assert_counts_are_true,
    flag,
    message,
    new_folder,
    row,
    store,
)

FIXED = settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def events(conn: Connection) -> list[tuple[str, int | None]]:
    return conn.execute(
        "select type, (data ->> 'uid')::int from sync_events where type like 'message.%' order by seq"
    ).fetchall()


# -- batches with existing rows -----------------------------------------------------------------------------


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
    attempts.note_attempt(conn, unknown, UidSet([(2, 5)]))
    folders.adopt_uidvalidity(conn, unknown, 77)
    (known,) = folders.load(conn, unknown.account_id, unknown.id)
    assert (row(conn, 1)["id"], row(conn, 1)["uidvalidity"]) == (before, 77)
    assert attempts.open_attempts(conn, known) == [(2, 5, 1)]
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
def test_the_live_uids_of_a_range_are_those_of_its_live_rows(
    conn: Connection, folder: FolderState, here: UidSet, there: UidSet, lowest: int, highest: int
) -> None:
    conn.execute("delete from messages")
    store(conn, folder, *[message(uid) for uid in here])
    live = messages.live_uids(conn, folder, lowest, highest)
    assert set(live) == set(here) & set(range(lowest, highest + 1))
    assert set(live.both(there)) == set(live) & set(there)
    assert set(live.minus(there)) == set(live) - set(there)


def test_states_come_ascending_with_what_was_not_read(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, message(3), message(1, "\\Seen", parse_errors=("size",)), message(2))
    messages.tombstone(conn, folder, UidSet([(2, 2)]), "expunged")
    assert list(messages.select_states(conn, folder, 1, 9)) == [
        (MessageState(1, 1, ("\\Seen",), DATE, 1001), frozenset({"size"})),
        (MessageState(3, 3, (), DATE, 1003), frozenset()),
    ]


# -- random sequences ---------------------------------------------------------------------------------------

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
            there, here = UidSet.of(uids), messages.live_uids(conn, folder, 1, 12)
            missing, gone = there.minus(here), here.minus(there)
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


# -- a batch that was sent ----------------------------------------------------------------------------------


def test_rows_and_cursor_commit_together_or_not_at_all(conn: Connection, folder: FolderState) -> None:
    def move(oldest: int) -> None:
        run(conn, "advance_initial", account_id=folder.account_id, folder_id=folder.id, oldest=oldest, done=1)

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
        pause(seconds, "the refusal comes before the cursor is sent, or while it is")
        run(conn, "advance_initial", account_id=folder.account_id, folder_id=folder.id, oldest=5, done=1)
        pause(seconds, "the same, after it")

    bad = message(5, attachments=(ATTACHMENT, ATTACHMENT))
    for _ in range(5):
        with pytest.raises(RowsRefused):
            messages.SentBatch(conn, folder, [bad], move, announce=False).wait()
        assert conn.execute("select count(*) from messages").fetchone() == (0,)
    assert store(conn, folder, message(5)) == 1


def test_a_fault_while_a_batch_is_sent_leaves_no_transaction_open(
    conn: Connection, folder: FolderState, database: psycopg.Connection
) -> None:
    def fault() -> None:
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError):
        messages.SentBatch(conn, folder, [message(1)], fault, announce=False)
    assert store(conn, folder, message(2)) == 1
    assert database.execute("select uid from messages").fetchall() == [(2,)]


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
    for _ in range(3):
        attempts.note_attempt(conn, folder, UidSet([(1, 9)]))
    attempts.note_attempt(conn, folder, UidSet([(5, 5)]))
    assert sorted(attempts.open_attempts(conn, folder)) == [(1, 9, 3), (5, 5, 1)]
    attempts.forget_attempts(conn, folder, 2, 8)
    assert attempts.open_attempts(conn, folder) == [(1, 9, 3)]
    attempts.forget_attempts(conn, folder, 1, 9)
    assert attempts.open_attempts(conn, folder) == []


def test_attempts_at_batches_are_cleared_and_those_at_one_message_stay(
    conn: Connection, folder: FolderState
) -> None:
    for uids in ([(1, 9)], [(10, 19)], [(5, 5)]):
        attempts.note_attempt(conn, folder, UidSet(uids))
    attempts.forget_batches(conn, folder, UidSet([(1, 9)]))
    assert sorted(attempts.open_attempts(conn, folder)) == [(5, 5, 1), (10, 19, 1)]
