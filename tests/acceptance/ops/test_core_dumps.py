"""No process that holds the key leaves a core file, or shows its memory to other processes of its user."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import run_directory
from tests.support.patience import PATIENCE
from tests.support.programs import ROOT, Mailsync, Running

_PR_GET_DUMPABLE = 3


@pytest.fixture
def with_core_dumps() -> Iterator[None]:
    """Remove the limit on core files for processes that are started now."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def dumped_by(pid: int, number: signal.Signals) -> bool:
    """Whether this child, killed by a signal, leaves a core dump, as a file or piped to a program."""
    ended: list[int] = []

    def has_ended() -> bool:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            ended.append(status)
        return bool(found)

    os.kill(pid, number)
    run_directory.wait_until(has_ended, f"the end of process {pid}")
    assert os.WTERMSIG(ended[0]) == number
    return os.WCOREDUMP(ended[0])


def start(mailsync: Mailsync, directory: Path, *command: str, **changes: str) -> Running:
    """Start our program in a Python of its own, in the directory where its core file would be."""
    given = {name: value for name, value in (mailsync.environment | changes).items() if value is not None}
    # not through the fork server, which would be the parent in place of this process
    running = Running([shutil.which("env") or "env", sys.executable, "-m", *command], given, directory)
    mailsync.running.append(running)
    return running


@pytest.mark.usefixtures("with_core_dumps")
@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGQUIT])
def test_a_killed_worker_leaves_no_core_dump(
    mailsync: Mailsync, tmp_path: Path, number: signal.Signals
) -> None:
    worker = start(mailsync, tmp_path, "mailsync", "worker")
    worker.wait_for("Ready -> Poll loop running")
    assert not dumped_by(worker.pid, number)
    assert not list(tmp_path.glob("*core*"))


@pytest.mark.usefixtures("with_core_dumps")
@pytest.mark.parametrize("command", [("mailsync", "api"), ("gunicorn", "wsgi:app")])
def test_no_process_of_the_api_leaves_a_core_dump(
    mailsync: Mailsync, tmp_path: Path, command: tuple[str, ...]
) -> None:
    port = str(run_directory.free_port())
    options = {"GUNICORN_CMD_ARGS": "-c python:mailsync.web.gunicorn_conf --no-sendfile"}
    api = start(mailsync, tmp_path, *command, PORT=port, **options)
    api.wait_for("Ready to serve")
    (process,) = run_directory.family(api.pid)
    process.send_signal(signal.SIGABRT)
    api.wait_for(lambda: not process.is_running())
    assert not dumped_by(api.pid, signal.SIGABRT)
    assert not list(tmp_path.glob("*core*"))


@pytest.mark.usefixtures("with_core_dumps")
def test_an_unprotected_process_leaves_a_core_dump(tmp_path: Path) -> None:
    # a control: without our care a core dump appears, unless this machine writes none at all
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    with subprocess.Popen(["sleep", "600"], cwd=tmp_path) as process:
        dumped = dumped_by(process.pid, signal.SIGABRT)
    if resource.getrlimit(resource.RLIMIT_CORE)[0] != 0 and pattern == "core":
        assert dumped
        assert list(tmp_path.glob("*core*"))


def test_a_command_cannot_be_dumped() -> None:
    code = (
        "import ctypes, sys; from mailsync import cli\n"
        f"cli._run = lambda: print(ctypes.CDLL(None).prctl({_PR_GET_DUMPABLE}, 0, 0, 0, 0)) or 0\n"
        "cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=PATIENCE
    )
    assert done.stdout == "0\n"


def test_programs_that_we_execute_can_be_dumped() -> None:
    code = (
        "import subprocess; from mailsync.ops import core_dumps\n"
        "core_dumps.forbid()\n"
        "subprocess.run(['sh', '-c', 'ulimit -c; cat /proc/self/environ'], check=True)\n"
    )
    expected = subprocess.run(["sh", "-c", "ulimit -c"], capture_output=True, text=True, check=True).stdout
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=PATIENCE
    )
    assert done.stdout.startswith(expected)


# -- other processes of the same user -----------------------------------------------------------------

# Root may read everything, so the test becomes an ordinary user. The kernel makes a process undumpable when
# it changes its user, so the control has to make it dumpable again.
_AS_SOMEBODY = """
import ctypes, os, sys
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""
_LOOK = """
pid = int(sys.argv[1])
for name in "environ", "mem", "maps":
    try:
        open(f"/proc/{pid}/{name}", "rb").close()
        print(name, "is open")
    except PermissionError:
        print(name, "is closed")
attached = ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0
print("ptrace", "is open" if attached else "is closed")
"""


def look_into(care: str) -> list[str]:
    """The files in /proc of a protected process that another process of the same user can read."""
    python = [sys.executable, "-c"]
    code = f"from mailsync.ops import core_dumps{_AS_SOMEBODY}{care}\n"
    code += "print('ready', flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [*python, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        looked = subprocess.run(
            [*python, _AS_SOMEBODY + _LOOK, str(process.pid)], capture_output=True, text=True, check=True
        )
        process.kill()
    return looked.stdout.splitlines()


def test_other_processes_of_the_user_cannot_read_its_memory() -> None:
    ways = ("environ", "mem", "maps", "ptrace")
    assert look_into("core_dumps.forbid()") == [f"{way} is closed" for way in ways]
    # the control only reads environ, because some systems always forbid ptrace
    assert "environ is open" in look_into("")
