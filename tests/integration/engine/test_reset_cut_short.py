"""A UIDVALIDITY reset that is interrupted continues in the next turn and loses no row id."""

from __future__ import annotations

from itertools import count

import psycopg
import pytest

from mailsync.errors import DatabaseUnavailable, LockLost, TurnOver
from mailsync.store import db
from tests.support.reappearing import assert_true, ids
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters


def crowd(mirror: Mirror, number: int) -> None:
    """Add live rows above those of the messages, so that they are more than one chunk."""
    mirror.conn.execute(
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, flags)"
        " select account_id, id, uidvalidity, n, now(), '{\\\\Seen}'"
        " from folders, generate_series(1001, %s) n where path = 'INBOX'",
        [1000 + number],
    )
    mirror.conn.execute("update folders set live_count = live_count + %s where path = 'INBOX'", [number])


def test_a_reset_that_outlasts_its_turn_goes_on_in_the_next(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        before = list(ids(mirror.conn, mirror.folder()).values())
        crowd(mirror, 10_000)
        inbox.renumber(5)
        mirror.configure(hot_turn_max=0, backfill_turn_max=0)
        live = "select count(*) from messages where deleted_at is null"
        assert isinstance(mirror.hot(), TurnOver)
        assert (mirror.value(live), mirror.folder().live_count) == (5_003, 5_003)
        assert isinstance(mirror.fill(), TurnOver)
        assert (mirror.value(live), mirror.folder().live_count) == (3, 3)

        mirror.configure(hot_turn_max=300, backfill_turn_max=300)
        mirror.complete()
        assert list(ids(mirror.conn, mirror.folder()).values()) == before
        assert_true(mirror)


@pytest.mark.long
def test_a_backend_that_dies_anywhere_in_a_reset_costs_no_id(
    database_url: str, scripted: ScriptedServer, database: psycopg.Connection
) -> None:
    """Interrupt one reset after another, each at a later heartbeat or batch, until one completes."""
    user = scripted.new_user()
    inbox = letters(user, 9)
    with Mirror(database_url, scripted, user, fetch_batch=2, uidvalidity_max_resets=100) as mirror:
        mirror.complete()
        before = list(ids(mirror.conn, mirror.folder()).values())
        for cut_at in range(1, 100):
            crowd(mirror, 5_001)
            inbox.renumber(cut_at)
            signs = count(1)

            def cut(*_: object) -> None:
                if next(signs) == cut_at:  # noqa: B023
                    database.execute("select pg_terminate_backend(%s, 5000)", [mirror.conn.info.backend_pid])

            mirror.env.on_alive = mirror.env.on_progress = cut
            ended = [mirror.hot(), mirror.fill()]
            was_cut = any(isinstance(end, DatabaseUnavailable | LockLost) for end in ended)
            mirror.env.on_alive = mirror.env.on_progress = lambda *_: None
            mirror.conn.close()
            mirror.conn = mirror.env.conn = db.connect(mirror.settings, "test")
            # a crash loses the commands that were reserved
            mirror.conn.execute("update accounts set throttle_tokens = null")
            mirror.complete()
            assert list(ids(mirror.conn, mirror.folder()).values()) == before
            assert mirror.value("select count(*) from messages where deleted_at is null") == 9
            assert_true(mirror)
            if not was_cut:
                break
        assert cut_at > 5
