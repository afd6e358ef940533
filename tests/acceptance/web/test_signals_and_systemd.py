"""The API as its process manager sees it: signals, exit codes, systemd; and malformed HTTP."""

from __future__ import annotations

import base64
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from mailsync.cli.supervisor import GRACE
from mailsync.web.resources import MAX_DOWNLOADS, MAX_TURN_ENVIRONMENTS
from tests.acceptance.cli.test_accounts import EMAIL
from tests.acceptance.cli.test_services import is_gone
from tests.acceptance.web.test_downloads import SlowClient
from tests.support import mail, run_directory
from tests.support.api import AUTHORIZED, Answer, Api, StartApi
from tests.support.patience import PATIENCE, Stopwatch, pause
from tests.support.programs import Mailsync, Running
from tests.support.run_directory import wait_until
from tests.support.served_mailboxes import Letterbox, Serve, letterbox, serve

__all__ = ["letterbox", "serve"]

Database = psycopg.Connection[Any]


class WaitingRequest:
    """A request that waits in the database until it is released."""

    def __init__(self, api: Api, database: Database, stack: contextlib.ExitStack) -> None:
        self._locked = stack.enter_context(contextlib.ExitStack())
        self._locked.enter_context(database.transaction())
        database.execute("lock table accounts in access exclusive mode")
        pool = stack.enter_context(ThreadPoolExecutor(1))
        self.answer: Future[Answer] = pool.submit(api.get, "/health", **AUTHORIZED)
        waiting = (
            "select count(*) from pg_locks where not granted and database ="
            " (select oid from pg_database where datname = current_database())"
        )
        wait_until(lambda: database.execute(waiting).fetchone() != (0,), "the request that waits")

    def release(self) -> None:
        """Let the request continue."""
        self._locked.close()


@pytest.fixture
def hold(database: Database) -> Iterator[Callable[[Api], WaitingRequest]]:
    """Start a request that waits: ``hold(api)``."""
    with contextlib.ExitStack() as stack:
        yield lambda api: WaitingRequest(api, database, stack)


def test_a_running_download_completes_during_shutdown(letterbox: Letterbox, serve: Serve) -> None:
    # larger than all socket buffers on the way
    large = base64.encodebytes(random.Random(1).randbytes(12_000_000))
    raw = mail.message(1, attachment=large.replace(b"\n", b"\r\n"))
    api = serve(GUNICORN_CMD_ARGS="--graceful-timeout 60")
    client = SlowClient(api, f"/v1/messages/{letterbox.add(raw)}/raw")
    api.process.terminate()
    api.process.wait_for("Handling signal")
    assert client.rest() == raw
    client.go_away()
    assert api.process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_api_finishes_running_requests_and_then_ends(
    number: signal.Signals, api: Api, hold: Callable[[Api], WaitingRequest]
) -> None:
    waiting = hold(api)
    everybody = psutil.Process(api.process.pid).children(recursive=True)
    for process in (psutil.Process(api.process.pid), *everybody):
        # Ctrl-C in a terminal reaches the workers too
        if number == signal.SIGINT or process.pid == api.process.pid:
            process.send_signal(number)
    api.process.wait_for("Handling signal")
    assert api.process.returncode is None
    waiting.release()
    assert waiting.answer.result(PATIENCE).status == 200
    assert api.process.wait() == 0
    assert all(is_gone(process.pid) for process in everybody)


def test_an_endless_request_delays_the_end_by_less_than_ten_seconds(
    start_api: StartApi, hold: Callable[[Api], WaitingRequest]
) -> None:
    api = start_api(GUNICORN_CMD_ARGS="--graceful-timeout 2")
    waiting = hold(api)
    api.process.terminate()
    begun = Stopwatch()
    assert api.process.wait() == 0
    assert begun.stop() < 10
    waiting.release()
    # its statement was cancelled, which leaves time for an answer unless the machine is slow
    with contextlib.suppress(OSError):
        assert waiting.answer.result(PATIENCE).status == 504


def test_the_graceful_timeout_fits_into_ten_seconds(mailsync: Mailsync) -> None:
    code = (
        "import mailsync.web.gunicorn_conf as c; print(c.graceful_timeout, c.timeout, c.threads, c.keepalive)"
    )
    running = Running([sys.executable, "-c", code], dict(mailsync.environment), mailsync.directory)
    mailsync.running.append(running)
    assert running.wait() == 0
    grace, timeout, threads, keepalive = map(int, running.lines[0].split())
    assert grace < GRACE
    assert timeout > 0
    # leaves threads for health checks
    assert threads > MAX_TURN_ENVIRONMENTS + MAX_DOWNLOADS
    # the proxy should close idle connections first
    assert keepalive > 60


def test_a_second_signal_ends_the_api_at_once_with_all_of_its_processes(
    start_api: StartApi, hold: Callable[[Api], WaitingRequest]
) -> None:
    api = start_api(WEB_CONCURRENCY="2")
    waiting = hold(api)
    everybody = psutil.Process(api.process.pid).children(recursive=True)
    assert len(everybody) == 2
    api.process.terminate()
    api.process.wait_for("Handling signal")
    api.process.terminate()
    begun = Stopwatch()
    assert api.process.wait() == 128 + signal.SIGTERM
    assert begun.stop() < 5
    waiting.release()
    wait_until(lambda: all(is_gone(process.pid) for process in everybody), "the end of the workers")


def test_a_second_signal_ends_start_and_its_children_at_once(
    mailsync: Mailsync, database: Database, hold: Callable[[Api], WaitingRequest]
) -> None:
    mailsync(
        "add-account", EMAIL, "--host", "localhost", "--no-verify", "--password-stdin", input="any-pass\n"
    )
    mailsync("pause-account", EMAIL)
    port = run_directory.free_port()
    running = mailsync.start("start", PORT=str(port))
    running.wait_for("Poll loop running")
    running.wait_for("Ready to serve")
    waiting = hold(Api(port, running))
    everybody = psutil.Process(running.pid).children(recursive=True)
    assert len(everybody) == 3
    running.terminate()
    running.wait_for("Handling signal")
    running.send_signal(signal.SIGINT)
    begun = Stopwatch()
    assert running.wait() == 130
    assert begun.stop() < 5
    waiting.release()
    wait_until(lambda: all(is_gone(process.pid) for process in everybody), "the end of all processes")


def test_sighup_replaces_the_workers_without_losing_a_request(start_api: StartApi) -> None:
    api = start_api(WEB_CONCURRENCY="2")
    master = psutil.Process(api.process.pid)
    old = {child.pid for child in master.children()}
    done = False

    def ask() -> list[int]:
        statuses = []
        while not done:
            statuses.append(api.get("/health/live").status)
        return statuses

    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(ask) for _ in range(4)]
        api.process.send_signal(signal.SIGHUP)
        try:
            wait_until(
                lambda: len(master.children()) == 2 and not old & {c.pid for c in master.children()},
                "new workers",
            )
        finally:
            done = True
        statuses = [status for answers in asking for status in answers.result(PATIENCE)]
    assert len(statuses) > 8
    assert set(statuses) == {200}
    api.process.terminate()
    assert api.process.wait() == 0


def test_a_request_may_take_longer_than_the_worker_timeout(
    start_api: StartApi, hold: Callable[[Api], WaitingRequest]
) -> None:
    api = start_api(GUNICORN_CMD_ARGS="--timeout 1")
    waiting = hold(api)
    pause(2.5, "the request takes longer than the timeout of a second")
    waiting.release()
    assert waiting.answer.result(PATIENCE).status == 200
    assert "WORKER TIMEOUT" not in api.process.output


# -- systemd ---------------------------------------------------------------------------------------------


class Systemd:
    """The messages that arrive at systemd's socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def hear(self, timeout: float = PATIENCE) -> str:
        """The next message; raises TimeoutError."""
        self._socket.settimeout(timeout)
        return self._socket.recv(200).decode()

    def silence(self) -> None:
        """Wait for a second without a message."""
        with contextlib.suppress(TimeoutError):
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                self.hear(1.0)
            raise AssertionError("systemd still receives messages")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    # the path of a test's own directory is too long for a socket
    listener = Systemd(run_directory.current() / f"notify-{os.getpid()}-{time.monotonic_ns()}")
    yield listener
    listener.close()


def test_systemd_is_notified_while_a_worker_answers(start_api: StartApi, systemd: Systemd) -> None:
    api = start_api(wait=False, NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC="2000000")
    assert systemd.hear().splitlines() == ["READY=1", "STATUS=A worker answers requests"]
    assert api.get("/health/live").status == 200
    assert [systemd.hear(), systemd.hear()] == ["WATCHDOG=1", "WATCHDOG=1"]

    # the master runs and its port accepts connections, but nobody answers
    (worker,) = psutil.Process(api.process.pid).children()
    worker.suspend()
    systemd.silence()
    assert api.process.returncode is None
    worker.resume()
    assert systemd.hear() == "WATCHDOG=1"

    # gunicorn replaces a worker that dies, so the service continues
    worker.kill()
    wait_until(lambda: is_gone(worker.pid), "the end of the worker")
    api.process.wait_for(lambda: psutil.Process(api.process.pid).children())
    api.process.wait_for(lambda: api.process.output.count("Booting worker") == 2)
    assert systemd.hear() == "WATCHDOG=1"

    api.process.terminate()
    assert api.process.wait() == 0
    heard = ""
    while heard != "STOPPING=1":
        heard = systemd.hear()
        assert heard in ("WATCHDOG=1", "STOPPING=1")
    systemd.silence()


def test_without_a_watchdog_systemd_is_only_told_ready(start_api: StartApi, systemd: Systemd) -> None:
    api = start_api(wait=False, NOTIFY_SOCKET=str(systemd.path))
    assert systemd.hear().startswith("READY=1\n")
    systemd.silence()
    asked = [record for record in api.process.records() if "/health/live" in record["message"]]
    assert not asked
    api.process.terminate()
    assert api.process.wait() == 0


def test_an_api_without_working_workers_is_not_reported_ready(start_api: StartApi, systemd: Systemd) -> None:
    api = start_api(wait=False, NOTIFY_SOCKET=str(systemd.path), GUNICORN_CMD_ARGS="--workers 0")
    api.process.wait_for("Listening at")
    with pytest.raises(TimeoutError):
        systemd.hear(2.0)


@pytest.mark.needs("systemd-socket-activate")
def test_a_port_that_systemd_has_opened_is_used(mailsync: Mailsync) -> None:
    port, other = run_directory.free_port(), run_directory.free_port()
    command = ["systemd-socket-activate", "-l", f"127.0.0.1:{port}"]
    for name, given in (mailsync.environment | {"PORT": str(other)}).items():
        command += ["-E", f"{name}={given}"]
    # anybody who can read this command line can read the environment too
    running = Running(
        [*command, sys.executable, "-m", "mailsync", "api"], dict(os.environ), mailsync.directory
    )
    mailsync.running.append(running)
    running.wait_for("Listening on")
    # the first connection starts the API, which answers it
    assert Api(port, running).get("/health/live").status == 200
    running.wait_for(f"[api] ✓ Ready -> http://localhost:{port}")
    with pytest.raises(ConnectionRefusedError):
        Api(other, running).get("/health/live")
    running.terminate()
    assert running.wait() == 0


def test_sockets_that_systemd_passed_to_another_process_are_ignored(mailsync: Mailsync) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = mailsync("api", env={"PORT": port, "LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert done.returncode == 2
    assert "Address already in use" in done.stderr


# -- malformed HTTP ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n", 431, "headers_too_large"),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 9000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: odd\r\n\r\n", 501, "not_implemented"),
        (b"GET / HTTP/1.1\r\n<script>alert(1)</script>: b\r\n\r\n", 400, "bad_request"),
    ],
)
def test_malformed_requests_get_a_problem_document_too(sent: bytes, status: int, code: str, api: Api) -> None:
    answer = _talk(api.port, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert b"script" not in answer
    document = Answer(status, {}, body).json()  # type: ignore[arg-type]
    assert (document["status"], document["code"], document["type"]) == (status, code, "about:blank")
    assert document["request_id"].encode() in head
    api.process.wait_for(document["request_id"])
    assert all(line.startswith("{") for line in api.process.lines), api.process.output


def _talk(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        answer = b""
        # the server resets the connection if it has not read everything
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
        return answer
