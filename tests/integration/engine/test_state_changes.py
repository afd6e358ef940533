"""Every change of the state that ``account_status`` shows emits exactly one event (SPEC §12)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from mailsync.config import Settings
from mailsync.model import Verdict
from mailsync.store import accounts, credentials, db, turns
from mailsync.store.db import Connection
from tests.support.run_directory import PATIENCE
from tests.support.stored import KEY, new_account, settings_for

Step = Callable[[Connection, int], None]


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url)


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection]:
    with db.connect(settings, "cli") as conn:
        yield conn


def turn(state: str, reason: str | None = None) -> Step:
    """End a turn in this state; a healthy state is valid for three minutes."""

    def step(conn: Connection, account: int) -> None:
        until = turns.now(conn) + timedelta(minutes=3) if state == "healthy" else None
        turns.end(conn, account, Verdict(state, reason, "because", 0, 1, None, until), tokens=9)

    return step


def pause(conn: Connection, account: int) -> None:
    accounts.pause(conn, account, "away")


def resume(conn: Connection, account: int) -> None:
    accounts.resume(conn, account)


def reset(conn: Connection, account: int) -> None:
    accounts.reset(conn, account, resync=False)


def time_passes(conn: Connection, account: int) -> None:
    """Let ten minutes pass without a worker."""
    conn.execute("update accounts set healthy_until = healthy_until - interval '10 minutes'")


def new_password(conn: Connection, account: int) -> None:
    (row,) = credentials.load(conn, account)
    key = Settings(imap_encryption_key=KEY).encryption_keys()
    accounts.change_credential(conn, account, row.endpoint, "better", key)


def shown(conn: psycopg.Connection[Any]) -> str:
    row = conn.execute("select sync_state, sync_state_reason from account_status").fetchone()
    return _name(*(row or ("?", None)))


def told(conn: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """The changes that the events report, oldest first: (old, new)."""
    rows = conn.execute("select data from sync_events where type = 'account.state_changed' order by seq")
    return [
        (_name(data["old"], data["old_reason"]), _name(data["new"], data["new_reason"])) for (data,) in rows
    ]


def _name(state: str, reason: str | None) -> str:
    return f"{state} {reason}" if reason else state


UNREACHABLE = turn("degraded", "unreachable")
HEALTHY = turn("healthy")
REJECTED = turn("broken", "auth_failed")


@pytest.mark.parametrize(
    ("steps", "states"),
    [
        pytest.param((turn("initial_sync"),), [], id="nothing changes"),
        pytest.param((HEALTHY, HEALTHY, UNREACHABLE, UNREACHABLE, HEALTHY),
                     ["healthy", "degraded unreachable", "healthy"], id="said once each"),
        pytest.param((UNREACHABLE, turn("degraded", "throttled")),
                     ["degraded unreachable", "degraded throttled"], id="another reason is a change"),
        pytest.param((HEALTHY, pause, resume), ["healthy", "paused away", "healthy"], id="a pause"),
        pytest.param((pause, pause, resume, resume), ["paused away", "initial_sync"], id="said twice"),
        pytest.param((HEALTHY, pause, UNREACHABLE, HEALTHY, resume), ["healthy", "paused away", "healthy"],
                     id="a turn that ends in a pause changes nothing that shows"),
        pytest.param((HEALTHY, pause, UNREACHABLE, resume),
                     ["healthy", "paused away", "degraded unreachable"], id="the end of the pause tells"),
        pytest.param((HEALTHY, time_passes, HEALTHY), ["healthy", "degraded stale>", "healthy"],
                     id="a worker comes back"),
        pytest.param((HEALTHY, time_passes, UNREACHABLE),
                     ["healthy", "degraded stale>", "degraded unreachable"], id="and fails"),
        pytest.param((HEALTHY, time_passes, pause, resume, HEALTHY),
                     ["healthy", "degraded stale>", "paused away", "degraded stale", "healthy"],
                     id="stale before and after a pause"),
        pytest.param((HEALTHY, pause, time_passes, resume),
                     ["healthy", "paused away", "degraded stale"], id="stale in a pause"),
        pytest.param((HEALTHY, time_passes, reset), ["healthy", "degraded stale>", "initial_sync"],
                     id="stale and reset"),
        pytest.param((REJECTED, reset, reset), ["broken auth_failed", "initial_sync"], id="a reset"),
        pytest.param((REJECTED, pause, reset, resume), ["broken auth_failed", "paused away", "initial_sync"],
                     id="a reset in a pause"),
        pytest.param((REJECTED, new_password), ["broken auth_failed", "initial_sync"], id="a new password"),
        pytest.param((REJECTED, pause, new_password, resume),
                     ["broken auth_failed", "paused away", "initial_sync"], id="a new password in a pause"),
        pytest.param((UNREACHABLE, new_password), ["degraded unreachable"],
                     id="a new password for an account that is not rejected"),
    ],
)  # fmt: skip
def test_each_change_of_the_shown_state_emits_one_event(
    conn: Connection, settings: Settings, steps: tuple[Step, ...], states: list[str]
) -> None:
    """An account becomes ``stale`` by the passing of time alone: the next event has it as its old state."""
    account = new_account(conn, settings)
    for step in steps:
        step(conn, account)
    expected, old = [], "initial_sync"
    for state in states:
        if not state.endswith(">"):
            expected.append((old, state))
        old = state.rstrip(">")
    assert told(conn) == expected
    assert shown(conn) == old


def test_a_state_lasts_since_it_shows(conn: Connection, settings: Settings) -> None:
    account = new_account(conn, settings)
    since = "select sync_state_since > now() - interval '1 minute' from accounts"
    HEALTHY(conn, account)
    conn.execute("update accounts set sync_state_since = now() - interval '1 day'")
    HEALTHY(conn, account)
    assert conn.execute(since).fetchone() == (False,)
    time_passes(conn, account)
    HEALTHY(conn, account)
    assert conn.execute(since).fetchone() == (True,), "it was stale in between"


@pytest.mark.parametrize(
    ("first", "second", "changes", "state"),
    [
        pytest.param(pause, UNREACHABLE, [("healthy", "paused away")], "paused away",
                     id="a turn ends while somebody pauses"),
        pytest.param(UNREACHABLE, pause,
                     [("healthy", "degraded unreachable"), ("degraded unreachable", "paused away")],
                     "paused away", id="somebody pauses while a turn ends"),
        pytest.param(pause, pause, [("healthy", "paused away")], "paused away", id="two people pause"),
        pytest.param(UNREACHABLE, reset,
                     [("healthy", "degraded unreachable"), ("degraded unreachable", "initial_sync")],
                     "initial_sync", id="a reset while a turn ends"),
    ],
)  # fmt: skip
def test_two_changes_at_the_same_moment_lose_no_event(
    conn: Connection,
    settings: Settings,
    database: psycopg.Connection[Any],
    first: Step,
    second: Step,
    changes: list[tuple[str, str]],
    state: str,
) -> None:
    account = new_account(conn, settings)
    HEALTHY(conn, account)
    with db.connect(settings, "worker") as other:
        thread = threading.Thread(target=second, args=(other, account))
        with db.transaction(conn):
            first(conn, account)
            thread.start()
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and pid = %s"
            while database.execute(waiting, [other.info.backend_pid]).fetchone() != (1,):
                assert thread.is_alive(), "it has to wait for the row"
        thread.join(PATIENCE)
    assert told(conn)[1:] == changes
    assert shown(conn) == state
