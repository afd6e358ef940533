"""Times written by a wrong clock neither put an account to sleep nor freeze its budget (SPEC §7, §9.3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from mailsync.config import Settings
from mailsync.engine.turn import Turn
from mailsync.errors import OutOfTokens
from mailsync.model import Verdict
from mailsync.store import db, turns
from mailsync.store.db import Connection
from tests.support import mail
from tests.support.passing_time import move_all_times
from tests.support.scripted import ScriptedServer
from tests.support.stored import new_account, new_folder, settings_for
from tests.support.turns import Mirror, letters


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url)


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection]:
    with db.connect(settings, "worker") as conn:
        yield conn


@pytest.mark.parametrize(
    ("next_sync", "backoff", "interval", "due"),
    [
        ("-1 second", None, 60, True),
        ("59 seconds", None, 60, False),
        ("10 minutes", None, 1, False),
        ("11 minutes 59 seconds", None, 60, False),
        ("12 minutes 10 seconds", None, 60, True),
        ("3 hours", None, 60, True),
        ("2 hours", None, 3600, False),
        ("3 hours", None, 3600, True),
        ("-1 second", "-1 second", 60, True),
        ("-1 second", "30 seconds", 60, False),
        ("-1 second", "1 hour", 60, False),
        ("-1 second", "62 minutes", 60, True),
        ("3 hours", "3 hours", 60, True),
        ("3 hours", "30 minutes", 60, False),
        ("-6 hours", None, 60, True),
    ],
)
def test_what_is_due_far_later_than_anybody_sets_it_is_due_now(
    conn: Connection, settings: Settings, next_sync: str, backoff: str | None, interval: float, due: bool
) -> None:
    account = new_account(conn, settings)
    conn.execute(
        "update accounts set next_sync_at = now() + %s::interval, backoff_until = now() + %s::interval",
        [next_sync, backoff],
    )
    wait = turns.seconds_until_due(conn, interval)
    assert wait is not None
    assert (wait <= 0) is due
    assert turns.claim(conn, turns.now(conn), interval) == (account if due else None)
    assert turns.claim(conn, turns.now(conn), interval) is None, "its next tick is set"
    if due:
        ahead = conn.execute("select extract(epoch from next_sync_at - now()) from accounts").fetchone()
        assert ahead is not None
        assert interval - 30 < ahead[0] <= interval


def test_a_clock_that_is_set_back_during_a_pass_gives_each_account_one_turn(
    conn: Connection, settings: Settings
) -> None:
    accounts = {new_account(conn, settings, f"{name}@example.com") for name in "abc"}
    began = turns.now(conn) + timedelta(hours=3)
    claimed = [turns.claim(conn, began, 60) for _ in range(4)]
    assert set(claimed[:3]) == accounts
    assert claimed[3] is None


@pytest.mark.parametrize(("backoff", "waits"), [("10 minutes", False), ("3 hours", True), (None, True)])
def test_a_first_sync_does_not_wait_for_such_a_backoff_or_rest_of_a_folder(
    conn: Connection, settings: Settings, backoff: str | None, waits: bool
) -> None:
    account = new_account(conn, settings)
    new_folder(conn, account)
    conn.execute("update accounts set backoff_until = now() + %s::interval", [backoff])
    assert turns.accounts_to_backfill(conn) == ([account] if waits else [])
    conn.execute("update accounts set backoff_until = null")
    conn.execute("update folders set retry_at = now() + %s::interval", [backoff])
    assert turns.accounts_to_backfill(conn) == ([account] if waits else [])


@pytest.mark.parametrize(("age", "tried"), [("6 days 23:59:00", True), ("7 days", False), ("30 days", False)])
def test_a_stuck_account_is_tried_for_seven_days(
    conn: Connection, settings: Settings, age: str, tried: bool
) -> None:
    account = new_account(conn, settings)
    turns.end(conn, account, Verdict("broken", "stuck", "no", 9, 0, None, None), tokens=9)
    conn.execute("update accounts set sync_state_since = now() - %s::interval", [age])
    assert turns.claim(conn, turns.now(conn), 60) == (account if tried else None)


def test_a_budget_that_was_frozen_in_the_future_thaws_with_the_next_turn(
    database_url: str, scripted: ScriptedServer
) -> None:
    user = scripted.new_user()
    letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        mirror.configure(imap_max_commands_per_minute=60)
        mirror.conn.execute(
            "update accounts set throttle_tokens = 0, throttle_at = now() + interval '3 hours'"
        )
        assert isinstance(mirror.hot(), OutOfTokens)
        assert mirror.value("select throttle_at <= clock_timestamp() from accounts")
        mirror.conn.execute("update accounts set throttle_at = throttle_at - interval '1 minute'")
        assert isinstance(mirror.hot(), Turn)


@pytest.mark.parametrize("hours", [-3, 3, 24 * 400])
def test_after_a_jump_of_the_clock_one_turn_makes_the_mirror_and_its_health_true_again(
    database_url: str, scripted: ScriptedServer, hours: int
) -> None:
    """Shift every stored time, which has the effect of a jump of the database's clock."""
    user = scripted.new_user()
    inbox = letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        move_all_times(mirror.conn, timedelta(hours=hours))
        inbox.add(mail.message(3))
        lists = scripted.journal.counts()["LIST"]
        account = turns.claim(mirror.conn, turns.now(mirror.conn), 60)
        assert account == mirror.account_id, "it is due, whatever its row says"
        for _ in range(2):
            assert isinstance(mirror.hot(), Turn)
        assert sorted(mirror.rows()) == [1, 2, 3, 4]
        assert scripted.journal.counts()["LIST"] == lists + 3, "two statuses, one discovery"
        assert mirror.value("select next_discovery_at - now() <= interval '15 minutes' from accounts")
        assert mirror.state == ("healthy", None)
        promised = mirror.value("select extract(epoch from healthy_until - now()) from accounts")
        assert 0 < promised <= 180
        lags = "select priority_sync_lag_seconds, overall_sync_lag_seconds from account_status"
        row = mirror.conn.execute(lags).fetchone()
        assert row is not None
        assert all(0 <= lag < 60 for lag in row)
