"""The feed of events: a reader with a cursor (xid, seq) misses nothing (SPEC §3).

A transaction of any database of the server holds the feed up, another test's too, so events are waited for.
"""

from __future__ import annotations

import random
import threading
from contextlib import closing

import psycopg

from mailsync.engine.retention import Retention
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.store import db
from tests.support.run_directory import wait_until
from tests.support.stored import settings_for


class Reader:
    """A reader that does exactly what the documentation says."""

    def __init__(self, conn: psycopg.Connection, page: int = 7) -> None:
        self.conn = conn
        self.page = page
        self.cursor = ("0", 0)
        self.read: list[str] = []

    def poll(self) -> int:
        """Read a page of settled events after the cursor; returns how many there were."""
        rows = self.conn.execute(
            # by e.xid, since xid alone would be the text, in which 1000 comes before 999
            "select e.xid::text, e.seq, e.type from sync_events_settled e"
            " where (e.xid, e.seq) > (%s::xid8, %s) order by e.xid, e.seq limit %s",
            [*self.cursor, self.page],
        ).fetchall()
        if rows:
            self.cursor = rows[-1][:2]
            self.read += [row[2] for row in rows]
        return len(rows)

    def wait_for(self, count: int) -> list[str]:
        """Read until this many events have come, and no more."""
        wait_until(lambda: not self.poll() and len(self.read) >= count, f"{count} events")
        return self.read


def emit(conn: psycopg.Connection, *types: str) -> None:
    for type_ in types:
        conn.execute("insert into sync_events (account_id, type) values (1, %s)", [type_])


def test_what_commits_late_is_read_late_and_nothing_passes_it(
    database: psycopg.Connection, database_url: str
) -> None:
    settings = settings_for(database_url)
    reader = Reader(database)
    with db.connect(settings, "late") as late, db.connect(settings, "quick") as quick:
        emit(quick, "before")
        assert reader.wait_for(1) == ["before"]
        with db.transaction(late):
            emit(late, "late 1")
            emit(quick, "quick 1", "quick 2")
            assert reader.poll() == 0, "what could still be preceded is not shown"
            emit(late, "late 2")
        assert reader.wait_for(5) == ["before", "late 1", "late 2", "quick 1", "quick 2"]
        with db.transaction(late):
            # a number that is drawn first and committed last, which a reader of seq alone would miss
            row = quick.execute("select nextval(pg_get_serial_sequence('sync_events', 'seq'))").fetchone()
            emit(quick, "quick 3")
            late.execute(
                "insert into sync_events (account_id, seq, type) overriding system value"
                " values (1, %s, 'late 3')",
                row,
            )
        assert reader.wait_for(7)[5:] == ["quick 3", "late 3"]


def test_every_event_of_many_writers_is_read_once_while_old_ones_are_deleted(
    database: psycopg.Connection, database_url: str
) -> None:
    settings = settings_for(database_url)
    written: set[str] = set()

    def write(writer: int) -> None:
        chance = random.Random(writer)
        with db.connect(settings, f"writer-{writer}") as conn:
            for number in range(40):
                types = [f"{writer}.{number}.{n}" for n in range(chance.randint(1, 3))]
                with conn.transaction(force_rollback=chance.random() < 0.2) as ended:
                    for type_ in types:
                        emit(conn, type_)
                        conn.execute("select pg_sleep(%s)", [chance.random() / 200])
                if not ended.force_rollback:
                    written.update(types)

    database.execute(
        "insert into sync_events (account_id, type, occurred_at)"
        " select 1, 'old', now() - interval '100 days' from generate_series(1, 5000)"
    )
    database.execute("update upkeep set next_at = now()")
    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    reader = Reader(database)
    with closing(db.connect(settings, "worker")) as conn:
        env, retention = TurnEnvironment(conn, settings, "test", SessionCache(settings)), Retention()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            retention.step(env)
            reader.poll()
        while retention.step(env):
            pass
    wait_until(lambda: not reader.poll() and written <= set(reader.read), "all events")
    read = [type_ for type_ in reader.read if type_ != "old"]
    assert len(read) == len(set(read)) and set(read) == written
    assert database.execute("select count(*) from sync_events where type = 'old'").fetchone() == (0,)
    # a new reader finds the events that were kept, in the same order
    assert Reader(database, page=1000).wait_for(len(read)) == read
