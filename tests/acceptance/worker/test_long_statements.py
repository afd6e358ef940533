"""Slow statements: what they cost, and that they end with their client."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.api import StartApi
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.scripted import ScriptedServer

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

ASLEEP = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"


def slow_for(database: Database, account: int) -> None:
    """Make each statement that stores messages of the account take ten minutes."""
    database.execute(
        "create function slow() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(600); return new; end'"
    )
    database.execute(
        "create trigger slow before insert on messages for each row"
        f" when (new.account_id = {account}) execute function slow()".encode()
    )


def fast(database: Database) -> None:
    database.execute("drop function slow cascade")


def asleep(database: Database) -> bool:
    return bool(value(database, ASLEEP))


def waiting(application: str) -> str:
    return (
        f"select count(*) from pg_stat_activity where application_name = '{application}' and"
        " wait_event_type = 'Lock' and datname = current_database()"
    )


@pytest.fixture
def account(mailsync: Mailsync, scripted: ScriptedServer, database: Database) -> int:
    """An account whose mail takes ten minutes to store."""
    user = scripted.new_user("slow@scripted.test")
    for n in range(20):
        user.folder("INBOX").add(mail.message(n))
    account = add_account(mailsync, scripted, user)
    slow_for(database, account)
    return account


@pytest.mark.long
def test_a_slow_statement_costs_only_its_own_account_the_turn(
    account: int, mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    quick = scripted.new_user()
    other = add_account(mailsync, scripted, quick)
    worker = start_worker(SYNC_INTERVAL="1s", STATEMENT_TIMEOUT="2s", LOG_FORMAT="json")
    reason = "select sync_state_reason from account_status where account_id = %s"
    worker.wait_for(lambda: value(database, reason, account) == "database_slow")
    worker.wait_for(lambda: is_healthy(database, other))
    pid = (
        "select pid from pg_stat_activity"
        " where application_name = 'mailsync-worker' and datname = current_database()"
    )
    first = value(database, pid)

    for n in range(1, 4):
        quick.folder("INBOX").add(mail.message(n))
        worker.wait_for(lambda n=n: len(live_uids(database, other)) == n)
    beaten = value(database, "select heartbeat_at from workers")
    worker.wait_for(lambda: value(database, "select heartbeat_at from workers") > beaten)

    message = value(database, "select sync_state_message from account_status where account_id = %s", account)
    assert "upsert_messages" in message and "pg_stat_activity" in message
    assert value(database, pid) == first, "the connection was kept"
    assert value(database, "select backoff_until > now() from accounts where id = %s", account)
    assert "Database lost" not in worker.output

    fast(database)
    database.execute("update accounts set backoff_until = null, next_sync_at = now()")
    worker.wait_for(lambda: len(live_uids(database, account)) == 20)
    assert value(database, "select count(*) from messages where parse_errors <> '{}'") == 0


def test_a_stopping_worker_cancels_its_statement(
    account: int, database: Database, start_worker: StartWorker
) -> None:
    worker = start_worker(SYNC_INTERVAL="1s", LOG_FORMAT="json")
    worker.wait_for(lambda: asleep(database))

    worker.terminate()

    assert worker.wait() == 0
    wait_until(lambda: not asleep(database), "the end of its backend")
    assert "Stopped without waiting any longer" not in worker.output
    assert value(database, "select count(*) from workers") == 0
    assert value(database, "select count(*) from account_locks") == 0
    assert value(database, "select currently_syncing from accounts") is False
    assert value(database, "select sync_state from accounts") == "initial_sync"
    assert not [record for record in worker.records() if record["level"] in ("WARNING", "ERROR")]


def test_a_slow_statement_between_turns_is_retried_and_does_not_end_the_worker(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    account = add_account(mailsync, scripted, scripted.new_user())
    database.execute(
        "create function slow() returns trigger language plpgsql as"
        " 'begin perform pg_sleep(600); return new; end'"
    )
    database.execute(
        "create trigger slow before insert or update on workers for each row execute function slow()"
    )
    worker = start_worker(SYNC_INTERVAL="1s", STATEMENT_TIMEOUT="1s", LOG_FORMAT="json")
    worker.wait_for(lambda: any("worker_heartbeat" in record.get("error", "") for record in worker.records()))
    fast(database)
    worker.wait_for(lambda: is_healthy(database, account))
    worker.terminate()
    assert worker.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_cancels_its_statement(
    number: signal.Signals, account: int, mailsync: Mailsync, database: Database
) -> None:
    command = mailsync.start("sync", "slow@scripted.test")
    command.wait_for(lambda: asleep(database))

    command.send_signal(number)

    assert command.wait() == 130
    assert "continues from here" in command.output
    wait_until(lambda: not asleep(database), "the end of its backend")
    assert value(database, "select count(*) from account_locks") == 0
    assert value(database, "select sync_state from accounts") == "initial_sync"


def test_an_interrupted_read_only_command_cancels_its_statement_too(
    account: int, mailsync: Mailsync, database: Database, database_url: str
) -> None:
    with psycopg.connect(database_url) as person:
        person.execute("lock table mailsync.folders")
        command = mailsync.start("status")
        command.wait_for(lambda: value(database, waiting("mailsync-cli")))
        command.send_signal(signal.SIGINT)
        assert command.wait() == 130
        wait_until(lambda: not value(database, waiting("mailsync-cli")), "the end of its backend")


@pytest.mark.parametrize("way", ["directly", "tcp"])
def test_the_backend_of_a_killed_client_ends_within_seconds(
    way: str,
    account: int,
    mailsync: Mailsync,
    database: Database,
    start_worker: StartWorker,
    postgres_proxy: tuple[Proxy, str],
) -> None:
    if way == "tcp":
        mailsync.environment["DATABASE_URL"] = postgres_proxy[1]
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: asleep(database))

    worker.kill9()

    # the backend checks every 5 s whether its client is still connected
    wait_until(lambda: not asleep(database), "the end of the backend", timeout=PATIENCE / 3)
    assert value(database, "select count(*) from account_locks") == 0


def test_a_stopping_api_cancels_its_statements(
    account: int, database: Database, database_url: str, start_api: StartApi
) -> None:
    api = start_api()
    answers: list[int] = []
    request = threading.Thread(
        target=lambda: answers.append(api.call("GET", f"/v1/accounts/{account}/folders").status)
    )
    with psycopg.connect(database_url) as person:
        person.execute("lock table mailsync.folders")
        request.start()
        api.process.wait_for(lambda: value(database, waiting("mailsync-api")))
        api.process.terminate()
        assert api.process.wait() == 0
        request.join(PATIENCE)
        # the waiting client gets an answer; a killed process would have closed the connection
        assert answers == [504]
        wait_until(lambda: not value(database, waiting("mailsync-api")), "the end of its backend")
