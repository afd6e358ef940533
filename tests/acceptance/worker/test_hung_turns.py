"""A mail server whose answer hangs a turn: the worker ends itself, and then skips the account."""

from __future__ import annotations

import http.client
import re
import signal
import sys
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
import pytest

from tests.acceptance.cli.test_services import wait_for_both
from tests.support import mail, run_directory
from tests.support.api import AUTHORIZED, Api
from tests.support.hanging import WORD
from tests.support.mailboxes import Account
from tests.support.mirrors import add_account, is_healthy, live_uids, value
from tests.support.patience import Stopwatch
from tests.support.programs import Mailsync, Running
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

Database = psycopg.Connection[Any]
StartHanging = Callable[..., Running]

LIMITS = {"STATEMENT_TIMEOUT": "3s", "IMAP_READ_TIMEOUT": "3s"}
STATE = "select sync_state_reason from account_status where account_id = %s"
LOST = "select lost_turns from accounts where id = %s"


@pytest.fixture
def start_hanging(mailsync: Mailsync) -> StartHanging:
    """Start a service that hangs when a server sends the word; see tests/support/hanging.py."""

    def start(*args: str, **env: str) -> Running:
        command = [sys.executable, "-m", "tests.support.hanging", *args]
        running = Running(command, mailsync.environment | env, mailsync.directory)
        mailsync.running.append(running)
        return running

    return start


def endless(request: Request) -> bytes:
    return b"* OK " + WORD + b"\r\n" + request.default()


@pytest.mark.long
def test_a_worker_that_hangs_in_an_account_ends_itself_and_skips_it_after_the_third_time(
    mailsync: Mailsync,
    scripted: ScriptedServer,
    scripted_with: Callable[..., ScriptedServer],
    database: Database,
    start_hanging: StartHanging,
) -> None:
    hostile = scripted_with()
    bad = hostile.new_user("bad@hostile.test")
    bad.folder("INBOX").add(mail.message(1))
    poisoned = add_account(mailsync, hostile, bad)
    users, accounts = [], []
    for _ in range(2):
        users.append(scripted.new_user())
        users[-1].folder("INBOX").add(mail.message(1))
        accounts.append(add_account(mailsync, scripted, users[-1]))
    hostile.on("UID FETCH", endless)

    deaths = 0
    worker = start_hanging("worker", SYNC_INTERVAL="1s", **LIMITS)
    while value(database, STATE, poisoned) != "poisonous_server":
        wait_until(
            lambda worker=worker: (
                worker.returncode is not None or value(database, STATE, poisoned) == "poisonous_server"
            ),
            "the end of the worker, or what it finds",
        )
        if worker.returncode is not None:
            assert worker.returncode == -signal.SIGALRM, worker.output
            worker.wait()
            assert "most recent call first" in worker.output
            assert " in endless_response\n" in worker.output
            deaths += 1
            worker = start_hanging("worker", SYNC_INTERVAL="1s", **LIMITS)

    assert deaths >= 3
    message = value(database, "select sync_state_message from accounts where id = %s", poisoned)
    assert re.fullmatch(
        r"the last \d backfill turns of this account ended with their process;"
        r" the last step was UID FETCH in folder INBOX",
        message,
    )
    checked = mailsync("check-account", bad.name)
    assert message in " ".join(checked.stdout.split())
    assert "stack" in checked.stdout
    # the worker that found it continues with the other accounts
    for user, account in zip(users, accounts, strict=True):
        user.folder("INBOX").add(mail.message(2))
        worker.wait_for(lambda account=account: live_uids(database, account) == [1, 2])
        worker.wait_for(lambda account=account: is_healthy(database, account))
    worker.terminate()
    assert worker.wait() == 0

    hostile.off("UID FETCH")
    synced = mailsync("sync", bad.name)
    assert synced.returncode == 0, synced
    assert message in synced.stderr
    assert is_healthy(database, poisoned)
    assert value(database, LOST, poisoned) == {}


@pytest.mark.long
def test_a_worker_that_takes_over_from_a_stale_holder_does_not_hang_too(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_hanging: StartHanging
) -> None:
    """Takes a little over 30 s, the smallest LOCK_STALE_AFTER."""
    bad, good = scripted.new_user(), scripted.new_user()
    for user in (bad, good):
        user.folder("INBOX").add(mail.message(1))
    poisoned, other = add_account(mailsync, scripted, bad), add_account(mailsync, scripted, good)
    scripted.on("UID FETCH", _for(bad))

    def pulled_in() -> Running:
        asked = _asked(scripted, bad)
        worker = start_hanging("worker", SYNC_INTERVAL="1s", STATEMENT_TIMEOUT="20s", LOCK_STALE_AFTER="30s")
        worker.wait_for(lambda: _asked(scripted, bad) > asked)
        return worker

    for _ in range(2):
        pulled_in().kill9()
        wait_until(lambda: not value(database, "select count(*) from account_locks"), "the lock to be free")
    hung = pulled_in()
    asked = _asked(scripted, bad)
    second = start_hanging("worker", SYNC_INTERVAL="1s", STATEMENT_TIMEOUT="20s", LOCK_STALE_AFTER="30s")
    second.wait_for(lambda: is_healthy(database, other))
    second.wait_for("Ended a stale lock holder")
    second.wait_for(lambda: value(database, STATE, poisoned) == "poisonous_server")
    assert _asked(scripted, bad) == asked
    good.folder("INBOX").add(mail.message(2))
    second.wait_for(lambda: live_uids(database, other) == [1, 2])
    assert hung.returncode is None or hung.returncode == -signal.SIGALRM


def test_two_kills_during_turns_leave_an_account_healthy(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database
) -> None:
    user = scripted.new_user()
    for number in range(20):
        user.folder("INBOX").add(mail.message(number))
    account = add_account(mailsync, scripted, user)
    for command in ("LIST", "UID FETCH"):
        scripted.on(command, Request.hang, times=1)
        before = len(scripted.journal.commands(command))
        worker = mailsync.start("worker", SYNC_INTERVAL="1s")
        worker.wait_for(lambda c=command, n=before: len(scripted.journal.commands(c)) > n)
        worker.kill9()
    worker = mailsync.start("worker", SYNC_INTERVAL="1s")
    worker.wait_for(lambda: is_healthy(database, account))
    worker.wait_for(lambda: value(database, LOST, account) == {})
    reasons = database.execute("select data ->> 'new_reason' from sync_events where data ? 'new_reason'")
    assert "poisonous_server" not in {row[0] for row in reasons}


@pytest.mark.long
def test_start_restarts_a_worker_that_its_watchdog_ended(mailsync: Mailsync) -> None:
    running = mailsync.start("start", PORT=str(run_directory.free_port()))
    wait_for_both(running)
    worker = _worker_of(running)
    worker.send_signal(signal.SIGALRM)
    running.wait_for("its watchdog ended it; starting it again")
    running.wait_for(lambda: running.output.count("[worker] ✓ Ready") == 2)
    assert _worker_of(running).pid != worker.pid
    assert any(line.startswith("[worker] ") and "most recent call first" in line for line in running.lines)
    assert sum("[api] ✓ Ready" in line for line in running.lines) == 1
    running.terminate()
    assert running.wait() == 0


@pytest.mark.long
def test_an_api_process_that_hangs_in_a_body_is_replaced_and_counts_against_the_account(
    mailsync: Mailsync, scripted: ScriptedServer, database: Database, start_hanging: StartHanging
) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    account = add_account(mailsync, scripted, user)
    assert mailsync("sync", user.name).returncode == 0
    message_id = value(database, "select id from messages")
    port = run_directory.free_port()
    # gunicorn's own timeout, 60 s by default
    running = start_hanging("api", PORT=str(port), LOG_FORMAT="json", GUNICORN_CMD_ARGS="--timeout 5")
    api = Api(port, running)
    started = lambda: len(re.findall("Ready to serve|Not ready: ", running.output))  # noqa: E731
    running.wait_for(lambda: started() == 1)
    scripted.on("UID FETCH", endless)

    for count in range(1, 4):
        wait_until(lambda: _is_cut_off(api, message_id), "a request whose process ends")
        running.wait_for(lambda count=count: started() > count)
        assert api.get("/health/live").status == 200
    assert "endless_response" in running.output
    asked = len(scripted.journal.commands())
    for _ in range(2):
        refused = api.call("GET", f"/v1/messages/{message_id}/body")
        assert (refused.status, refused.json()["code"]) == (503, "poisonous_server")
        assert 1 <= int(refused.headers["Retry-After"]) <= 40
    assert len(scripted.journal.commands()) == asked
    unhealthy = api.request("GET", "/health", AUTHORIZED).json()["unhealthy"]["accounts"]
    assert [each["reason"] for each in unhealthy] == ["poisonous_server"]
    assert value(database, LOST, account) == {"body": 3}


def test_a_stop_does_not_trigger_the_watchdog(mailsync: Mailsync, scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    user.folder("INBOX").add(mail.message(1))
    scripted.on("UID FETCH", Request.hang, times=1)
    add_account(mailsync, scripted, user)
    worker = mailsync.start("worker", SYNC_INTERVAL="1s", STATEMENT_TIMEOUT="1s", IMAP_READ_TIMEOUT="1s")
    worker.wait_for(lambda: scripted.journal.commands("UID FETCH"))
    asked = Stopwatch()
    worker.terminate()
    assert worker.wait() == 0
    assert asked.stop() < 10


def _for(user: Account) -> Callable[[Request], bytes]:
    """The endless answer, for one of the users of a server."""
    return lambda request: endless(request) if request.account is user else request.default()


def _asked(server: ScriptedServer, user: Account) -> int:
    return len(server.journal.commands("UID FETCH", user.name))


def _is_cut_off(api: Api, message_id: int) -> bool:
    """Ask for a body; returns whether the process ended instead of answering."""
    try:
        answer = api.call("GET", f"/v1/messages/{message_id}/body")
    except (http.client.HTTPException, ConnectionError):
        return True
    # the commands that a lost turn had reserved become available again after a while
    assert answer.json()["code"] == "busy", answer
    return False


def _worker_of(running: Running) -> psutil.Process:
    (worker,) = (each for each in run_directory.family(running.pid) if each.cmdline()[-1] == "worker")
    return worker
