"""A statement that takes or waits too long costs its account one turn and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from mailsync.engine.retention import Retention
from mailsync.engine.turn import Turn
from mailsync.errors import DatabaseSlow, MailsyncError, RowsLocked, Stopped
from mailsync.store import accounts, db
from mailsync.store.locks import account_lock
from mailsync.store.statements import run
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters

Database = psycopg.Connection[Any]


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer) -> Iterator[Mirror]:
    """A mirrored mailbox with three messages; statements may take one second."""
    user = scripted.new_user()
    letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.conn.execute("set statement_timeout = '1s'")
        yield mirror


def slow(database: Database, table: str, event: str = "insert or update") -> None:
    """Make each statement that writes to `table` take a minute."""
    database.execute(
        "create function slow() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(60); return coalesce(new, old); end'"
    )
    database.execute(
        f"create trigger slow before {event} on {table} for each statement execute function slow()".encode()
    )


def is_held(database: Database) -> bool:
    row = database.execute("select count(*) from account_locks").fetchone()
    return row != (0,)


def backend(mirror: Mirror) -> Any:
    return mirror.value("select pg_backend_pid()")


@pytest.mark.parametrize(
    ("table", "event", "named"),
    [
        ("messages", "insert", "upsert_messages"),
        ("attachments", "insert or delete", "upsert_messages"),
        ("fetch_attempts", "insert or update", "note_attempt"),
    ],
)
def test_what_takes_too_long_ends_the_turn_and_keeps_lock_and_connection(
    table: str, event: str, named: str, mirror: Mirror, scripted: ScriptedServer, database: Database
) -> None:
    before = backend(mirror)
    slow(database, table, event)
    add(mirror, scripted, 40)

    ended = mirror.hot()

    assert isinstance(ended, DatabaseSlow), ended
    assert not isinstance(ended, RowsLocked)
    assert named in str(ended) and "pg_stat_activity" in str(ended)
    assert "\n" not in str(ended)
    assert mirror.state == ("degraded", "database_slow")
    assert mirror.value("select sync_state_message from accounts") == str(ended)
    assert mirror.value("select backoff_until > now() from accounts")
    assert mirror.value("select error_code from sync_runs order by id desc limit 1") == "database_slow"
    assert mirror.value("select count(*) from messages") == 3
    assert backend(mirror) == before
    assert not is_held(database)
    assert mirror.conn.pgconn.pipeline_status == 0

    database.execute("drop function slow cascade")
    assert isinstance(mirror.hot(), Turn)
    assert len(mirror.rows()) == 43
    assert mirror.rows().keys() == {*range(1, 44)}
    assert not any(mirror.rows().values())
    assert mirror.value("select consecutive_failures from accounts") == 0


def test_a_row_that_a_person_keeps_locked_costs_its_account_the_turn(
    mirror: Mirror, scripted: ScriptedServer, database: Database, database_url: str
) -> None:
    mirror.conn.execute("set lock_timeout = '300ms'")
    before = backend(mirror)
    add(mirror, scripted, 2)
    with psycopg.connect(database_url) as person:
        person.execute("select from mailsync.folders for update")
        ended = mirror.hot()
        assert isinstance(ended, RowsLocked), ended
        assert "idle in transaction" in str(ended)
        assert mirror.state == ("degraded", "database_slow")
    assert backend(mirror) == before
    assert isinstance(mirror.hot(), Turn)
    assert len(mirror.rows()) == 5


def test_a_turn_whose_account_cannot_be_written_leaves_no_lock(
    mirror: Mirror, database: Database, database_url: str
) -> None:
    mirror.conn.execute("set lock_timeout = '300ms'")
    before = backend(mirror)
    with psycopg.connect(database_url) as person:
        person.execute("select from mailsync.accounts for update")
        assert isinstance(mirror.hot(), RowsLocked)
        assert not is_held(database)
    assert backend(mirror) == before
    assert isinstance(mirror.hot(), Turn)


def test_a_statement_that_is_cancelled_for_a_stop_is_no_failure_of_the_account(
    mirror: Mirror, scripted: ScriptedServer, database: Database
) -> None:
    slow(database, "messages")
    add(mirror, scripted, 2)

    def stop() -> None:
        asleep = (
            "select true from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
        )
        wait_until(lambda: database.execute(asleep).fetchone(), "a statement that takes long")
        mirror.env.stop.set()

    with mirror.conn.cursor() as cursor:
        cursor.execute("set statement_timeout = '5s'")
    thread = threading.Thread(target=stop)
    thread.start()
    ended = mirror.hot()
    thread.join()
    assert isinstance(ended, Stopped), ended
    assert mirror.state[0] == "healthy"
    assert mirror.value("select error_code from sync_runs order by id desc limit 1") is None


def test_a_process_may_queue_for_the_lock_longer_than_a_statement_may_take(
    mirror: Mirror, database_url: str
) -> None:
    other = db.connect(mirror.settings, "test")
    with other, account_lock(mirror.conn, mirror.account_id, mirror.settings):
        other.execute("set statement_timeout = '200ms'")
        with (
            pytest.raises(MailsyncError) as caught,
            account_lock(other, mirror.account_id, mirror.settings, wait=1.0),
        ):
            pass
        assert caught.value.code == "busy"
        assert other.execute("show lock_timeout").fetchone() == ("10s",)


def test_retention_that_takes_too_long_is_tried_again_later_and_delays_no_turn(
    mirror: Mirror, database: Database
) -> None:
    mirror.conn.execute("update upkeep set next_at = now()")
    slow(database, "sync_runs", "delete")
    work = Retention()
    steps = 0
    while work.step(mirror.env):
        steps += 1
    assert steps < 10
    assert not work.step(mirror.env), "not again right now"
    assert isinstance(mirror.hot(), Turn)


def test_each_error_names_its_statement(mirror: Mirror, database: Database) -> None:
    slow(database, "accounts")
    with pytest.raises(DatabaseSlow, match=r"Postgres cancelled pause_account \("):
        accounts.pause(mirror.conn, mirror.account_id, None)
    assert run(mirror.conn, "database_now").fetchone()


def add(mirror: Mirror, scripted: ScriptedServer, count: int) -> None:
    """Add messages to the inbox of the mirror's user."""
    letters(scripted.accounts[str(mirror.value("select username from accounts"))], count)
