"""``status`` and ``status --watch``: all accounts at once, until Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import psycopg
import pytest

from mailsync.cli.commands.status import read_overview
from mailsync.cli.terminal import width
from mailsync.store import db
from tests.support import run_directory
from tests.support.commands import Terminal
from tests.support.programs import Mailsync
from tests.support.proxy import Proxy
from tests.support.statements import counted
from tests.support.stored import settings_for

_ADD = (
    "insert into accounts (email, imap_host, imap_port, imap_security, username, sync_state,"
    " sync_state_reason, sync_state_message, healthy_until)"
    " values (%s, 'mail.example.test', 993, 'tls', 'u', %s, %s, %s, now() + interval '1 hour') returning id"
)


def account(
    database: psycopg.Connection[Any],
    email: str,
    state: str = "healthy",
    reason: str | None = None,
    message: str | None = None,
) -> int:
    row = database.execute(_ADD, [email, state, reason, message]).fetchone()
    assert row
    return int(row[0])


def worker(database: psycopg.Connection[Any], name: str, age: float) -> None:
    database.execute(
        "insert into workers (worker, version, heartbeat_at)"
        " values (%s, '1', now() - make_interval(secs => %s))",
        [name, age],
    )


def test_how_the_server_reports_changes_is_shown(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    notified, told_of_inbox, _ = (account(database, f"{name}@example.test") for name in "abc")
    park = "update accounts set parked_by = 'one:1:worker', parked_kind = %s where id = %s"
    database.execute(park, ["notify", notified])
    database.execute(park, ["idle", told_of_inbox])
    lines = mailsync("status", env={"COLUMNS": "120"}).stdout.splitlines()
    assert lines[0].split()[4] == "PUSH"
    assert [line.split()[4] for line in lines[1:4]] == ["notify", "idle", "-"]
    for command in ("status", "list-accounts"):
        shown = mailsync(command, "--json").json()["accounts"]
        assert [status["push"] for status in shown] == ["notify", "idle", "none"]
    for name, words in (("a", "in all folders (NOTIFY)"), ("b", "in the inbox (IDLE)"), ("c", "nothing")):
        checks = mailsync("check-account", f"{name}@example.test").stdout.splitlines()
        (line,) = (line for line in checks if line.startswith("reported"))
        assert words in line
    mailsync("pause-account", "a@example.test")
    assert mailsync("status", "--json").json()["accounts"][0]["push"] == "none"


def test_states_progress_errors_and_workers_are_shown(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    account(database, "ann@example.test")
    filling = account(database, "bob@example.test", "initial_sync")
    account(database, "eve@example.test", "degraded", "unreachable", "no route to \x1b[31mhost")
    database.execute(
        "update accounts set consecutive_failures = 3, backoff_until = now() + interval '299 s'"
        " where email = 'eve@example.test'"
    )
    database.execute(
        "insert into folders (account_id, wire_name, path, status, server_messages, live_count)"
        " values (%s, 'INBOX', 'INBOX', 'initial', 1000, 400)",
        [filling],
    )
    worker(database, "one:1:worker", 5)
    worker(database, "two:2:worker", 500)
    done = mailsync("status", env={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ACCOUNT", "STATE", "LAG", "OVERALL", "FOLDERS", "MESSAGES", "TO-GO"]
    assert lines[2].split() == ["bob@example.test", "initial_sync", "-", "-", "0/1", "400", "600"]
    failed = "  eve@example.test: no route to �[31mhost (3 failures, tried again in 5min)"
    assert failed in lines
    assert "3 accounts: 1 healthy, 1 initial_sync, 1 degraded" in lines
    assert lines[-2].startswith("worker one:1:worker: heartbeat ")
    assert lines[-2].endswith("s ago")
    assert lines[-1] == "worker two:2:worker: heartbeat 8min ago (stale)"
    document = mailsync("status", "--json").json()
    assert {worker["worker"]: worker["stale"] for worker in document["workers"]} == {
        "one:1:worker": False,
        "two:2:worker": True,
    }
    database.execute("delete from workers where worker like 'one%'")
    assert "no worker is alive; start one with `mailsync worker`" in mailsync("status").stdout


def test_many_accounts_fit_and_cost_the_same_statements(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    database.execute(
        "insert into accounts (email, imap_host, imap_port, imap_security, username) select"
        " 'somebody.with.a.long.address.' || n || '@department.example.test', 'h', 993, 'tls', 'u'"
        " from generate_series(1, 200) n"
    )
    database.execute(
        "insert into folders (account_id, wire_name, path, live_count)"
        " select a.id, ('f' || n)::bytea, 'f' || n, 1234567 from accounts a, generate_series(1, 20) n"
    )
    database.execute(
        "update accounts set sync_state = 'degraded', sync_state_reason = 'uidvalidity_reset_limit'"
        " where id % 2 = 0"
    )
    done = mailsync("status", env={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert len(lines) == 203
    assert max(map(width, lines)) <= 80
    assert lines[-2] == "200 accounts: 100 initial_sync, 100 degraded"
    settings = settings_for(mailsync.environment["DATABASE_URL"] or "")
    with db.connect(settings, "test") as conn, counted(conn) as sent:
        overview = read_overview(conn)
    assert len(overview.accounts) == 200
    assert len(sent) == 3


def test_a_pipe_gets_blocks_without_escapes_until_ctrl_c(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    account(database, "ann@example.test")
    watching = mailsync.start("status", "--watch", "--interval", "0.2")
    watching.wait_for(lambda: watching.output.count("ann@example.test") >= 2)
    database.execute("update accounts set paused_at = now(), paused_reason = 'moving'")
    watching.wait_for("paused (moving)")
    watching.send_signal(signal.SIGINT)
    assert watching.wait() == 0
    assert "\x1b" not in watching.output
    assert "Traceback" not in watching.output
    block = watching.output.split("\n\n")[0].splitlines()
    assert block[0].endswith("Z")
    assert block[1].startswith("ACCOUNT")
    assert block[-1] == "no worker is running; start one with `mailsync worker`"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_with_json_each_look_is_one_document_on_its_line(
    mailsync: Mailsync, database: psycopg.Connection[Any], number: signal.Signals
) -> None:
    account(database, "ann@example.test")
    watching = mailsync.start("status", "--watch", "--json", "--interval", "0.2")
    watching.wait_for(lambda: len(watching.lines) >= 3)
    watching.send_signal(number)
    assert watching.wait() == 0
    documents = [json.loads(line) for line in watching.lines]
    assert [d["accounts"][0]["email"] for d in documents[:3]] == ["ann@example.test"] * 3
    assert documents[0]["at"] < documents[1]["at"] < documents[2]["at"]


def test_a_database_that_goes_away_is_reported_and_waited_for(
    mailsync: Mailsync, database: psycopg.Connection[Any], postgres_proxy: tuple[Proxy, str]
) -> None:
    account(database, "ann@example.test")
    proxy, url = postgres_proxy
    watching = mailsync.start("status", "--watch", "--interval", "0.2", DATABASE_URL=url)
    watching.wait_for("ann@example.test")
    proxy.refusing = True
    proxy.reset()
    watching.wait_for("cannot read the database: ")
    assert "Traceback" not in watching.output
    database.execute("update accounts set paused_at = now(), paused_reason = 'later'")
    proxy.refusing = False
    watching.wait_for("paused (later)")
    watching.send_signal(signal.SIGINT)
    assert watching.wait() == 0


def test_a_backend_that_is_terminated_costs_one_line(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    account(database, "ann@example.test")
    watching = mailsync.start("status", "--watch", "--json", "--interval", "0.2")
    watching.wait_for(lambda: len(watching.lines) >= 1)
    database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'mailsync-cli' and datname = current_database()"
    )
    watching.wait_for("cannot read the database")
    before = len(watching.lines)
    watching.wait_for(lambda: len(watching.lines) >= before + 2)
    wrong = [line for line in watching.lines if not line.startswith("{")]
    assert len(wrong) == 1
    assert wrong[0].startswith("mailsync: cannot read the database: ")


def test_an_error_of_the_first_look_is_the_commands_error(mailsync: Mailsync) -> None:
    url = f"postgresql://nobody@127.0.0.1:{run_directory.free_port()}/none"
    done = mailsync("status", "--watch", env={"DATABASE_URL": url})
    assert done.returncode == 1
    assert done.stderr.startswith("mailsync: cannot connect to Postgres: ")
    assert mailsync("status", "--interval", "3").returncode == 2
    assert mailsync("status", "--watch", "--interval", "0").returncode == 2


def test_a_terminal_is_redrawn_within_its_size_and_left_in_order(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    for number in range(30):
        account(database, f"user{number}@example.test")
    account(database, "wrong@example.test", "broken", "auth_failed", "LOGIN failed " + "x" * 200)
    with Terminal.running(mailsync, 12, 70, "status", "--watch", "--interval", "0.2") as terminal:
        terminal.read_until("\x1b[J", times=3)
        os.write(terminal.descriptor, b"\x03")
        assert terminal.end() == 0
    pictures = terminal.output.split("\x1b[H")[1:]
    assert terminal.output.count("\x1b[2J") == 1
    lines = [line.removesuffix("\x1b[K") for line in pictures[1].partition("\x1b[J")[0].splitlines()]
    assert len(lines) <= 12
    assert max(map(width, lines)) <= 70
    # Accounts in trouble come first if not all fit, and the lines left out are counted.
    assert lines[2].startswith("wrong@example")
    assert any(line.startswith("  wrong@example.test: LOGIN failed…") for line in lines)
    assert any("more lines: enlarge the terminal, or leave out --watch" in line for line in lines)
    assert "31 accounts: 30 healthy, 1 broken" in lines
    assert terminal.output.endswith("\r\n")


def test_a_dumb_terminal_gets_blocks(mailsync: Mailsync, database: psycopg.Connection[Any]) -> None:
    account(database, "ann@example.test")
    arguments = ("status", "--watch", "--interval", "0.2")
    with Terminal.running(mailsync, 24, 80, *arguments, term="dumb") as terminal:
        terminal.read_until("ann@example.test", times=2)
        os.write(terminal.descriptor, b"\x03")
        assert terminal.end() == 0
    assert "\x1b" not in terminal.output
