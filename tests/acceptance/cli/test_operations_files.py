"""What process managers read: systemd units, the Procfile, and the output of the services."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.acceptance.cli.test_services import wait_until_ready
from tests.support import run_directory
from tests.support.patience import PATIENCE
from tests.support.programs import ROOT, Mailsync, Running

NEEDED = ("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN")
UNITS = ROOT / "docs" / "systemd"
SERVICES = ("mailsync-api.service", "mailsync-worker.service")
PROGRAMS = Path(sys.executable).parent


def read(unit: str) -> dict[str, str]:
    """The settings of a unit's own section; of one that stands twice the last."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / unit)
    return dict(parser["Socket" if unit.endswith(".socket") else "Service"])


def analyze(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, args)], capture_output=True, text=True, check=False, timeout=PATIENCE
    )


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_exposed_by_no_more_than_three(unit: str) -> None:
    done = analyze("security", "--offline=true", "--threshold=30", "--no-pager", UNITS / unit)
    (exposure,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert (done.returncode, float(exposure) <= 3.0) == (0, True), done.stdout


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path) -> None:
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/mailsync/bin/mailsync", f"{sys.executable} -m mailsync")
        (tmp_path / unit.name).write_text(text)
    done = analyze("verify", "--man=no", *sorted(tmp_path.iterdir()))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_is_told_to_end_in_more_time_than_it_takes(unit: str) -> None:
    settings = read(unit)
    assert int(settings["TimeoutStopSec"]) > 10
    assert int(settings["WatchdogSec"]) >= 60
    assert settings["KillMode"] == "mixed"
    assert (settings["Restart"], settings["RestartPreventExitStatus"]) == ("always", "2")
    assert settings["Type"] == "notify"


@pytest.mark.parametrize("unit", SERVICES)
def test_no_end_of_a_service_leaves_its_memory_on_the_disk(unit: str) -> None:
    settings = read(unit)
    # The default signal of the watchdog, SIGABRT, would dump core.
    signals = settings["WatchdogSignal"], settings["FinalKillSignal"]
    assert signals == ("SIGTERM", "SIGKILL")
    assert int(settings["TimeoutAbortSec"]) > 10
    assert (settings["LimitCORE"], settings["MemorySwapMax"]) == ("0", "0")


@pytest.mark.parametrize(
    ("unit", "promised"), [("mailsync-worker.service", 300), ("mailsync-api.service", 400 + 72)]
)
def test_a_service_may_use_what_it_promises_and_not_all_of_a_machine(unit: str, promised: int) -> None:
    settings = read(unit)
    most = settings["MemoryMax"]
    assert promised * 1.5 < int(most[:-1]) * {"M": 1, "G": 1024}[most[-1]] < promised * 2.5
    assert 24 + 18 < int(settings["TasksMax"]) <= 256


@pytest.mark.parametrize("unit", SERVICES)
def test_what_a_unit_starts_exists(unit: str, mailsync: Mailsync) -> None:
    program, command = read(unit)["ExecStart"].split()
    assert program == "/opt/mailsync/bin/mailsync"
    assert mailsync(command, "--help").returncode == 0


# -- Procfile --------------------------------------------------------------------------------------------


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {name: command.strip() for name, _, command in (line.partition(":") for line in lines)}


def run_line(name: str, mailsync: Mailsync, **env: str) -> Running:
    """Run a line of the Procfile in a shell, as Heroku, honcho and foreman do."""
    environment = mailsync.environment | {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"} | env
    given = {name: value for name, value in environment.items() if value is not None}
    running = Running(["sh", "-c", procfile()[name]], given, ROOT)
    mailsync.running.append(running)
    return running


def test_the_procfile_serves_on_all_interfaces_and_ends_as_its_platforms_expect(mailsync: Mailsync) -> None:
    assert set(procfile()) == {"web", "worker", "release"}
    port = run_directory.free_port()
    web = run_line("web", mailsync, PORT=str(port))
    wait_until_ready(port)
    assert any(f"0.0.0.0:{port}" in line for line in web.lines)
    # 127.0.0.2 is this machine too, but no address that a server on localhost listens on
    with urllib.request.urlopen(f"http://127.0.0.2:{port}/health/live", timeout=PATIENCE) as answer:
        assert answer.status == 200
    worker = run_line("worker", mailsync)
    worker.wait_for("Ready -> Poll loop running")
    for running in (web, worker):
        running.terminate()
        assert running.wait() == 0


def test_the_procfile_migrates_before_a_release(mailsync: Mailsync, empty_database_url: str) -> None:
    mailsync.environment["DATABASE_URL"] = empty_database_url
    assert run_line("release", mailsync).wait() == 0
    assert mailsync("migrate", "--status").returncode == 0


def test_under_honcho_the_worker_migrates_and_the_release_waits(
    mailsync: Mailsync, empty_database_url: str
) -> None:
    # honcho starts all processes at once, and ends them all when one ends.
    mailsync.environment["DATABASE_URL"] = empty_database_url
    worker = run_line("worker", mailsync, HONCHO_PROCESS_NAME="worker.1")
    worker.wait_for("Ready -> Poll loop running")
    worker.terminate()
    assert worker.wait() == 0
    running = run_line("release", mailsync, HONCHO_PROCESS_NAME="release.1")
    running.wait_for(lambda: "tail" in psutil.Process(running.pid).name())
    assert "The schema is up to date" in running.output
    running.terminate()
    assert running.wait() == -signal.SIGTERM


@pytest.mark.parametrize("place", [".env", ".mailsync/env"])
def test_web_finds_the_settings_that_the_worker_finds(mailsync: Mailsync, tmp_path: Path, place: str) -> None:
    port = run_directory.free_port()
    settings = {name: mailsync.environment.pop(name) for name in NEEDED} | {"PORT": str(port)}
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}='{value}'\n" for name, value in settings.items()))
    assert mailsync("worker", "--once").returncode == 0
    command = [sys.executable, "-m", "gunicorn", "-c", "python:mailsync.web.gunicorn_conf", "wsgi:app"]
    web = Running(command, mailsync.environment, tmp_path)
    mailsync.running.append(web)
    wait_until_ready(port)
    web.terminate()
    assert web.wait() == 0


# -- make ------------------------------------------------------------------------------------------------


@pytest.mark.needs("make")
@pytest.mark.parametrize(("target", "extras"), [("demo", ["embedded"]), ("test", ["embedded", "test"])])
def test_make_installs_only_what_a_target_needs(target: str, extras: list[str], tmp_path: Path) -> None:
    for name in ("Makefile", "setup.cfg"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(["make", "-n", target], cwd=tmp_path, capture_output=True, text=True, check=True)
    installs = done.stdout.replace(".ci/make-venv", (ROOT / ".ci/make-venv").read_text())
    assert re.findall(r"--editable '\.\[(\w+)\]'", installs) == extras


# -- output ----------------------------------------------------------------------------------------------


def in_shell(mailsync: Mailsync, script: str) -> subprocess.CompletedProcess[str]:
    given = {name: value for name, value in mailsync.environment.items() if value is not None}
    script = script.replace("mailsync", f"{sys.executable} -m mailsync")
    return subprocess.run(
        ["sh", "-c", script], env=given, cwd=mailsync.directory, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("buffered", ["", "1"])
def test_output_that_cannot_be_written_is_one_line_and_code_1(mailsync: Mailsync, buffered: str) -> None:
    mailsync.environment["PYTHONUNBUFFERED"] = buffered
    for command in ("--help", "generate-key", "list-accounts --json"):
        done = in_shell(mailsync, f"mailsync {command} >/dev/full")
        assert done.returncode == 1
        assert done.stderr == "mailsync: the output cannot be written: No space left on device\n"
    done = in_shell(mailsync, "mailsync nonsense 2>/dev/full")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_a_reader_that_closes_the_pipe_is_no_error(mailsync: Mailsync) -> None:
    # Nothing ever reads this pipe.
    done = in_shell(mailsync, "(sleep 0.1; mailsync --help; echo $? >code) | true; cat code")
    assert done.stdout in ("1\n", "0\n")
    assert done.stderr == ""


def test_a_full_disk_under_the_log_does_not_end_a_service(mailsync: Mailsync, database: Any) -> None:
    command = f"exec {sys.executable} -m mailsync worker >/dev/full 2>/dev/full"
    given = {name: value for name, value in mailsync.environment.items() if value is not None}
    running = Running(["sh", "-c", command], given, mailsync.directory)
    mailsync.running.append(running)
    running.wait_for(lambda: database.execute("select count(*) from workers").fetchone() == (1,))
    running.terminate()
    assert running.wait() == 0


def test_every_line_of_the_log_is_a_whole_json_object_though_its_process_is_killed(
    mailsync: Mailsync, database: psycopg.Connection[Any]
) -> None:
    port = run_directory.free_port()
    wanted = {"PORT": str(port), "WEB_CONCURRENCY": "2", "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json"}
    web = run_line("web", mailsync, **wanted)
    wait_until_ready(port)
    for n in range(50):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live?n={n}", timeout=PATIENCE) as answer:
            assert answer.status == 200
    web.send_signal(signal.SIGKILL)
    web.wait()
    assert len(web.lines) > 50
    for line in web.lines:
        assert {"timestamp", "level", "message", "logger"} <= set(json.loads(line)), line
