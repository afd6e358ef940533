"""Retention: which rows go and which stay, in which chunks, once an hour and in one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from mailsync.config import Settings
from mailsync.engine import retention as engine_retention
from mailsync.engine.retention import Retention
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.model import FolderState
from mailsync.store import accounts, db, locks, messages, metrics, retention
from mailsync.uidset import UidSet
from tests.support.patience import Stopwatch
from tests.support.run_directory import PATIENCE
from tests.support.stored import (
    ATTACHMENT,
    DATE,
    assert_counts_are_true,
    message,
    new_account,
    new_folder,
    settings_for,
    store,
)

Database = psycopg.Connection[Any]


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url)


@pytest.fixture
def env(settings: Settings) -> Iterator[TurnEnvironment]:
    with db.connect(settings, "worker") as conn:
        yield TurnEnvironment(conn, settings, "test", SessionCache(settings))


def due(conn: db.Connection) -> None:
    conn.execute("update upkeep set next_at = now() - interval '1 second'")


def to_the_end(env: TurnEnvironment) -> int:
    """Do all work that is due; returns the number of chunks."""
    work, chunks = Retention(), 0
    while work.step(env):
        chunks += 1
    return chunks


def mailbox(env: TurnEnvironment, count: int = 6, **changes: Any) -> FolderState:
    """A folder with messages 1 … count, each a day older than the one before."""
    account = new_account(env.conn, env.settings, changes.pop("email", "a@example.com"))
    folder = new_folder(env.conn, account)
    store(env.conn, folder, *[message(uid, internal_date=DATE, **changes) for uid in range(1, count + 1)])
    env.conn.execute(
        "update messages set internal_date = now() - uid * interval '1 day' where folder_id = %s", [folder.id]
    )
    return folder


def values(conn: db.Connection, query: str, *params: object) -> list[Any]:
    return [row[0] for row in conn.execute(query.encode(), params)]


def test_what_is_old_goes_with_all_that_hangs_on_it_and_the_rest_stays(env: TurnEnvironment) -> None:
    conn, folder = env.conn, mailbox(env, has_attachments=True, attachments=(ATTACHMENT,))
    messages.tombstone(conn, folder, UidSet([(1, 2)]), "expunged")
    conn.execute("insert into message_bodies (account_id, message_pk) select account_id, id from messages")
    conn.execute("update messages set deleted_at = now() - interval '31 days' where uid = 1")
    conn.execute("""
        insert into sync_runs (account_id, trigger, status, worker, started_at, finished_at)
        select %s, 'schedule', status, days::text, now() - days * interval '1 day',
               case when status <> 'running' then now() - days * interval '1 day' end
        from (values (31, 'success'), (31, 'running'), (29, 'failed')) r(days, status)
    """, [folder.account_id])  # fmt: skip
    conn.execute("""
        insert into sync_events (account_id, type, occurred_at)
        select account_id, type, now() - days * interval '1 day'
        from (values (%s, 'a', 91), (%s, 'b', 89), (999, 'account.deleted', 91), (999, 'account.deleted', 3))
             e(account_id, type, days)
    """, [folder.account_id] * 2)  # fmt: skip
    due(conn)
    to_the_end(env)

    assert values(conn, "select uid from messages order by uid") == [2, 3, 4, 5, 6]
    for table in ("attachments", "message_bodies"):
        assert values(conn, f"select count(*) from {table}") == [5]
    assert values(conn, "select status from sync_runs order by id") == ["running", "failed"]
    assert values(conn, "select count(*) from sync_events where account_id = 999") == [1]
    assert values(conn, "select type from sync_events where type in ('a', 'b')") == ["b"]
    assert_counts_are_true(conn, folder)


def test_rows_that_leave_the_window_expire_and_are_counted_and_told(env: TurnEnvironment) -> None:
    conn, folder = env.conn, mailbox(env)
    conn.execute("update messages set flags = '{\\\\Seen}' where uid = 6")
    conn.execute("update folders set live_count = 6, live_unseen = 5")
    paused = mailbox(env, email="paused@example.com")
    conn.execute("update accounts set sync_window_days = 4")
    conn.execute("update accounts set paused_at = now() where id = %s", [paused.account_id])
    due(conn)
    to_the_end(env)

    gone = "select uid from messages where folder_id = %s and deleted_reason = 'expired' order by uid"
    assert values(conn, gone, folder.id) == [4, 5, 6]
    assert values(conn, gone, paused.id) == [], "the rows of a paused account stay as they are"
    assert_counts_are_true(conn, folder)
    told = (
        "select data->>'uid' from sync_events where type = 'message.deleted' and data->>'reason' = 'expired'"
    )
    assert sorted(values(conn, told)) == ["4", "5", "6"]
    assert values(conn, "select now() - mirrored_since from accounts order by id") == [
        pytest.approx(timedelta(days=4), abs=timedelta(minutes=1)),
        None,
    ]
    env.counters.store(conn)
    counted = {counter.labels.get("op"): counter.value for counter in metrics.counters(conn)}
    assert counted["expired"] == 3


def test_old_rows_get_their_known_author_once(env: TurnEnvironment) -> None:
    conn = env.conn
    folder, other = mailbox(env), mailbox(env, email="b@example.com")
    conn.execute("update messages set from_email = uid || '@x', from_emails = '{}', parse_errors = '{}'")
    conn.execute("update messages set from_emails = '{2@x,b@x}' where uid = 2")
    conn.execute("update messages set from_email = null where uid = 3")
    due(conn)
    to_the_end(env)
    for account_id in (folder.account_id, other.account_id):
        authors = values(
            conn, "select from_emails from messages where account_id = %s order by uid", account_id
        )
        assert authors == [["1@x"], ["2@x", "b@x"], [], ["4@x"], ["5@x"], ["6@x"]]
    assert values(conn, "select authors_missing_through from accounts") == [None, None]
    assert retention.accounts_to_tidy(conn, 30) == []


def test_large_changes_go_in_chunks_that_grow_to_5000_rows(
    env: TurnEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_retention, "_AIM", 60.0)
    conn, folder = env.conn, mailbox(env, count=1)
    conn.execute(
        "insert into messages"
        " (account_id, folder_id, uidvalidity, uid, internal_date, deleted_at, deleted_reason)"
        " select %s, %s, 9, n, now(), now() - interval '40 days', 'expunged'"
        " from generate_series(1, 12001) n",
        [folder.account_id, folder.id],
    )
    sizes = []
    run = retention.purge_tombstones

    def noted(*args: Any) -> int:
        sizes.append(run(*args))
        return sizes[-1]

    monkeypatch.setattr(retention, "purge_tombstones", noted)
    due(conn)
    to_the_end(env)
    assert sizes[0] == 1000 and max(sizes) == 5000 and sum(sizes) == 12001


def test_it_is_done_once_an_hour_however_often_workers_start(env: TurnEnvironment) -> None:
    conn = env.conn
    assert to_the_end(env) == 0, "not at each start"
    conn.execute("update upkeep set next_at = now() + interval '10 minutes'")
    assert to_the_end(env) == 0
    # the round becomes due even if the worker restarts every 50 minutes
    due(conn)
    assert to_the_end(env) > 0
    (left,) = values(conn, "select next_at - now() from upkeep")
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert to_the_end(env) == 0
    conn.execute("update upkeep set next_at = now() + interval '1 day'")
    assert to_the_end(env) > 0, "as after a clock that was wrong"


def test_one_process_at_a_time_and_another_goes_on_when_it_dies(
    env: TurnEnvironment, settings: Settings
) -> None:
    due(env.conn)
    first = Retention()
    assert first.step(env)
    with db.connect(settings, "worker") as conn:
        other = TurnEnvironment(conn, settings, "other", SessionCache(settings))
        assert not Retention().step(other)
        env.conn.close()
        work = Retention()
        while not work.step(other):
            work.look_soon()
        while work.step(other):
            pass
        assert values(conn, "select next_at > now() from upkeep") == [True]


def test_the_accounts_lock_is_only_tried(env: TurnEnvironment, settings: Settings) -> None:
    conn, folder = env.conn, mailbox(env)
    conn.execute("update accounts set sync_window_days = 4")
    due(conn)
    with db.connect(settings, "worker") as other, locks.account_lock(other, folder.account_id, settings):
        to_the_end(env)
    assert values(conn, "select count(*) from messages where deleted_at is not null") == [0]
    due(conn)
    to_the_end(env)
    assert values(conn, "select count(*) from messages where deleted_at is not null") == [3]


def test_a_removal_that_was_begun_is_finished_at_once_and_its_last_event_stays(env: TurnEnvironment) -> None:
    conn, folder = env.conn, mailbox(env)
    accounts.mark_deleting(conn, folder.account_id)
    accounts.delete_chunk(conn, folder.account_id, limit=2)
    to_the_end(env)
    for table in ("accounts", "account_credentials", "folders", "messages", "sync_runs"):
        assert values(conn, f"select count(*) from {table}") == [0], table
    assert values(conn, "select type from sync_events") == ["account.deleted"]
    assert values(conn, "select next_at > now() from upkeep") == [True], "that was not the hourly round"


def test_rows_that_somebody_holds_are_not_waited_for_and_cost_only_their_account(
    env: TurnEnvironment, caplog: pytest.LogCaptureFixture, settings: Settings
) -> None:
    conn, held, free = env.conn, mailbox(env), mailbox(env, email="b@example.com")
    conn.execute("update accounts set sync_window_days = 4")
    due(conn)
    with db.connect(settings, "somebody") as other, db.transaction(other):
        other.execute("select from folders where id = %s for update", [held.id])
        began = Stopwatch()
        to_the_end(env)
        assert began.clock > 0.9
        assert began.stop() < 9, "the usual lock_timeout is 10 s"
    assert "Retention failed" in caplog.text
    gone = "select folder_id from messages where deleted_at is not null group by folder_id order by 1"
    assert values(conn, gone) == [free.id]
    assert values(conn, "select count(*) from account_locks") == [0]
    assert values(conn, "select current_setting('lock_timeout')") == ["10s"]
    due(conn)
    to_the_end(env)
    assert values(conn, gone) == [held.id, free.id]


def test_what_is_old_is_found_by_an_index(env: TurnEnvironment, database: Database) -> None:
    conn, folder = env.conn, mailbox(env, count=1)
    conn.execute(
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
        " select %s, %s, 9, n, now() - n * interval '1 minute' from generate_series(1, 20000) n",
        [folder.account_id, folder.id],
    )
    conn.execute("analyze messages")
    for name, index, given in (
        ("purge_tombstones", "messages_deleted", {"days": 30}),
        ("expire_rows", "messages_newest", {}),
    ):
        plan = _plan(database, name, account_id=folder.account_id, limit=1000, **given)
        assert f"using {index}" in plan, plan
    plan = _plan(database, "accounts_to_tidy", days=30)
    assert "using messages_deleted" in plan and "Seq Scan on messages" not in plan, plan


def _plan(database: Database, name: str, **params: object) -> str:
    from tests.integration.store.test_statements import text_of

    rows = database.execute(b"explain (costs off) " + text_of(name).encode(), params).fetchall()
    return "\n".join(line for (line,) in rows)


def test_counters_of_several_processes_add_up(env: TurnEnvironment, settings: Settings) -> None:
    def count(names: list[str]) -> None:
        with db.connect(settings, "worker") as conn:
            own = TurnEnvironment(conn, settings, "x", SessionCache(settings)).counters
            for _ in range(50):
                for name in names:
                    own.add("mailsync_messages_total", 2, op=name)
                own.store(conn)

    names = ["new", "deleted", "expired"]
    threads = [threading.Thread(target=count, args=(order,)) for order in (names, names[::-1], names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert values(env.conn, "select value from metric_counters") == [300.0, 300.0, 300.0]


def test_consents_are_kept_for_a_week(env: TurnEnvironment) -> None:
    env.conn.execute("""
        insert into oauth_authorizations (id, provider, oauth_client_id, state_hash, key_id, verifier,
                                          created_at, expires_at)
        select n::text, 'corp', 'client', n::text::bytea, '', '', now() - n * interval '1 day', now()
        from generate_series(1, 9) n
    """)
    due(env.conn)
    to_the_end(env)
    assert values(env.conn, "select id from oauth_authorizations order by id") == [*"123456"]
