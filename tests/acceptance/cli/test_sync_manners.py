"""``sync`` beside others: it waits for the lock, yields it, stops when asked, and keeps to its limits."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support.account_client import lock_held
from tests.support.commands import EMAIL, add
from tests.support.dovecot import Dovecot
from tests.support.mail import message
from tests.support.patience import Stopwatch, wait_until
from tests.support.programs import Mailsync, Running
from tests.support.scripted import ScriptedServer


@pytest.mark.long
def test_a_busy_account_is_waited_for_and_then_left_with_code_3(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = scripted.new_user(EMAIL)
    add(mailsync, scripted, user)
    with lock_held(database, 1):
        both = [mailsync.start(command, EMAIL) for command in ("sync", "verify")]
        wait_for(lambda: waiters(database) == 2)
        database.execute("update accounts set heartbeat_at = now(), sync_started_by = 'host:1:worker'")
        before = len(scripted.journal.commands())
        for running in both:
            assert running.wait() == 3
            (line,) = running.lines
            assert line.startswith("mailsync: account 1 is being synced by host:1:worker; try again")
        assert len(scripted.journal.commands()) == before
    assert mailsync("sync", EMAIL).returncode == 0


def test_a_sync_lets_a_waiter_in_and_takes_the_lock_again(
    mailsync: Mailsync, dovecot: Dovecot, database: psycopg.Connection[Any]
) -> None:
    running = long_sync(mailsync, dovecot, database)
    begun = Stopwatch()
    with lock_held(database, 1):
        waited = begun.stop()
        before = database.execute("select count(*) from messages").fetchone()
        wait_for(lambda: waiters(database) == 1)
        assert database.execute("select count(*) from messages").fetchone() == before
    assert waited < 20
    allow_haste(database)
    assert running.wait() == 0
    assert database.execute("select count(*), count(distinct uid) from messages").fetchone() == (3000, 3000)


def test_an_interrupted_sync_commits_ends_in_order_and_goes_on_later(
    mailsync: Mailsync, dovecot: Dovecot, database: psycopg.Connection[Any]
) -> None:
    running = long_sync(mailsync, dovecot, database)
    begun = Stopwatch()
    running.send_signal(signal.SIGINT)
    assert running.wait() == 130
    assert begun.stop() < 20
    allow_haste(database)
    assert f"stopped; `mailsync sync {EMAIL}` continues from here" in running.output
    assert "Traceback" not in running.output
    kept = database.execute("select count(*) from messages").fetchone()
    assert kept
    assert 0 < kept[0] < 3000
    state = "select currently_syncing from accounts union all select status = 'running' from sync_runs"
    assert all(row == (False,) for row in database.execute(state))
    done = mailsync("sync", EMAIL, "--json").json()
    assert done["messages_new"] == 3000 - kept[0]
    assert mailsync("verify", EMAIL).returncode == 0


@pytest.mark.long
def test_a_sync_waits_for_the_throttle_without_the_lock(
    mailsync: Mailsync, scripted: ScriptedServer, database: psycopg.Connection[Any]
) -> None:
    user = scripted.new_user(EMAIL)
    for name in [f"Folder {n}" for n in range(8)]:
        user.create(name).add(message(1))
    add(mailsync, scripted, user)
    running = mailsync.start("sync", EMAIL, IMAP_MAX_COMMANDS_PER_MINUTE="200")
    running.wait_for("for the limit IMAP_MAX_COMMANDS_PER_MINUTE")
    with lock_held(database, 1):
        pass
    assert running.wait() == 0
    assert "8 messages in 9 folders (8 new)" in running.output
    assert scripted.journal.busiest_minute() <= 200


# -- helpers ------------------------------------------------------------------------------------------


def long_sync(mailsync: Mailsync, dovecot: Dovecot, database: psycopg.Connection[Any]) -> Running:
    """A sync of 3,000 messages in small batches, under way; unless hastened it takes fifteen seconds."""
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [message(n) for n in range(3000)])
    add(mailsync, dovecot, user)
    database.execute(
        "create function slow() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(0.05); return null; end'"
    )
    database.execute(
        "create trigger slow after insert on messages for each statement execute function slow()"
    )
    running = mailsync.start("sync", EMAIL, FETCH_BATCH="10")
    wait_for(lambda: (database.execute("select count(*) from messages").fetchone() or (0,))[0] > 100)
    return running


def allow_haste(database: psycopg.Connection[Any]) -> None:
    """Let the rest of a long sync be quick."""
    database.execute("drop trigger slow on messages")


def waiters(database: psycopg.Connection[Any]) -> int:
    row = database.execute("select count(*) from account_locks where not granted").fetchone()
    return int(row[0]) if row else 0


def wait_for(condition: Callable[[], bool]) -> None:
    wait_until(condition, "what the test waits for")
