"""``worker``, ``api``, ``start`` and ``dev``: their output at the start, and how they end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import tempfile
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from mailsync.cli.embedded.postgres import runtime_directory
from mailsync.cli.embedded.user import HOME
from tests.support import planted, run_directory
from tests.support.commands import EMAIL, add
from tests.support.dovecot import Dovecot
from tests.support.mail import message
from tests.support.patience import Stopwatch
from tests.support.programs import Mailsync, Running

ARGS = ("--host", "localhost", "--no-verify", "--password-stdin")


def test_the_worker_prints_its_checks_and_that_it_is_ready(mailsync: Mailsync) -> None:
    mailsync("add-account", EMAIL, *ARGS, input="any-password\n")
    mailsync("pause-account", EMAIL)
    running = mailsync.start("worker")
    running.wait_for("Ready ->")
    running.terminate()
    assert running.wait() == 0
    asked, ended = running.records()[-2:]
    assert (asked["message"], asked["level"], asked["signal"]) == ("Asked to stop", "INFO", "SIGTERM")
    assert (ended["message"], ended["level"], ended["signal"]) == ("Stopped", "INFO", "SIGTERM")
    assert ended["duration_ms"] >= 0
    assert [line for line in running.lines if line.startswith("[worker]")] == [
        "[worker] ✓ Database connected",
        "[worker] ✓ Lock self-test passed",
        "[worker] ✓ Accounts: 1/20",
        "[worker] ✓ Ready -> Poll loop running (60s interval)",
    ]


def test_one_pass_of_the_worker_syncs_and_ends(
    mailsync: Mailsync, dovecot: Dovecot, database: psycopg.Connection[Any]
) -> None:
    user = dovecot.new_user()
    dovecot.seed(user, "INBOX", [message(n) for n in range(20)])
    add(mailsync, dovecot, user)
    done = mailsync("worker", "--once")
    assert done.returncode == 0
    assert database.execute("select count(*) from messages").fetchone() == (20,)


def test_the_worker_does_not_start_with_more_accounts_than_allowed(mailsync: Mailsync) -> None:
    for name in ("ann", "bob"):
        mailsync("add-account", f"{name}@example.test", *ARGS, input="any-password\n")
    done = mailsync("worker", env={"SYNC_MAX_ACCOUNTS": "1"})
    assert done.returncode == 1
    assert "[worker] ✗ Accounts: 2 accounts exist and SYNC_MAX_ACCOUNTS is 1" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("mailsync: 2 accounts exist")


def test_the_worker_does_not_start_with_a_wrong_key_and_says_so_once(mailsync: Mailsync) -> None:
    mailsync("add-account", EMAIL, *ARGS, input="any-password\n")
    other = planted.keep(b64encode(b"a key that opens nothing, 32 b..").decode())
    done = mailsync("worker", env={"IMAP_ENCRYPTION_KEY": other})
    assert done.returncode == 1
    assert (
        "[worker] ✗ Key: IMAP_ENCRYPTION_KEY does not open the passwords or tokens of 1 of 1 account"
        in done.stdout
    )


def test_no_service_starts_without_the_schema(mailsync: Mailsync, empty_database_url: str) -> None:
    for name in ("worker", "api"):
        done = mailsync(name, env={"DATABASE_URL": empty_database_url})
        assert done.returncode == 1
        assert f"[{name}] ✗ Schema: " in done.stdout
        assert "run `mailsync migrate`" in done.stderr


def test_no_service_starts_on_a_schema_that_would_make_the_mirror_wrong(
    mailsync: Mailsync, database: psycopg.Connection
) -> None:
    database.execute("alter table folders drop constraint folders_wire_name_account_id_key")
    problem = "the database's schema is not the one that the migrations make"
    difference = "constraint folders_wire_name_account_id_key of folders is missing"
    for name in ("worker", "api"):
        done = mailsync(name)
        assert done.returncode == 1
        assert f"[{name}] ✗ Schema: {problem} ({difference}); `mailsync preflight`" in done.stdout
        assert f"mailsync: {problem}" in done.stderr


def test_a_service_starts_without_an_index_and_warns_once(
    mailsync: Mailsync, database: psycopg.Connection
) -> None:
    database.execute("drop index messages_newest")
    done = mailsync("worker", "--once")
    assert done.returncode == 0
    (warning,) = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert "Schema: index messages_newest is missing; create index concurrently" in warning


def test_the_worker_waits_for_a_database_that_is_not_there_yet(
    mailsync: Mailsync, postgres_proxy: tuple[Any, str]
) -> None:
    proxy, url = postgres_proxy
    proxy.refusing = True
    running = mailsync.start("worker", DATABASE_URL=url)
    running.wait_for(lambda: proxy.refused >= 2)
    proxy.refusing = False
    running.wait_for("[worker] ✓ Ready")
    running.terminate()
    assert running.wait() == 0
    assert "Database lost" not in running.output
    assert running.output.count("Database not reached") == 1
    shown = [line for line in running.lines if line.startswith("[worker]")]
    assert shown[0].startswith("[worker] ✗ Database: cannot connect to Postgres")
    assert shown[1] == "[worker] ✓ Database connected"
    assert "Database connected again" not in running.output
    assert running.wait() == 0
    assert mailsync("worker", "--once", env={"DATABASE_URL": "postgresql://u@127.0.0.1:9/x"}).returncode == 1


def test_the_api_says_where_it_listens(mailsync: Mailsync) -> None:
    port = run_directory.free_port()
    running = mailsync.start("api", PORT=str(port))
    running.wait_for("Booting worker")
    assert [line for line in running.lines if line.startswith("[api]")] == [
        "[api] ✓ Database connected",
        "[api] ✓ Lock self-test passed",
        "[api] ✓ Accounts: 0/20",
        f"[api] ✓ Ready -> http://localhost:{port}",
    ]
    wait_until_ready(port)
    running.terminate()
    assert running.wait() == 0


@pytest.mark.parametrize("command", ["api", "dev", "start"])
def test_a_port_in_use_is_one_line_and_code_2(mailsync: Mailsync, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = mailsync(command, env={"PORT": port})
        odd = mailsync(command, env={"HOST": "nowhere.invalid"})
    assert done.returncode == 2, done
    assert done.stderr == (
        f"mailsync: PORT: 127.0.0.1:{port} cannot be opened: Address already in use;"
        " stop the program that uses it, or set PORT to another one\n"
    )
    assert odd.returncode == 2, odd
    assert odd.stderr.startswith("mailsync: PORT: nowhere.invalid:3000 cannot be opened: ")


def test_the_api_does_not_start_without_a_token(mailsync: Mailsync) -> None:
    done = mailsync("api", env={"API_TOKEN": None})
    assert done.returncode == 2
    assert done.stderr.startswith("mailsync: API_TOKEN: not set")


def test_start_notes_that_there_is_no_account_and_runs_both(mailsync: Mailsync) -> None:
    port = run_directory.free_port()
    mailsync.environment["PORT"] = str(port)
    running = mailsync.start("start")
    wait_for_both(running)
    wait_until_ready(port)
    children = psutil.Process(running.pid).children()
    assert len(children) == 2
    begun = Stopwatch()
    running.send_signal(signal.SIGTERM)
    assert running.wait() == 0
    assert begun.stop() < 30
    assert not any(child.is_running() for child in children)
    assert "– No account yet; add one with `mailsync add-account`" in running.lines
    assert all(line.startswith(("[api] ", "[worker] ", "✓ ", "– ")) for line in running.lines), running.output


def test_start_names_everything_that_is_wrong_and_ends_with_code_2(mailsync: Mailsync) -> None:
    done = mailsync("start", env={"API_TOKEN": None, "SYNC_INTERVAL": "0", "IMAP_ENCRYPTION_KEY": None})
    assert done.returncode == 2
    wrong = [line for line in done.stdout.splitlines() if line.startswith("✗ Environment: ")]
    assert [line.split(": ")[1] for line in wrong] == ["IMAP_ENCRYPTION_KEY", "API_TOKEN", "SYNC_INTERVAL"]
    assert done.stderr.startswith("mailsync: IMAP_ENCRYPTION_KEY: not set")


@pytest.mark.parametrize("victim", ["api", "worker"])
def test_when_one_of_both_dies_the_other_is_ended_and_the_code_says_so(
    mailsync: Mailsync, victim: str
) -> None:
    running = mailsync.start("dev", "--skip-preflight", PORT=str(run_directory.free_port()))
    wait_for_both(running)
    children = psutil.Process(running.pid).children()
    (dying,) = [child for child in children if child.cmdline()[-1:] == [victim]]
    dying.kill()
    assert running.wait() == 1
    assert f"mailsync: {victim} ended with signal 9, so the other was ended too" in running.output
    assert not any(child.is_running() for child in children)


def test_dev_brings_its_own_postgres_key_and_token(tmp_path: Path, mailsync: Mailsync) -> None:
    home = mailsync.directory / "project"
    home.mkdir()
    own: dict[str, str | None] = {"DATABASE_URL": None, "IMAP_ENCRYPTION_KEY": None, "API_TOKEN": None}
    environment = {name: value for name, value in mailsync.environment.items() if name not in own}
    port = run_directory.free_port()
    mailsync.directory, mailsync.environment = home, environment | {"PORT": str(port)}
    outside = runtime_directory(home / ".mailsync")
    # The socket is elsewhere, because a test's path is too long, and root's sockets are below /var/lib.
    assert outside.parent == (HOME if os.geteuid() == 0 else Path(tempfile.gettempdir()))
    secrets: set[str] = set()
    # A closed terminal ends it as Ctrl-C does. The second start finds what the first one made.
    for number in (signal.SIGINT, signal.SIGHUP):
        running = mailsync.start("dev")
        wait_for_both(running)
        made = home / ".mailsync"
        for name in ("key", "token", "env"):
            assert stat.S_IMODE((made / name).stat().st_mode) == 0o600
        for name in ("key", "token"):
            secrets.add(planted.keep((made / name).read_text().strip()))
        wait_until_ready(port)
        assert "✓ Environment complete" in running.output
        # Other commands in this directory need no settings either.
        added = mailsync(
            "add-account", f"user{len(mailsync.printed)}@example.test", *ARGS, input="any-password\n"
        )
        assert added.returncode == 0, added
        postgres = int((made / "postgres" / "postmaster.pid").read_text().split()[0])
        children = psutil.Process(running.pid).children()
        begun = Stopwatch()
        running.send_signal(number)
        assert running.wait() == 0
        assert begun.stop() < 30
        assert is_gone(postgres)
        assert not outside.exists()
        assert not any(child.is_running() for child in children)
    assert len(secrets) == 2
    assert "Accounts: 1/20" in running.output
    done = mailsync("status")
    assert done.returncode == 1
    assert done.stderr == (
        "mailsync: `mailsync dev` is not running in this directory; start it, or set DATABASE_URL\n"
    )


def wait_for_both(running: Running) -> None:
    running.wait_for("[worker] ✓ Ready -> Poll loop running")
    running.wait_for("[api] ✓ Ready -> http://localhost:")


def is_gone(pid: int) -> bool:
    """Whether the process has ended; a zombie has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_ready(port: int) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/health/ready", timeout=run_directory.PATIENCE
            ) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    run_directory.wait_until(answers, "the API")
