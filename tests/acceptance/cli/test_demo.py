"""``mailsync demo``: what a new user sees first."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest

from mailsync.cli.terminal import width
from mailsync.demo.texts import OWNER
from tests.support import planted, run_directory
from tests.support.patience import PATIENCE, Stopwatch
from tests.support.programs import API_TOKEN, Mailsync, Running


@pytest.fixture
def stranger(mailsync: Mailsync, tmp_path: Path) -> Mailsync:
    """A user without any setting, and with a temporary directory of their own."""
    temporary = Path(tempfile.mkdtemp(dir=run_directory.current()))
    temporary.chmod(0o755)
    kept = ("PATH", "HOME", "LANG", "PYTHONPATH", run_directory.VARIABLE)
    mailsync.environment = {name: mailsync.environment[name] for name in kept} | {"TMPDIR": str(temporary)}
    return mailsync


def left_behind(stranger: Mailsync) -> list[str]:
    directory = stranger.environment["TMPDIR"]
    files = [str(path) for path in Path(directory).iterdir()]
    for process in psutil.process_iter(["cmdline", "environ"]):
        inherited = (process.info["environ"] or {}).get("TMPDIR") == directory
        if inherited or directory in " ".join(process.info["cmdline"] or []):
            files.append(str(process))
    return files


def test_the_demo_shows_a_mailbox_become_rows_and_cleans_up(stranger: Mailsync) -> None:
    begun = Stopwatch()
    ignored = {"DATABASE_URL": "postgresql://nobody@nowhere.invalid/x", "SYNC_INTERVAL": "bad"}
    done = stranger("demo", env={**ignored, "COLUMNS": "100"})
    assert done.returncode == 0, done
    assert begun.stop() < 120
    steps = [line for line in done.stdout.splitlines() if line.startswith("✓ ")]
    assert len(steps) == 6
    messages = re.search(r"✓ (\d+) messages in 6 folders mirrored, Junk left out", done.stdout)
    assert messages
    assert f"✓ {messages[1]} messages compared with the server: all equal" in done.stdout
    assert "Projekte/Übersicht" in done.stdout
    assert all(width(line) <= 100 for line in done.stdout.splitlines())
    assert set(re.findall(r"^  (.+): \d+ messages?$", done.stderr, re.MULTILINE)) == {
        "INBOX", "Sent", "Drafts", "Archive/2025", "Newsletter", "Projekte/Übersicht",
    }  # fmt: skip
    assert left_behind(stranger) == []
    # The database is gone by now, so there is no SQL to paste.
    assert "select " not in done.stdout
    assert "mailsync demo --serve" in done.stdout


@pytest.mark.long
@pytest.mark.needs("curl")
def test_the_demo_serves_until_ctrl_c_and_prints_commands_to_paste(stranger: Mailsync) -> None:
    port = run_directory.free_port()
    running = stranger.start("demo", "--serve", PORT=str(port))
    running.wait_for("[worker] ✓ Ready -> ")
    running.wait_for("[api] ✓ Ready -> ")
    (token,) = Path(stranger.environment["TMPDIR"]).glob("*/token")
    planted.keep(token.read_text())
    assert "[worker] ✓ Accounts: 1/20" in running.output
    assert f"[api] ✓ Ready -> http://localhost:{port}" in running.output
    commands = [line for line in running.lines if line.startswith("curl ") or " -U postgres " in line]
    assert len(commands) == 5
    ready, listed, psql, unread, newest = commands
    sql = running.output.partition("SQL to paste into psql:")[2].partition("Press Ctrl-C")[0]
    assert json.loads(paste(ready))["status"] == "ready"
    assert [account["email"] for account in json.loads(paste(listed))["data"]] == [OWNER.email]
    assert len(json.loads(paste(unread))["data"]) == 3
    assert "(5 rows)" in paste(newest)
    assert paste(psql, sql).count(" rows)") == 3
    end(running, signal.SIGINT, 0)
    assert left_behind(stranger) == []


def test_a_port_in_use_is_one_line_before_anything_starts(stranger: Mailsync) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = stranger("demo", "--serve", env={"PORT": str(port)})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"mailsync: PORT: 127.0.0.1:{port} cannot be opened: Address already in use;"
        " stop the program that uses it, or set PORT to another one\n"
    )


@pytest.mark.long
def test_no_process_of_the_demo_has_a_secret_that_it_does_not_use(stranger: Mailsync) -> None:
    secrets = {"IMAP_PASSWORD": planted.keep("a-password-that-nobody-needs"), "API_TOKEN": API_TOKEN}
    running = stranger.start("demo", "--serve", PORT=str(run_directory.free_port()), **secrets)
    running.wait_for("[worker] ✓ Ready -> ")
    environments: dict[str, dict[str, str]] = {}
    for process in run_directory.family(running.pid):
        # Only root can see the environment of the services.
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            environments[" ".join(process.cmdline())] = process.environ()
    (server,) = [variables for command, variables in environments.items() if "pymap" in command]
    assert not {"IMAP_ENCRYPTION_KEY", "API_TOKEN", "IMAP_PASSWORD", "DATABASE_URL"} & set(server)
    for command, variables in environments.items():
        assert not variables.get("IMAP_PASSWORD") or "postgres" in command, command
        assert not variables.get("API_TOKEN") or not command.endswith("mailsync worker"), command
        assert not planted.found_in(command)
    end(running, signal.SIGINT, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_cleans_up_too(stranger: Mailsync, number: signal.Signals) -> None:
    running = stranger.start("demo")
    running.wait_for("✓ Postgres is up")
    end(running, number, 130)
    assert "Traceback" not in running.output
    assert left_behind(stranger) == []


def paste(command: str, text: str = "") -> str:
    """The output of a command that was pasted into a shell."""
    pasted = subprocess.run(
        ["sh", "-c", command], input=text, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert pasted.returncode == 0, pasted
    return pasted.stdout


def end(running: Running, number: signal.Signals, code: int) -> None:
    begun = Stopwatch()
    running.send_signal(number)
    assert running.wait() == code, running.output
    assert begun.stop() < 30
