"""``mailsync demo``: what a stranger sees first."""

from __future__ import annotations

import contextlib
import re
import signal
import tempfile
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from mailsync.cli.terminal import width
from tests.support import planted, run_directory
from tests.support.patience import Stopwatch
from tests.support.programs import API_TOKEN, Mailsync, Running


@pytest.fixture
def stranger(mailsync: Mailsync, tmp_path: Path) -> Mailsync:
    """Somebody without any setting, whose temporary directory can be looked into."""
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


def test_the_demo_shows_a_mailbox_become_rows_and_cleans_up(
    stranger: Mailsync, database: psycopg.Connection[Any]
) -> None:
    begun = Stopwatch()
    done = stranger(
        "demo", env={"DATABASE_URL": "postgresql://nobody@nowhere.invalid/x", "SYNC_INTERVAL": "bad"}
    )
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
    statements = done.stdout.partition("SQL to go on with:")[2].partition("Done in")[0]
    for statement in statements.split(";"):
        database.execute(statement)  # type: ignore[call-overload]


@pytest.mark.long
def test_the_demo_goes_on_serving_until_ctrl_c(stranger: Mailsync) -> None:
    running = stranger.start("demo", "--serve", PORT=str(run_directory.free_port()))
    running.wait_for("[worker] ✓ Ready -> ")
    running.wait_for("[api] ✓ Ready -> ")
    # gunicorn's workers have files there too, for a moment
    (token,) = Path(stranger.environment["TMPDIR"]).glob("*/token")
    planted.keep(token.read_text())
    assert "[worker] ✓ Accounts: 1/20" in running.output
    end(running, signal.SIGINT, 0)
    assert left_behind(stranger) == []


@pytest.mark.long
def test_no_process_of_the_demo_has_a_secret_that_it_does_not_use(stranger: Mailsync) -> None:
    secrets = {"IMAP_PASSWORD": planted.keep("a-password-that-nobody-needs"), "API_TOKEN": API_TOKEN}
    running = stranger.start("demo", "--serve", PORT=str(run_directory.free_port()), **secrets)
    running.wait_for("[worker] ✓ Ready -> ")
    found: dict[str, dict[str, str]] = {}
    for process in run_directory.family(running.pid):
        # nobody but root can see the environment of the services
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found[" ".join(process.cmdline())] = process.environ()
    (server,) = [given for command, given in found.items() if "pymap" in command]
    assert not {"IMAP_ENCRYPTION_KEY", "API_TOKEN", "IMAP_PASSWORD", "DATABASE_URL"} & set(server)
    for command, given in found.items():
        assert not given.get("IMAP_PASSWORD") or "postgres" in command, command
        assert not given.get("API_TOKEN") or not command.endswith("mailsync worker"), command
        assert not planted.found_in(command)
    end(running, signal.SIGINT, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_cleans_up_too(stranger: Mailsync, number: signal.Signals) -> None:
    running = stranger.start("demo")
    running.wait_for("✓ Postgres is up")
    end(running, number, 130)
    assert "Traceback" not in running.output
    assert left_behind(stranger) == []


def end(running: Running, number: signal.Signals, code: int) -> None:
    begun = Stopwatch()
    running.send_signal(number)
    assert running.wait() == code, running.output
    assert begun.stop() < 30
