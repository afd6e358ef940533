"""The worker collects statistics itself; autovacuum is off in these tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mailsync.engine import statistics as engine_statistics
from mailsync.engine.retention import Retention
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.statistics import Statistics
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.model import FolderState
from mailsync.store import db, folders, statistics
from tests.support.statements import counted
from tests.support.stored import message, new_account, new_folder, settings_for, store

Database = psycopg.Connection[Any]


@pytest.fixture
def env(database_url: str) -> Iterator[TurnEnvironment]:
    settings = settings_for(database_url)
    with db.connect(settings, "worker") as conn:
        yield TurnEnvironment(conn, settings, "test", SessionCache(settings))


def write(env: TurnEnvironment, rows: int, *, first: int = 1) -> None:
    """Write messages, beginning with UID `first`."""
    conn = env.conn
    found = conn.execute("select id from folders").fetchone()
    if found is None:
        new_folder(conn, new_account(conn, env.settings))
    folder = engine_folder(conn)
    for start in range(first, first + rows, 1000):
        store(conn, folder, *[message(uid) for uid in range(start, min(start + 1000, first + rows))])
    env.counters.add("mailsync_messages_total", rows, op="new")
    # a session's writes are counted within a second, or on request
    conn.execute("select pg_stat_force_next_flush()")


def engine_folder(conn: db.Connection) -> FolderState:
    row = conn.execute("select account_id from folders").fetchone()
    assert row
    return folders.load(conn, row[0])[0]


def estimated(conn: Database | db.Connection, table: str = "messages") -> float:
    row = conn.execute("select reltuples from pg_class where oid = %s::regclass", [table]).fetchone()
    assert row
    return float(row[0])


def to_the_end(work: Statistics, env: TurnEnvironment) -> int:
    steps = 0
    while work.step(env):
        steps += 1
    return steps


def test_the_names_are_those_of_all_tables(env: TurnEnvironment) -> None:
    tables = env.conn.execute("select tablename from pg_tables where schemaname = current_schema()")
    assert {row[0] for row in tables} - {"schema_migrations"} == set(statistics.TABLES)


def test_what_was_written_is_analysed_and_little_is_not(env: TurnEnvironment) -> None:
    work, conn = Statistics(), env.conn
    write(env, 400)
    assert to_the_end(work, env) == 0
    assert estimated(conn) == -1
    write(env, 200, first=401)
    assert to_the_end(work, env) > 0
    assert estimated(conn) == 600
    # small tables get statistics too
    assert estimated(conn, "folders") == 1
    assert estimated(conn, "accounts") == 1


def test_a_table_is_not_analysed_twice_in_a_minute_nor_looked_at(
    env: TurnEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, conn = Statistics(), env.conn
    write(env, 600)
    to_the_end(work, env)
    write(env, 1000, first=1001)
    with counted(conn) as executed:
        assert to_the_end(work, env) == 0
    assert executed == []
    monkeypatch.setattr(engine_statistics, "_LOOK_EVERY", 0.0)
    assert to_the_end(work, env) == 0
    assert estimated(conn) == 600
    assert statistics.stale(conn) == []
    # another worker or autovacuum may have analysed the table: its own time counts
    conn.execute("select pg_stat_reset_single_table_counters('messages'::regclass)")
    write(env, 1000, first=3001)
    assert statistics.stale(conn) == [("messages", True)]
    assert to_the_end(work, env) == 1
    assert estimated(conn) == 2600


def test_a_tenth_of_a_table_is_enough_and_less_is_not(env: TurnEnvironment) -> None:
    conn = env.conn
    write(env, 2000)
    to_the_end(Statistics(), env)
    # forget that it was done, since a table is not analysed twice within a minute
    conn.execute("select pg_stat_reset_single_table_counters('messages'::regclass)")
    write(env, 190, first=2001)
    assert statistics.stale(conn) == []
    write(env, 20, first=3001)
    assert statistics.stale(conn) == [("messages", True)]


def test_fifty_thousand_rows_are_enough_whatever_the_table_holds(env: TurnEnvironment) -> None:
    conn = env.conn
    conn.execute("update pg_class set reltuples = 10000000 where oid = 'messages'::regclass")
    write(env, 600)
    assert ("messages", True) not in statistics.stale(conn)
    conn.execute(
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
        " select account_id, id, uidvalidity, 10000 + n, now() from folders, generate_series(1, 49500) n"
    )
    conn.execute("select pg_stat_force_next_flush()")
    assert ("messages", True) in statistics.stale(conn)


def test_a_table_that_is_locked_is_skipped_at_once(env: TurnEnvironment, database_url: str) -> None:
    write(env, 600)
    with psycopg.connect(database_url) as person:
        person.execute("lock table mailsync.messages in share update exclusive mode")
        assert to_the_end(Statistics(), env) > 0
        assert estimated(env.conn) == -1
        assert estimated(env.conn, "folders") == 1
    assert env.conn.info.transaction_status == 0


def test_who_does_not_own_the_tables_leaves_them_alone(
    env: TurnEnvironment, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    write(env, 600)
    role = f"reader_{database.info.dbname}"
    database.execute(f"create role {role}".encode())
    try:
        database.execute(f"grant usage on schema mailsync to {role}".encode())
        env.conn.execute(f"set role {role}".encode())
        caplog.set_level("DEBUG")
        work = Statistics()
        assert to_the_end(work, env) == 0
        work.look_soon()
        assert to_the_end(work, env) == 0
        said = [r for r in caplog.records if "Not the owner" in r.message and vars(r)["table"] == "messages"]
        assert len(said) == 1
        assert not [r for r in caplog.records if r.levelname == "WARNING"]
    finally:
        env.conn.execute("reset role")
        database.execute(f"revoke all on schema mailsync from {role}; drop role {role}".encode())


def test_after_the_hourly_round_all_are_looked_at(env: TurnEnvironment) -> None:
    new_folder(env.conn, new_account(env.conn, env.settings))
    env.conn.execute("update upkeep set next_at = now() - interval '1 second'")
    work = Retention()
    while work.step(env):
        pass
    assert estimated(env.conn, "folders") == 1
