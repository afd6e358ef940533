"""The worker stops on a signal, in time and cleanly, and tells systemd."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import mail
from tests.support.dovecot import Dovecot
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.patience import Stopwatch, stays
from tests.support.programs import Mailsync, Running
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

Database = psycopg.Connection[Any]
StartWorker = Callable[..., Running]
_HELD = "select count(*) from account_locks"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_between_batches_ends_the_worker_cleanly(
    number: signal.Signals,
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: Database,
    start_worker: StartWorker,
) -> None:
    user = scripted.new_user()
    for n in range(1000):
        user.folder("INBOX").add(mail.message(n))
    scripted.on("UID FETCH", _slowly(0.1))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="10")
    worker.wait_for(lambda: len(live_uids(database, account)) > 30)

    worker.send_signal(number)
    stopping = Stopwatch()

    assert worker.wait() == 0
    assert stopping.stop() < 10
    _left_in_order(database)
    rows = live_uids(database, account)
    assert rows == list(range(rows[0], 1001)) and rows[0] > 1, "only the current batch was completed"
    assert value(database, "select initial_oldest_uid from folders") == rows[0]
    assert value(database, "select count(*) from fetch_attempts") == 0
    assert value(database, "select count(*) from workers") == 0
    assert not [record for record in worker.records() if record["level"] in ("WARNING", "ERROR")]


@pytest.mark.long
def test_a_locked_row_does_not_delay_the_end(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    for n in range(200):
        user.folder("INBOX").add(mail.message(n))
    scripted.on("UID FETCH", _slowly(0.1))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="5")
    worker.wait_for(lambda: live_uids(database, account))
    waiting = "select count(*) from pg_stat_activity where application_name = 'mailsync-worker' and"
    waiting += " datname = current_database() and wait_event_type = 'Lock'"

    with psycopg.connect(mailsync.environment["DATABASE_URL"] or "") as person:
        person.execute("select from mailsync.folders for update")
        worker.wait_for(lambda: value(database, waiting))
        worker.terminate()
        assert worker.wait() == 0
        # it did not wait for its lock_timeout, which is longer than the time it has to stop
        assert value(database, waiting) == 0
        assert value(database, "select count(*) from workers") == 0

    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: live_uids(database, account) == list(range(1, 201)))


@pytest.mark.parametrize("command", ["LOGIN", "UID FETCH"])
def test_a_hung_server_delays_the_end_only_by_the_grace_period(
    command: str, mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    scripted.on(command, Request.hang)
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: scripted.journal.commands(command))

    worker.terminate()
    stopping = Stopwatch()

    assert worker.wait() == 0
    # 5 s of grace; the server itself may take 60
    assert stopping.clock > 4
    assert stopping.stop() < 20
    _left_in_order(database)
    assert not live_uids(database, account)
    # our stop does not count as a failure of the server
    failures = "select consecutive_failures, backoff_until, sync_state from accounts"
    assert database.execute(failures).fetchone() == (0, None, "initial_sync")
    wait_until(lambda: scripted.open_connections == 0, "the end of the IMAP session")


def test_a_trickling_server_delays_the_end_no_longer(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    scripted.on("UID FETCH", _trickle)
    add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s")
    worker.wait_for(lambda: scripted.journal.commands("UID FETCH"))

    worker.terminate()
    stopping = Stopwatch()

    assert worker.wait() == 0
    assert stopping.stop() < 20, "its answer takes a minute"
    _left_in_order(database)


def test_a_second_signal_ends_the_worker_at_once_and_loses_nothing(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_worker: StartWorker
) -> None:
    user = scripted.new_user()
    for n in range(60):
        user.folder("INBOX").add(mail.message(n))
    answers = iter([Request.default, Request.default, Request.hang])
    scripted.on("UID FETCH", lambda request: next(answers)(request), times=3)
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="10")
    worker.wait_for(lambda: len(scripted.journal.commands("UID FETCH")) == 3)

    worker.terminate()
    stays(lambda: worker.returncode is None, "the worker runs", seconds=0.5)
    worker.terminate()
    stopping = Stopwatch()

    assert worker.wait() == 128 + signal.SIGTERM
    assert stopping.stop() < 4, "less than the rest of the grace period"
    wait_until(lambda: value(database, _HELD) == 0, "the release of the lock")
    again = start_worker(SYNC_INTERVAL="1s", FETCH_BATCH="10")
    again.wait_for(lambda: is_healthy(database, account))
    assert live_uids(database, account) == list(range(1, 61))


def test_an_idle_worker_ends_at_once_and_ignores_sighup(
    mailsync: Mailsync, dovecot: Dovecot, database: Database, start_worker: StartWorker
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [mail.message(1)])
    account = add_account(mailsync, dovecot, user)
    worker = start_worker(SYNC_INTERVAL="1h")
    worker.wait_for(lambda: is_healthy(database, account))

    worker.send_signal(signal.SIGHUP)
    stays(lambda: worker.returncode is None, "the worker runs", seconds=0.5)
    worker.terminate()
    stopping = Stopwatch()

    assert worker.wait() == 0
    assert stopping.stop() < 10
    _left_in_order(database)


def test_a_worker_that_waits_for_its_database_stops_in_time_too(
    mailsync: Mailsync, start_worker: StartWorker, postgres_proxy: tuple[Any, str]
) -> None:
    proxy, url = postgres_proxy
    worker = start_worker(SYNC_INTERVAL="1s", DATABASE_URL=url)
    worker.wait_for("Ready")
    proxy.refusing = True
    proxy.reset()
    worker.wait_for("Database lost; reconnecting")

    worker.terminate()
    stopping = Stopwatch()

    assert worker.wait() == 0
    assert stopping.stop() < 10


@pytest.fixture
def notify_socket(tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        yield listener


@pytest.mark.long
def test_systemd_is_told_ready_alive_waiting_and_stopping(
    mailsync: Mailsync,
    scripted: ScriptedServer,
    database: Database,
    start_worker: StartWorker,
    notify_socket: socket.socket,
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    account = add_account(mailsync, scripted, user)
    worker = start_worker(SYNC_INTERVAL="1s", NOTIFY_SOCKET=notify_socket.getsockname())
    assert notify_socket.recv(100) == b"READY=1\nSTATUS=Poll loop running"
    worker.wait_for(lambda: is_healthy(database, account))

    # it is alive while idle, and while it waits for a silent server
    _forget(notify_socket)
    _hear(notify_socket, b"WATCHDOG=1", times=3)
    scripted.on("LIST", Request.hang)
    worker.wait_for(lambda: scripted.journal.commands("LIST")[-1].finished is None)
    _forget(notify_socket)
    _hear(notify_socket, b"WATCHDOG=1", times=3)
    assert scripted.journal.commands("LIST")[-1].finished is None

    # it announces its stop at once, while the server still hangs
    worker.terminate()
    _hear(notify_socket, b"STOPPING=1")
    assert worker.returncode is None
    assert worker.wait() == 0


def _hear(listener: socket.socket, wanted: bytes, times: int = 1) -> None:
    """Wait until that message was sent so often."""
    while times:
        times -= listener.recv(100) == wanted


def _forget(listener: socket.socket) -> None:
    """Skip the messages so far."""
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.recv(100)
    listener.settimeout(PATIENCE)


def _left_in_order(database: Database) -> None:
    assert value(database, _HELD) == 0
    assert value(database, "select count(*) from accounts where currently_syncing") == 0
    assert value(database, "select count(*) from sync_runs where status = 'running'") == 0


def _slowly(seconds: float) -> Callable[[Request], bytes]:
    def answer(request: Request) -> bytes:
        request.delay(seconds)
        return request.default()

    return answer


def _trickle(request: Request) -> bytes:
    for byte in request.default():
        request.send(bytes([byte]))
        request.delay(0.2)
    return b""
