"""NOTIFY wakes a worker; many or long notifications take neither memory nor time."""

from __future__ import annotations

import tracemalloc

import psycopg
import pytest

from mailsync.errors import DatabaseUnavailable
from mailsync.store import db, waking
from tests.support.patience import PATIENCE, Stopwatch
from tests.support.stored import settings_for
from tests.support.wakes import wait_for_wake

_MANY = "select count(pg_notify('mailsync_wake', rpad(n::text, 7900, 'x'))) from generate_series(1, 4000) n"


def test_a_notification_wakes_once_whenever_it_came(database_url: str, database: psycopg.Connection) -> None:
    with db.connect(settings_for(database_url), "test") as conn:
        waking.listen(conn)
        assert not wait_for_wake(conn, 0)
        database.execute("notify mailsync_wake")
        conn.execute("select 1")
        watch = Stopwatch()
        assert wait_for_wake(conn, PATIENCE)
        assert not wait_for_wake(conn, 0)
        database.execute("notify mailsync_wake")
        assert wait_for_wake(conn, PATIENCE)
        assert watch.clock > 0.9, "a second after the first at the earliest"
        watch.stop()


def test_many_notifications_take_no_memory_and_wake_once_a_second(
    database_url: str, database: psycopg.Connection
) -> None:
    with db.connect(settings_for(database_url), "test") as conn:
        waking.listen(conn)
        tracemalloc.start()
        try:
            for _ in range(3):
                database.execute(_MANY)
                conn.execute("select pg_sleep(0.1)")
            assert wait_for_wake(conn, PATIENCE)
            watch, woken = Stopwatch(), 1
            for _ in range(20):
                database.execute("select pg_notify('mailsync_wake', random()::text)")
                woken += wait_for_wake(conn, 0.1)
            assert woken <= 2 + watch.clock
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            watch.stop()
    assert peak < 4_000_000


def test_a_lost_connection_is_reported(database_url: str, database: psycopg.Connection) -> None:
    with db.connect(settings_for(database_url), "test") as conn:
        waking.listen(conn)
        database.execute("select pg_terminate_backend(%s)", [conn.info.backend_pid])
        with pytest.raises(DatabaseUnavailable):
            wait_for_wake(conn, PATIENCE)
