"""Accounts are added, paused, reset and removed, and ``account_status`` shows it (SPEC §5, §12)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from mailsync.config import Settings
from mailsync.errors import Conflict, LimitReached, NotFound
from mailsync.model import Verdict
from mailsync.store import accounts, attempts, credentials, db, folders, messages, turns, waking
from mailsync.store.accounts import AccountStatus
from mailsync.store.db import Connection
from mailsync.store.locks import account_lock
from mailsync.store.statements import run
from tests.support.run_directory import PATIENCE
from tests.support.stored import ATTACHMENT, message, new_account, new_folder, settings_for
from tests.support.wakes import wait_for_wake


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url, sync_max_accounts=3)


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection]:
    with db.connect(settings, "cli") as conn:
        yield conn


def status(conn: Connection, account: int) -> AccountStatus:
    (row,) = accounts.statuses(conn, account)
    return row


def events(conn: Connection) -> list[tuple[str, dict[str, Any]]]:
    return conn.execute(
        "select type, data from sync_events where type like 'account.%' order by seq"
    ).fetchall()


def changes(conn: Connection) -> list[tuple[str, str]]:
    return [(d["old"], d["new"]) for type_, d in events(conn) if type_ == "account.state_changed"]


def healthy(now: datetime, **changes: Any) -> Verdict:
    until = now + timedelta(minutes=3)
    verdict = Verdict("healthy", None, None, 0, 1, None, until, None, now, now, now)
    return replace(verdict, **changes)


# -- added ---------------------------------------------------------------------------------------------------


def test_a_new_account_is_due_at_once_and_announced(conn: Connection, settings: Settings) -> None:
    waking.listen(conn)
    account = new_account(conn, settings)
    assert wait_for_wake(conn, 5)
    assert turns.claim(conn, turns.now(conn), 60) == account
    assert events(conn) == [("account.created", {"email": "a@example.com"})]
    row = status(conn, account)
    assert (row.sync_state, row.currently_syncing, row.messages) == ("initial_sync", False, 0)
    assert row.priority_sync_lag_seconds is None


def test_an_address_exists_once(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    with pytest.raises(Conflict, match=r"a@example\.com already exists"):
        new_account(conn, settings)
    with pytest.raises(Conflict):
        accounts.refuse_existing(conn, "a@example.com")
    accounts.refuse_existing(conn, "b@example.com")
    assert len(events(conn)) == 1
    assert accounts.find(conn, " A@Example.com ") == account


def test_an_unknown_account_is_not_found(conn: Connection) -> None:
    with pytest.raises(NotFound, match="list-accounts"):
        accounts.find(conn, "nobody@example.com")
    assert accounts.statuses(conn) == []
    assert turns.begin(conn, 7, "x", burst=50.0, refill=2.5, floor=10.0) is None


def test_the_limit_holds_and_a_removed_account_makes_room(conn: Connection, settings: Settings) -> None:
    made = [new_account(conn, settings, f"{n}@example.com") for n in range(3)]
    with pytest.raises(LimitReached, match="SYNC_MAX_ACCOUNTS is 3"):
        new_account(conn, settings, "one-more@example.com")
    assert accounts.check_limit(conn, settings) == 3
    accounts.delete(conn, made[0])
    new_account(conn, settings, "one-more@example.com")


def test_the_limit_holds_for_simultaneous_requests(conn: Connection, settings: Settings) -> None:
    outcomes: list[object] = []
    start = threading.Barrier(8)

    def create(n: int) -> None:
        with db.connect(settings, "cli") as own:
            start.wait(PATIENCE)
            try:
                outcomes.append(new_account(own, settings, f"{n}@example.com"))
            except LimitReached as error:
                outcomes.append(error)

    threads = [threading.Thread(target=create, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, LimitReached) for outcome in outcomes) == 5
    assert len(accounts.statuses(conn)) == 3


def test_simultaneous_requests_for_an_address_add_one_account(conn: Connection, settings: Settings) -> None:
    outcomes: list[object] = []
    start = threading.Barrier(4)

    def create() -> None:
        with db.connect(settings, "cli") as own:
            start.wait(PATIENCE)
            try:
                outcomes.append(new_account(own, settings))
            except Conflict as error:
                outcomes.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 3 + ["int"]


# -- paused, resumed, reset ---------------------------------------------------------------------------------


def test_a_paused_account_is_not_synced_and_shows_its_reason(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    accounts.pause(conn, account, "holidays")
    accounts.pause(conn, account, "long holidays")
    row = status(conn, account)
    assert (row.sync_state, row.sync_state_reason) == ("paused", "long holidays")
    assert turns.claim(conn, turns.now(conn), 60) is None
    assert turns.seconds_until_due(conn) is None
    assert turns.accounts_to_backfill(conn) == []
    accounts.resume(conn, account)
    accounts.resume(conn, account)
    assert status(conn, account).sync_state == "initial_sync"
    assert turns.claim(conn, turns.now(conn), 60) == account
    assert changes(conn) == [("initial_sync", "paused"), ("paused", "initial_sync")]


def test_a_turn_does_not_end_a_pause(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    accounts.pause(conn, account, None)
    turns.end(conn, account, healthy(turns.now(conn)), tokens=9)
    assert status(conn, account).sync_state == "paused"
    accounts.resume(conn, account)
    assert status(conn, account).sync_state == "healthy"


@pytest.mark.parametrize(
    ("reason", "held_back"), [("unreachable", False), ("throttled", False), ("auth_failed", True)]
)
def test_a_person_clears_a_backoff_but_not_that_of_a_rejected_password(
    conn: Connection, settings: Settings, reason: str, held_back: bool
) -> None:
    account = new_account(conn, settings)
    later = turns.now(conn) + timedelta(minutes=5)
    verdict = Verdict("degraded", reason, "no", 1, 0, later, None)
    for act in (accounts.make_due, accounts.resume):
        turns.end(conn, account, verdict, tokens=9)
        assert turns.claim(conn, turns.now(conn), 60) is None
        act(conn, account)
        assert turns.claim(conn, turns.now(conn), 60) == (None if held_back else account)


def test_a_reset_starts_over_and_is_announced(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    folder = new_folder(conn, account)
    run(conn, "advance_new", account_id=account, folder_id=folder.id, last_uid=99)
    turns.begin(conn, account, "dead:1:worker", burst=50.0, refill=2.5, floor=10.0)
    turns.end(conn, account, Verdict("broken", "auth_failed", "no", 3, 0, None, None), tokens=9)
    accounts.reset(conn, account, resync=False)
    row = status(conn, account)
    assert (row.sync_state, row.consecutive_failures, row.sync_started_by) == ("initial_sync", 0, None)
    assert turns.claim(conn, turns.now(conn), 60) == account
    assert folders.load(conn, account)[0].last_uid == 99
    accounts.reset(conn, account, resync=True)
    again = folders.load(conn, account)[0]
    assert (again.status, again.last_uid, again.uidvalidity) == ("pending", 0, folder.uidvalidity)
    assert changes(conn) == [("initial_sync", "broken"), ("broken", "initial_sync")]


@pytest.mark.parametrize(
    ("reason", "claimed"), [("stuck", True), ("auth_failed", False), ("uidvalidity_reset_limit", False)]
)
def test_a_broken_account_waits_for_a_person_and_a_stuck_one_is_tried_for_a_week(
    conn: Connection, settings: Settings, reason: str, claimed: bool
) -> None:
    account = new_account(conn, settings)
    turns.end(conn, account, Verdict("broken", reason, "no", 9, 0, None, None), tokens=9)
    assert turns.claim(conn, turns.now(conn), 60) == (account if claimed else None)
    conn.execute("update accounts set sync_state_since = now() - interval '7 days', next_sync_at = now()")
    assert turns.claim(conn, turns.now(conn), 60) is None


def test_a_new_password_clears_rejections(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    turns.end(conn, account, Verdict("broken", "auth_failed", "no", 3, 0, None, None), tokens=9)
    (sealed,) = credentials.load(conn, account)
    accounts.change_credential(conn, account, sealed.endpoint, "better", settings.encryption_keys())
    loaded = turns.begin(conn, account, "x", burst=50.0, refill=2.5, floor=10.0)
    assert loaded is not None
    assert loaded.sealed.open(settings.encryption_keys(), account, loaded.account.endpoint) == "better"
    assert (loaded.account.sync_state, loaded.account.consecutive_failures) == ("initial_sync", 0)
    assert changes(conn) == [("initial_sync", "broken"), ("broken", "initial_sync")]


# -- removed ------------------------------------------------------------------------------------------------


def test_removal_hides_at_once_and_deletes_in_chunks(conn: Connection, settings: Settings) -> None:
    account, other = new_account(conn, settings), new_account(conn, settings, "b@example.com")
    for account_id in (account, other):
        folder = new_folder(conn, account_id)
        with db.transaction(conn):
            batch = [message(uid, attachments=(ATTACHMENT,)) for uid in range(1, 6)]
            messages.store_batch(conn, folder, batch, announce=True)
        attempts.note_attempt(conn, folder, messages.UidSet([(9, 9)]))
        turns.start_run(conn, account_id, "cli", "x")
        pk = conn.execute("select min(id) from messages where account_id = %s", [account_id]).fetchone()
        conn.execute(
            "insert into message_bodies (account_id, message_pk) values (%s, %s)",
            [account_id, (pk or [0])[0]],
        )
    accounts.mark_deleting(conn, account)
    assert [row.account_id for row in accounts.statuses(conn)] == [other]
    with pytest.raises(NotFound):
        accounts.find(conn, "a@example.com")
    assert accounts.find_to_remove(conn, "a@example.com") == account
    assert turns.claim(conn, turns.now(conn), 60) == other
    assert turns.claim(conn, turns.now(conn), 60) is None
    with pytest.raises(Conflict):
        new_account(conn, settings)
    chunks: list[int] = []
    accounts.delete(conn, account, on_chunk=lambda: chunks.append(1))
    assert len(chunks) == 3
    tables = conn.execute(
        "select table_name from information_schema.columns"
        " where table_schema = 'mailsync' and column_name = 'account_id'"
        " and table_name not in ('account_status', 'account_locks', 'sync_events_settled')"
    ).fetchall()
    for (table,) in tables:
        kept = conn.execute(f"select distinct account_id from {table} order by 1").fetchall()
        assert kept == ([(account,), (other,)] if table == "sync_events" else [(other,)]), table
    assert events(conn)[-1] == ("account.deleted", {})
    assert new_account(conn, settings) != account


def test_an_interrupted_removal_can_be_continued(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    with db.transaction(conn):
        messages.store_batch(conn, new_folder(conn, account), [message(1)], announce=False)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        accounts.delete(conn, account, on_chunk=interrupt)
    assert accounts.statuses(conn) == []
    accounts.delete(conn, accounts.find_to_remove(conn, "a@example.com"))
    assert conn.execute("select count(*) from accounts").fetchone() == (0,)


# -- account_status: the passing of time --------------------------------------------------------------------


def test_health_that_is_not_renewed_becomes_stale(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    now = turns.now(conn)
    turns.end(conn, account, healthy(now), tokens=9)
    assert status(conn, account).sync_state == "healthy"
    turns.end(conn, account, healthy(now, healthy_until=now - timedelta(seconds=1)), tokens=9)
    row = status(conn, account)
    assert (row.sync_state, row.sync_state_reason) == ("degraded", "stale")
    assert row.sync_state_message == f"not compared with the server since {now:%Y-%m-%d %H:%M:%S} UTC"
    assert row.sync_state_since == now - timedelta(seconds=1)
    accounts.pause(conn, account, "x")
    assert status(conn, account).sync_state == "paused", "a pause wins"


@pytest.mark.parametrize("state", ["initial_sync", "degraded", "broken"])
def test_only_healthy_becomes_stale(conn: Connection, settings: Settings, state: str) -> None:
    account = new_account(conn, settings)
    turns.end(conn, account, Verdict(state, "why", "because", 1, 0, None, None), tokens=9)
    conn.execute("update accounts set healthy_until = now() - interval '1 day'")
    row = status(conn, account)
    assert (row.sync_state, row.sync_state_reason, row.sync_state_message) == (state, "why", "because")


def test_lags_are_computed_when_read(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    now = turns.now(conn)
    past = healthy(
        now, priority_synced_at=now - timedelta(seconds=30), overall_synced_at=now - timedelta(hours=1)
    )
    turns.end(conn, account, past, tokens=9)
    row = status(conn, account)
    assert 30 <= row.priority_sync_lag_seconds < 90
    assert 3600 <= row.overall_sync_lag_seconds < 3660


def test_currently_syncing_follows_the_lock_not_the_column(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    turns.begin(conn, account, "dead:1:worker", burst=50.0, refill=2.5, floor=10.0)
    assert not status(conn, account).currently_syncing, "the column is left over from a crash"
    with db.connect(settings, "worker") as holder, account_lock(holder, account, settings):
        assert status(conn, account).currently_syncing
    assert not status(conn, account).currently_syncing


def test_counts_cover_tracked_folders_and_remaining_messages(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    folder = new_folder(conn, account)
    with db.transaction(conn):
        messages.store_batch(conn, folder, [message(1), message(2, "\\Seen")], announce=False)
    conn.execute("update folders set server_messages = 10, initial_remaining = null")
    row = status(conn, account)
    assert (row.folders, row.folders_complete, row.messages, row.unseen) == (1, 0, 2, 1)
    assert row.backfill_remaining == 8
    conn.execute("update folders set initial_remaining = 3")
    assert status(conn, account).backfill_remaining == 3, "the result of a search is more precise"
    folders.finish_initial(conn, folder)
    row = status(conn, account)
    assert (row.folders_complete, row.backfill_remaining) == (1, 0)


def test_a_promise_from_before_the_clock_was_set_back_does_not_count(
    conn: Connection, settings: Settings
) -> None:
    account = new_account(conn, settings)
    now = turns.now(conn)
    turns.end(conn, account, healthy(now, healthy_until=now + timedelta(hours=2)), tokens=9)
    assert status(conn, account).sync_state == "healthy"
    conn.execute("update accounts set healthy_until = healthy_until + interval '6 hours'")
    row = status(conn, account)
    assert (row.sync_state, row.sync_state_reason) == ("degraded", "stale")


# -- turns --------------------------------------------------------------------------------------------------


def test_due_accounts_are_claimed_oldest_first_and_only_once(
    conn: Connection, settings: Settings, database: psycopg.Connection
) -> None:
    made = [new_account(conn, settings, f"{n}@example.com") for n in range(3)]
    database.execute("update accounts set next_sync_at = now() - id * interval '1 minute'")
    now = turns.now(conn)
    with db.connect(settings, "worker") as other:
        claimed = [turns.claim(worker, now, 60) for worker in (conn, other, conn, other)]
    assert claimed == [*reversed(made), None]
    due = turns.seconds_until_due(conn)
    assert due is not None
    assert 30 < due <= 60


def test_an_account_that_another_worker_claims_is_skipped(conn: Connection, settings: Settings) -> None:
    first, second = new_account(conn, settings), new_account(conn, settings, "b@example.com")
    with db.connect(settings, "worker") as other, db.transaction(other):
        other.execute("select from accounts where id = %s for update", [first])
        assert turns.claim(conn, turns.now(conn), 60) == second


def test_a_state_is_announced_once(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    for _ in range(3):
        turns.end(conn, account, healthy(turns.now(conn)), tokens=9)
    assert changes(conn) == [("initial_sync", "healthy")]


def test_the_next_turn_closes_the_run_of_a_dead_process(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    turns.start_run(conn, account, "schedule", "dead:1:worker")
    turns.begin(conn, account, "next:2:worker", burst=50.0, refill=2.5, floor=10.0)
    (run,) = accounts.recent_runs(conn, account)
    assert (run["status"], run["error_code"]) == ("failed", "abandoned")
    assert run["finished_at"] is not None


def test_tokens_are_reserved_and_a_crash_can_only_lose_them(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)

    def begin() -> float:
        loaded = turns.begin(conn, account, "x", burst=50.0, refill=2.0, floor=10.0)
        assert loaded is not None
        return loaded.tokens

    assert begin() == 50
    assert begin() == pytest.approx(10, abs=0.5), "the bucket does not refill while a turn holds its tokens"
    turns.leave(conn, account, tokens=30.0)
    conn.execute("update accounts set throttle_at = throttle_at - interval '5 seconds'")
    assert 40 <= begin() < 49, "two a second come back"
    turns.leave(conn, account, tokens=49.0)
    conn.execute("update accounts set throttle_at = throttle_at - interval '1 day'")
    assert begin() == 50, "and never more than the burst"
