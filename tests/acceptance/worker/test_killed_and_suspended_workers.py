"""A worker that is killed or suspended for hours: how that shows, and how it recovers (SPEC §12)."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import pytest

from tests.support import mail
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.patience import pause
from tests.support.programs import Mailsync, Running
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

SHOWN = "select sync_state, sync_state_reason from account_status where account_id = %s"


def test_a_killed_worker_is_noticed_within_two_ticks_and_a_minute(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account))
    worker.kill9()

    _go_back(database, "45 seconds")
    assert is_healthy(database, account)
    _go_back(database, "20 seconds")
    assert database.execute(SHOWN, [account]).fetchone() == ("degraded", "stale")
    assert "stale" in mailsync("list-accounts").stdout

    start_worker(SYNC_INTERVAL="1s").wait_for(lambda: is_healthy(database, account))
    assert _last_change(database, account) == ("degraded", "stale", "healthy", None)


def test_a_worker_suspended_for_six_hours_catches_up_with_one_turn_per_account(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    users = [scripted.new_user() for _ in range(3)]
    accounts = []
    for user in users:
        user.folder("INBOX").add(mail.message(1))
        accounts.append(add_account(mailsync, scripted, user))
    worker = start_worker(SYNC_INTERVAL="2s")
    worker.wait_for(lambda: all(is_healthy(database, account) for account in accounts))
    _stop_at_rest(worker, database)

    _go_back(database, "6 hours")
    for user in users:
        user.folder("INBOX").add(mail.message(2))
    assert {database.execute(SHOWN, [account]).fetchone() for account in accounts} == {("degraded", "stale")}
    turns = "select sum(consecutive_successes) from accounts"
    before, slept_until = value(database, turns), value(database, "select clock_timestamp()")
    logins = scripted.journal.counts()["LOGIN"]
    worker.send_signal(signal.SIGCONT)

    worker.wait_for(lambda: all(live_uids(database, account) == [1, 2] for account in accounts))
    worker.wait_for(lambda: all(is_healthy(database, account) for account in accounts))
    turn_count = value(database, turns) - before
    awake = value(database, "select extract(epoch from clock_timestamp() - %s)::float", slept_until)
    assert turn_count <= len(accounts) * (1 + awake / 2), "one turn each, then one per tick"
    assert {_last_change(database, account) for account in accounts} == {
        ("degraded", "stale", "healthy", None)
    }
    assert scripted.journal.counts()["LOGIN"] == logins, "the kept sessions still work"
    assert "Database lost" not in worker.output
    assert not scripted.journal.interleavings()


@pytest.mark.long
def test_the_lock_of_a_suspended_worker_is_taken_over_and_it_continues_afterwards(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    inbox = user.folder("INBOX")
    for number in range(3):
        inbox.add(mail.message(number))
    scripted.on("UID FETCH", lambda request: request.hang(), times=1)
    account = add_account(mailsync, scripted, user)
    first = start_worker(SYNC_INTERVAL="1s")
    first.wait_for(lambda: scripted.journal.commands("UID FETCH"))
    first.send_signal(signal.SIGSTOP)

    second = start_worker(SYNC_INTERVAL="1s", LOCK_STALE_AFTER="30s")
    second.wait_for("Ready")
    # SQL cannot age the connection's own activity, so end it like that of a stale holder
    database.execute("select pg_terminate_backend(pid) from account_locks where granted")
    _go_back(database, "6 hours")
    second.wait_for(lambda: live_uids(database, account) == [1, 2, 3])
    second.wait_for(lambda: is_healthy(database, account))

    commands = len([c for c in scripted.journal.commands() if c.connection == 1])
    first.send_signal(signal.SIGCONT)
    first.wait_for("Database lost; reconnecting")
    inbox.add(mail.message(3))
    second.terminate()
    assert second.wait() == 0
    first.wait_for(lambda: live_uids(database, account) == [1, 2, 3, 4])
    wait_until(lambda: is_healthy(database, account), "the first worker's health")
    assert len([c for c in scripted.journal.commands() if c.connection == 1]) == commands, (
        "its session is closed"
    )


def _stop_at_rest(worker: Running, database: Database) -> None:
    """Suspend it between two turns, while it holds no lock and runs no statement."""
    busy = (
        "select exists (select from account_locks) or exists (select from pg_stat_activity where"
        " application_name = 'mailsync-worker' and datname = current_database() and state <> 'idle')"
    )

    def is_at_rest() -> bool:
        worker.send_signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED, "the suspension")
        # statements that it sent before have ended by the second look
        at_work = value(database, busy)
        pause(0.2, "statements that it had sent end meanwhile")
        if not at_work and not value(database, busy):
            return True
        worker.send_signal(signal.SIGCONT)
        return False

    wait_until(is_at_rest, "a suspension between two turns")


def _go_back(database: Database, by: str) -> None:
    """Let time pass: move every time in the rows back by as much."""
    for table in ("accounts", "folders", "workers"):
        columns = database.execute(
            "select string_agg(format('%%1$I = %%1$I - %%2$L::interval', column_name, %s::text), ', ')"
            " from information_schema.columns where table_schema = 'mailsync' and table_name = %s"
            " and data_type = 'timestamp with time zone'",
            [by, table],
        ).fetchone()
        assert columns
        database.execute(f"update {table} set {columns[0]}")


def _last_change(database: Database, account: int) -> tuple[Any, ...] | None:
    return database.execute(
        "select data->>'old', data->>'old_reason', data->>'new', data->>'new_reason' from sync_events"
        " where account_id = %s and type = 'account.state_changed' order by seq desc limit 1",
        [account],
    ).fetchone()
