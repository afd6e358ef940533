"""A database that refuses writes, restarts, or does not answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mailsync.cli.embedded.postgres import embedded_postgres
from tests.support import mail, run_directory
from tests.support.api import Api, StartApi, assert_problem
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]

FULL = (
    "create function no_space() returns trigger language plpgsql as $$"
    " begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$"
)
END = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s"


def fill_up(database: Database, table: str) -> None:
    """From now on the table accepts no row, as on a full disk."""
    database.execute(FULL)
    trigger = f"create trigger no_space before insert on {table} for each row execute function no_space()"
    database.execute(trigger)  # type: ignore[call-overload]


def make_room(database: Database) -> None:
    database.execute("drop function no_space cascade")


def delays(worker: Running) -> list[float]:
    """The seconds until the next attempt, as each attempt announced them."""
    return [record["retry_in_seconds"] for record in worker.records() if "retry_in_seconds" in record]


def levels(worker: Running, message: str) -> list[str]:
    """The levels of the lines with that message."""
    return [record["level"] for record in worker.records() if record["message"] == message]


@pytest.mark.long
@pytest.mark.parametrize("when", ["new mail", "first sync"])
def test_a_full_database_is_logged_once_and_logins_become_rarer(
    when: str, mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user, other = scripted.new_user(), scripted.new_user()
    for record in (user, other):
        record.folder("INBOX").add(mail.message(1))
    account, quiet = (add_account(mailsync, scripted, record) for record in (user, other))
    if when == "first sync":
        mailsync("sync", other.name)
        fill_up(database, "messages")
    worker = start_worker(SYNC_INTERVAL="1s", LOG_LEVEL="DEBUG", LOG_FORMAT="json")
    if when == "new mail":
        worker.wait_for(lambda: is_healthy(database, account) and is_healthy(database, quiet))
        fill_up(database, "messages")
        user.folder("INBOX").add(mail.message(2))
    before = scripted.journal.counts(other.name)["LOGIN"]

    worker.wait_for(lambda: len(delays(worker)) >= 5)
    assert delays(worker)[:5] == [1, 2, 4, 8, 16], worker.output
    logins = scripted.journal.counts(user.name)["LOGIN"]
    assert logins <= 1 + len(delays(worker))
    assert levels(worker, "Database lost; reconnecting").count("WARNING") == 1
    assert not levels(worker, "Database connected again")
    # an account without new mail keeps its session, which was idle when the connection to Postgres was lost
    after = scripted.journal.counts(other.name)["LOGIN"]
    assert after == 1 if when == "new mail" else after <= before + 1

    make_room(database)
    uids = [1, 2] if when == "new mail" else [1]
    worker.wait_for(lambda: live_uids(database, account) == uids and is_healthy(database, account))
    worker.wait_for("Database connected again")
    worker.wait_for(lambda: is_healthy(database, quiet))
    assert levels(worker, "Database lost; reconnecting").count("WARNING") == 1
    assert levels(worker, "Database connected again") == ["INFO"]
    worker.terminate()
    assert worker.wait() == 0


def test_an_account_that_always_fails_in_the_database_goes_behind_other_first_syncs(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    failed, other = scripted.new_user(), scripted.new_user()
    for user, count in ((failed, 20), (other, 6000)):
        for n in range(count):
            user.folder("INBOX").add(mail.message(n))
    accounts = [add_account(mailsync, scripted, record) for record in (failed, other)]
    database.execute(FULL.replace("53100", "53200").encode())
    database.execute(
        "create trigger no_space before insert on messages for each row"
        f" when (new.account_id = {accounts[0]}) execute function no_space()".encode()
    )
    # the other account needs only one turn: the worker waits longer after each failure
    worker = start_worker(SYNC_INTERVAL="60s", BACKFILL_TURN_MAX="60s")
    worker.wait_for(lambda: len(live_uids(database, accounts[1])) == 6000)
    assert live_uids(database, accounts[0]) == []


@pytest.mark.long
def test_a_read_only_database_costs_no_login(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s", LOG_LEVEL="DEBUG", LOG_FORMAT="json")
    worker.wait_for(lambda: is_healthy(database, account))
    read_only(database, True, "mailsync-worker")
    user.folder("INBOX").add(mail.message(2))

    worker.wait_for(lambda: len(delays(worker)) >= 4)
    assert delays(worker)[:4] == [1, 2, 4, 8]
    assert levels(worker, "Database lost; reconnecting").count("WARNING") == 1
    assert not levels(worker, "Database connected again")
    # the loss itself may have closed one session
    assert scripted.journal.counts(user.name)["LOGIN"] <= 2
    logins = scripted.journal.counts(user.name)["LOGIN"]

    read_only(database, False, "mailsync-worker")
    worker.wait_for(lambda: live_uids(database, account) == [1, 2])
    worker.wait_for("Database connected again")
    assert scripted.journal.counts(user.name)["LOGIN"] <= logins + 1


@pytest.mark.parametrize("state", ["42501", "XX001"])
def test_the_worker_also_waits_out_unforeseen_database_errors(
    state: str, mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s", LOG_LEVEL="DEBUG", LOG_FORMAT="json")
    worker.wait_for(lambda: is_healthy(database, account))
    database.execute(FULL.replace("53100", state).encode())
    database.execute(
        "create trigger no_space before update on accounts for each row execute function no_space()"
    )
    worker.wait_for(lambda: len(delays(worker)) >= 3)
    assert delays(worker)[:3] == [1, 2, 4]
    assert levels(worker, "Database lost; reconnecting").count("WARNING") == 1

    make_room(database)
    user.folder("INBOX").add(mail.message(1))
    worker.wait_for(lambda: live_uids(database, account) == [1])
    worker.wait_for("Database connected again")
    worker.terminate()
    assert worker.wait() == 0


def test_a_worker_without_write_access_is_not_ready_and_says_why(
    database: Database, start_worker: StartWorker
) -> None:
    read_only(database, True, "nobody")
    worker = start_worker()
    worker.wait_for("[worker] ✗ Database: cannot execute INSERT in a read-only transaction")
    assert "Ready" not in worker.output
    read_only(database, False, "nobody")
    worker.wait_for("[worker] ✓ Ready")
    shown = [line for line in worker.lines if line.startswith("[worker]")]
    assert [line[9:12] for line in shown].count("✗ D") == 1


def read_only(database: Database, on: bool, application: str) -> None:
    """Make the database refuse writes over connections opened from now on."""
    name = database.info.dbname
    word = "set default_transaction_read_only = on" if on else "reset default_transaction_read_only"
    database.execute(f'alter database "{name}" {word}')  # type: ignore[call-overload]
    database.execute(f"{END} and datname = %s", [f"{application}%", name])


@pytest.mark.long
def test_the_api_is_not_ready_while_nothing_can_be_written(start_api: StartApi, database: Database) -> None:
    api = start_api()
    assert api.get("/health/ready").status == 200
    read_only(database, True, "mailsync-api")
    api.process.wait_for(lambda: api.get("/health/ready").status == 503)
    document = assert_problem(api.get("/health/ready"), 503, "not_ready")
    assert document["checks"] == ["writes"]
    assert document["detail"].startswith("These checks fail: writes (it is read-only); ")
    assert api.get("/health/live").status == 200

    read_only(database, False, "mailsync-api")
    api.process.wait_for(lambda: api.get("/health/ready").status == 200)
    fill_up(database, "metric_counters")
    api.process.wait_for(lambda: api.get("/health/ready").status == 503)
    assert "writes (its disk is full)" in api.get("/health/ready").json()["detail"]
    make_room(database)
    api.process.wait_for(lambda: api.get("/health/ready").status == 200)


def test_readiness_checks_write_only_occasionally(api: Api, database: Database) -> None:
    for _ in range(20):
        assert api.get("/health/ready").status == 200
    written = "select value from metric_counters where name = 'mailsync_readiness_writes_total'"
    first = value(database, written)
    assert first is not None and first <= 3
    assert b"readiness" not in api.call("GET", "/metrics").body


@pytest.mark.parametrize("service", ["worker", "api"])
def test_a_service_that_waits_for_a_silent_database_stops_at_once(
    service: str, mailsync: Mailsync, postgres_proxy: tuple[Proxy, str]
) -> None:
    proxy, url = postgres_proxy
    proxy.deaf = True
    process = mailsync.start(
        service, DATABASE_URL=url, LOG_FORMAT="json", PORT=str(run_directory.free_port())
    )
    process.wait_for(lambda: proxy.open_connections == 1)
    process.terminate()
    assert process.wait() == 0
    if service == "worker":
        assert process.records()[-1]["message"] == "Stopped"
        assert process.records()[-1]["duration_ms"] < 5000


@pytest.mark.long
def test_start_waits_for_postgres_and_survives_its_restart(mailsync: Mailsync, tmp_path: Path) -> None:
    port = run_directory.free_port()
    with embedded_postgres(tmp_path / "private") as server:
        environment = mailsync.environment | {"DATABASE_URL": server.url, "PORT": str(port)}
        mailsync.environment = environment
        assert mailsync("migrate").returncode == 0
    running = mailsync.start("start", LOG_FORMAT="json")
    running.wait_for("[worker] ✗ Database: cannot connect to Postgres")
    running.wait_for("[api] ✓ Ready -> ")
    api = Api(port, running)
    document = assert_problem(api.get("/health/ready"), 503, "not_ready")
    assert document["checks"] == ["database"]
    with embedded_postgres(tmp_path / "private"):
        running.wait_for("[worker] ✓ Ready")
        wait_until(lambda: api.get("/health/ready").status == 200, "the API")
    running.wait_for("Database lost; reconnecting")
    wait_until(lambda: api.get("/health/ready").status == 503, "the failing check")
    with embedded_postgres(tmp_path / "private"):
        running.wait_for("Database connected again")
        wait_until(lambda: api.get("/health/ready").status == 200, "the API")
        assert running.returncode is None
        running.terminate()
        assert running.wait() == 0


def test_a_waiting_start_extends_the_timeout_of_systemd_and_says_why(
    start_worker: StartWorker, postgres_proxy: tuple[Proxy, str], tmp_path: Path
) -> None:
    proxy, url = postgres_proxy
    proxy.refusing = True
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(run_directory.PATIENCE)
        start_worker(DATABASE_URL=url, NOTIFY_SOCKET=str(tmp_path / "notify"))
        first = listener.recv(1000).decode()
        assert first.startswith("STATUS=Waiting for the database: cannot connect to Postgres: ")
        assert first.endswith("\nEXTEND_TIMEOUT_USEC=60000000")
        assert {listener.recv(1000) for _ in range(5)} == {b"EXTEND_TIMEOUT_USEC=60000000"}
        proxy.refusing = False
        while (heard := listener.recv(1000).decode()) != "READY=1\nSTATUS=Poll loop running":
            assert heard.startswith(("EXTEND_TIMEOUT_USEC", "STATUS=Waiting")), heard


@pytest.mark.parametrize(
    ("limit", "more"), [("60s", ""), ("10min", "\nWATCHDOG_USEC=1200000000")], ids=["default", "long"]
)
def test_systemd_tolerates_a_statement_within_its_timeout(
    limit: str, more: str, start_worker: StartWorker, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(run_directory.PATIENCE)
        start_worker(
            NOTIFY_SOCKET=str(tmp_path / "notify"),
            WATCHDOG_USEC="120000000",
            STATEMENT_TIMEOUT=limit,
            LOCK_STALE_AFTER="1h",
        )
        while not (heard := listener.recv(1000).decode()).startswith("READY=1"):
            pass
        assert heard == f"READY=1\nSTATUS=Poll loop running{more}"


def test_state_changes_are_logged_with_the_account_and_a_fitting_level(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s", LOG_FORMAT="json")
    worker.wait_for(lambda: is_healthy(database, account))
    scripted.on("LIST", b"NO [UNAVAILABLE] later")
    worker.wait_for(f"Account is degraded: {user.name}")
    scripted.off("LIST")
    database.execute("update account_credentials set key_id = 'ffff', ciphertext = '\\x00'")
    database.execute("update accounts set backoff_until = null, next_sync_at = now()")
    scripted.disconnect()
    worker.wait_for(f"Account is broken: {user.name}")
    states = {
        record["message"].split()[2].rstrip(":"): record
        for record in worker.records()
        if record.get("action") == "state"
    }
    levels = {state: record["level"] for state, record in states.items()}
    assert levels == {"healthy": "INFO", "degraded": "WARNING", "broken": "ERROR"}
    assert {record["email"] for record in states.values()} == {user.name}
    assert states["broken"]["reason"] == "key_mismatch"
