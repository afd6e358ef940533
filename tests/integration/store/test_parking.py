"""Which worker listens to an account, and when others may take it (SPEC §22.6)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from mailsync.model import Verdict
from mailsync.store import accounts, turns
from mailsync.store.db import Connection
from mailsync.store.turns import Parked
from tests.support.stored import new_account, settings_for

ONE, TWO = "one:1:worker", "two:2:worker"
HEALTHY = Verdict("healthy", None, None, failures=0, successes=1, backoff_until=None, healthy_until=None)
INTERVAL, LONGEST = 60.0, 300.0


@pytest.fixture
def account(conn: Connection, database_url: str) -> int:
    return new_account(conn, settings_for(database_url))


def park(
    conn: Connection, account: int, worker: str = ONE, kind: str = "notify", tick: float | None = 300.0
) -> None:
    turns.end(conn, account, HEALTHY, tokens=5, parked=Parked(worker, kind, tick), worker=worker)


def due_in(conn: Connection, account: int, seconds: float, began: float = 0.0) -> None:
    conn.execute(
        "update accounts set next_sync_at = now() + make_interval(secs => %s),"
        " last_sync_started_at = now() - make_interval(secs => %s) where id = %s",
        [seconds, began, account],
    )


def row(conn: Connection, account: int) -> tuple[Any, ...]:
    found = conn.execute(
        "select parked_by, parked_kind, tick_seconds, parked_at is not null from accounts where id = %s",
        [account],
    ).fetchone()
    assert found
    return tuple(found)


def wait(conn: Connection, account: int) -> float:
    """The seconds until the account's next tick."""
    found = conn.execute(
        "select extract(epoch from next_sync_at - now())::float8 from accounts where id = %s", [account]
    ).fetchone()
    assert found
    return float(found[0])


def claimed(conn: Connection, worker: str) -> int | None:
    return turns.claim(conn, turns.now(conn) + timedelta(minutes=1), INTERVAL, worker, LONGEST)


NOT_PARKED = (None, None, None, False)


def test_the_end_of_a_turn_says_how_its_worker_listens(conn: Connection, account: int) -> None:
    park(conn, account)
    assert row(conn, account) == (ONE, "notify", 300.0, True)
    loaded = turns.begin(conn, account, ONE, burst=10, refill=1, floor=1)
    assert loaded
    assert (loaded.account.parked_by, loaded.account.tick_seconds) == (ONE, 300.0)
    turns.leave(conn, account, tokens=5)
    assert row(conn, account) == (ONE, "notify", 300.0, True)
    turns.end(conn, account, HEALTHY, tokens=5, worker=TWO)
    assert row(conn, account) == (ONE, "notify", 300.0, True), "another process does not speak for it"
    turns.end(conn, account, HEALTHY, tokens=5, worker=ONE)
    assert row(conn, account) == NOT_PARKED


def test_since_when_a_worker_listens_changes_with_worker_and_means(conn: Connection, account: int) -> None:
    def since() -> object:
        found = conn.execute("select parked_at from accounts where id = %s", [account]).fetchone()
        assert found
        return found[0]

    park(conn, account)
    first = since()
    park(conn, account, tick=None)
    assert since() == first
    park(conn, account, kind="idle", tick=None)
    second = since()
    assert second != first
    park(conn, account, TWO, "idle", None)
    assert since() not in (first, second)


def test_others_leave_an_account_to_its_worker_for_two_seconds(conn: Connection, account: int) -> None:
    park(conn, account)
    due_in(conn, account, -1)
    assert claimed(conn, TWO) is None
    seconds = turns.seconds_until_due(conn, LONGEST, TWO)
    assert seconds is not None and seconds <= 1
    own = turns.seconds_until_due(conn, LONGEST, ONE)
    assert own is not None and own <= -1
    assert claimed(conn, ONE) == account
    due_in(conn, account, -2.1)
    assert claimed(conn, TWO) == account


def test_a_tick_of_five_minutes_is_no_wrong_clock(conn: Connection, account: int) -> None:
    park(conn, account)
    due_in(conn, account, 300)
    assert claimed(conn, ONE) is None
    due_in(conn, account, 86_400)
    assert claimed(conn, TWO) == account, "nobody waits for a time that no tick has"


@pytest.mark.parametrize(
    ("began", "seconds", "expected"),
    [(10, None, 50), (200, None, 0), (10, 3.0, 3), (10, 900.0, 250)],
    ids=["ordinary tick", "overdue", "soon", "never later"],
)
def test_an_account_is_due_after_its_session_ended(
    conn: Connection, account: int, began: float, seconds: float | None, expected: float
) -> None:
    park(conn, account)
    due_in(conn, account, 250, began)
    turns.unpark(conn, TWO, [(account, seconds)], INTERVAL)
    assert row(conn, account)[0] == ONE, "it is not this worker's session"
    turns.unpark(conn, ONE, [(account, seconds)], INTERVAL)
    assert row(conn, account) == NOT_PARKED
    # these statements take less than half a minute
    assert expected - 30 < wait(conn, account) <= expected


def test_a_worker_learns_which_accounts_it_lost(conn: Connection, database_url: str, account: int) -> None:
    paused, taken = (new_account(conn, settings_for(database_url), f"{n}@example.com") for n in "bc")
    for each in (account, paused, taken):
        park(conn, each)
    assert turns.lost_parking(conn, ONE, [account, paused, taken]) == []
    accounts.pause(conn, paused, None)
    park(conn, taken, TWO)
    assert sorted(turns.lost_parking(conn, ONE, [account, paused, taken, 999])) == [paused, taken, 999]


def test_a_worker_that_stops_listens_to_nothing(conn: Connection, database_url: str, account: int) -> None:
    other = new_account(conn, settings_for(database_url), "b@example.com")
    park(conn, account)
    park(conn, other, TWO)
    for each in (account, other):
        due_in(conn, each, 300, 10)
    turns.release_parked(conn, ONE, INTERVAL)
    assert (row(conn, account), row(conn, other)[0]) == (NOT_PARKED, TWO)
    assert wait(conn, account) <= 50 < 100 < wait(conn, other)


def test_accounts_of_dead_workers_return_to_their_ordinary_tick(
    conn: Connection, database_url: str, account: int
) -> None:
    dead, unknown = (new_account(conn, settings_for(database_url), f"{n}@example.com") for n in "bc")
    for name, age in ((ONE, 0), (TWO, 61)):
        conn.execute(
            "insert into workers (worker, version, heartbeat_at)"
            " values (%s, '1', now() - make_interval(secs => %s))",
            [name, age],
        )
    for each, worker in ((account, ONE), (dead, TWO), (unknown, "three:3:worker")):
        park(conn, each, worker)
        due_in(conn, each, 300, 10)
    turns.release_abandoned(conn, INTERVAL, 60)
    assert [row(conn, each)[0] for each in (account, dead, unknown)] == [ONE, None, None]
    assert max(wait(conn, dead), wait(conn, unknown)) <= 50 < wait(conn, account)


@pytest.mark.parametrize("resync", [False, True])
def test_a_reset_ends_the_listening(conn: Connection, account: int, resync: bool) -> None:
    park(conn, account)
    accounts.reset(conn, account, resync=resync)
    assert row(conn, account) == NOT_PARKED
