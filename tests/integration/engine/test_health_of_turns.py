"""An account's health over hours of turns; time passes by moving all stored times back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from psycopg import sql

from mailsync.engine.turn import Turn
from mailsync.errors import OutOfTokens, Transient
from mailsync.store.db import Connection
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

HOUR = timedelta(hours=1)


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer) -> Iterator[Mirror]:
    user = scripted.new_user()
    letters(user, 2)
    letters(user, 1, "Work")
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        assert mirror.state == ("healthy", None)
        yield mirror


def pass_time(conn: Connection, by: timedelta) -> None:
    """Move all stored times back, as if this much time had passed."""
    columns = (
        "select column_name from information_schema.columns where table_name = %s"
        " and data_type = 'timestamp with time zone' and table_schema = current_schema()"
    )
    for table in ("accounts", "folders"):
        names = [name for (name,) in conn.execute(columns, [table])]
        assert len(names) > 5
        changes = sql.SQL(", ").join(sql.SQL("{0} = {0} - {1}").format(sql.Identifier(n), by) for n in names)
        conn.execute(sql.SQL("update {} set {}").format(sql.Identifier(table), changes))


def test_a_day_of_failures_is_stuck_and_a_success_ends_it(mirror: Mirror, scripted: ScriptedServer) -> None:
    scripted.on("LIST", Request.close)
    for _ in range(24):
        assert isinstance(mirror.hot(), Transient)
        assert mirror.state == ("degraded", "unreachable")
        pass_time(mirror.conn, HOUR)
    for _ in range(3):
        mirror.hot()
        assert mirror.state == ("broken", "stuck")
        held = "select round(extract(epoch from backoff_until - last_sync_finished_at) / 60) from accounts"
        assert mirror.value(held) == 60
        pass_time(mirror.conn, HOUR)
    told = "select count(*) from sync_events where type = 'account.state_changed' and data->>'new' = 'broken'"
    assert mirror.value(told) == 1

    scripted.off("LIST")
    for _ in range(2):
        assert isinstance(mirror.hot(), Turn)
    assert mirror.state == ("healthy", None)
    assert mirror.value("select failing_since is null and backoff_until is null from accounts")


def test_days_without_a_worker_are_no_days_of_failures(mirror: Mirror, scripted: ScriptedServer) -> None:
    scripted.on("LIST", Request.close)
    for hours in (30, 200, 3):
        pass_time(mirror.conn, hours * HOUR)
        assert isinstance(mirror.hot(), Transient)
        assert mirror.state == ("degraded", "unreachable")


def test_a_day_of_turns_that_come_to_nothing_is_stuck_too(mirror: Mirror) -> None:
    mirror.configure(imap_max_commands_per_minute=60)
    for hour in range(25):
        mirror.conn.execute("update accounts set throttle_tokens = 0, throttle_at = now()")
        assert isinstance(mirror.hot(), OutOfTokens)
        assert (mirror.state[0] == "broken") is (hour == 24)
        pass_time(mirror.conn, HOUR)
    assert mirror.state == ("broken", "stuck")
    mirror.conn.execute("update accounts set throttle_tokens = null")
    mirror.hot()
    assert mirror.state == ("healthy", None)


def test_a_refused_inbox_is_never_called_compared(mirror: Mirror, scripted: ScriptedServer) -> None:
    (user,) = scripted.accounts.values()
    before = mirror.value("select priority_synced_at from accounts")
    letters(user, 1)
    letters(user, 1, "Work")
    scripted.on("EXAMINE", _refusing(b"INBOX"))
    for _ in range(3):
        mirror.hot()
        assert mirror.state == ("degraded", "folder_error")
        assert mirror.value("select priority_synced_at from accounts") == before
    assert len(mirror.rows("Work")) == 2, "the others go on"

    scripted.off("EXAMINE")
    mirror.hot()
    assert mirror.state == ("healthy", None)


def test_rows_of_a_folder_that_is_listed_no_more_are_not_called_equal(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    (user,) = scripted.accounts.values()
    gone = user.folders.pop(b"Work")
    mirror.conn.execute("update accounts set next_discovery_at = now()")
    mirror.hot()
    assert mirror.state == ("degraded", "folder_missing")
    assert "Work is no longer listed" in mirror.value("select sync_state_message from account_status")

    user.folders[b"Work"] = gone
    mirror.conn.execute("update accounts set next_discovery_at = now()")
    mirror.hot()
    assert mirror.state == ("healthy", None)


@pytest.mark.parametrize("others", [30, 90])
def test_a_round_over_many_folders_keeps_an_account_healthy(
    database_url: str, scripted_with: Callable[..., ScriptedServer], others: int
) -> None:
    """Without LIST-STATUS five folders a tick: 90 of them take 18 minutes."""
    server = scripted_with(capabilities=b"IMAP4rev1 UNSELECT")
    user = server.new_user()
    letters(user, 1)
    for number in range(others):
        user.create(f"Folder {number}")
    with Mirror(database_url, server, user) as mirror:
        mirror.complete()
        ticks = others // 5
        for _ in range(ticks):
            mirror.hot()
        for _ in range(ticks + 2):
            pass_time(mirror.conn, timedelta(minutes=1))
            mirror.hot()
            assert mirror.state == ("healthy", None)
        lag = mirror.value("select overall_sync_lag_seconds / 60 from account_status")
        assert ticks - 2 < lag <= ticks


def test_more_priority_folders_than_a_tick_asks_for_are_compared_in_the_round(
    database_url: str, scripted_with: Callable[..., ScriptedServer]
) -> None:
    server = scripted_with(capabilities=b"IMAP4rev1 UNSELECT")
    user = server.new_user()
    for path in ("INBOX", "Sent", "Work"):
        letters(user, 1, path)
    with Mirror(database_url, server, user, sync_priority_folders=1, sync_rr_folders=1) as mirror:
        mirror.complete()
        for _ in range(4):
            mirror.hot()
        assert mirror.state == ("healthy", None)
        letters(user, 1, "Sent")
        for _ in range(2):
            mirror.hot()
        assert len(mirror.rows("Sent")) == 2
        assert mirror.state == ("healthy", None)


def _refusing(name: bytes) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        return request.tagged(b"NO [NOPERM] not yours") if name in request.text else request.default()

    return answer
