"""The directory of one test run, and the processes that live in it.

Everything that a run starts has its files under one directory, and the directory's path is in every
process' command line or environment. So a run that was killed can be cleaned up by the next one, by
process id and without guessing: see :func:`sweep`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

PREFIX = "mailsync-tests-"

PATIENCE = 90.0
"""Seconds to wait for what surely comes: a busy machine may stand still for long."""

_MEMORY = Path("/dev/shm")
_ROOMY = 8 << 30

VARIABLE = "MAILSYNC_TEST_RUN"  # tells pytest's workers, and every process we start, which run they belong to


def create() -> Path:
    """Make the directory of this run and name it in the environment; first clean up after dead runs."""
    sweep()
    run = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_place()))
    run.chmod(0o755)  # Postgres and Dovecot run as users of their own when the tests run as root
    (run / "owner").write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    (run / "pids").mkdir()
    os.environ[VARIABLE] = str(run)
    return run


def _place() -> Path:
    """Choose memory where there is room: Postgres makes and drops a database in half the time there."""
    with contextlib.suppress(OSError):
        if os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free >= _ROOMY:
            return _MEMORY
    return Path(tempfile.gettempdir())


def current() -> Path:
    """The directory of this run, in the process that made it and in pytest's workers."""
    return Path(os.environ[VARIABLE])


def sweep() -> None:
    """End the servers of runs whose process is gone, and remove their directories."""
    for run in [run for place in (_MEMORY, Path(tempfile.gettempdir())) for run in place.glob(PREFIX + "*")]:
        with contextlib.suppress(OSError):
            if run.stat().st_uid == os.getuid() and not _has_owner(run):
                remove(run)


def remove(run: Path) -> None:
    """End whatever still runs in the directory, then delete it."""
    for pid in _pids(run, "*/postmaster.pid"):
        if belongs_to(run, pid):
            end(pid, first=signal.SIGQUIT)  # Postgres gives its shared memory back
    for pid in _pids(run, "**/run/master.pid", "pids/*"):
        if belongs_to(run, pid):
            end(pid)
    shutil.rmtree(run, ignore_errors=True)


def _has_owner(run: Path) -> bool:
    try:
        pid, created = (run / "owner").read_text().split()
        return abs(psutil.Process(int(pid)).create_time() - float(created)) < 1
    except psutil.NoSuchProcess:
        return False
    except (OSError, ValueError):
        return time.time() - run.stat().st_mtime < 60  # it is being made just now


def _pids(run: Path, *patterns: str) -> Iterator[int]:
    for file in [file for pattern in patterns for file in run.glob(pattern)]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            yield int(file.read_text().split()[0])


def belongs_to(run: Path, pid: int) -> bool:
    """Whether the process carries the run's directory in its command line or environment.

    A process of ours that shows its environment to nobody but root was noted with the time of its start.
    """
    try:
        process = psutil.Process(pid)
        wait_until_readable(process)
        if str(run) in " ".join(process.cmdline()):
            return True
        try:
            return process.environ().get(VARIABLE) == str(run)
        except psutil.AccessDenied:
            _, _, created = (run / "pids" / str(pid)).read_text().partition(" ")
            return abs(process.create_time() - float(created)) < 1
    except (psutil.Error, TimeoutError, OSError, ValueError):
        return False


def wait_until_readable(process: psutil.Process) -> None:
    """Wait until /proc shows a process's command line and environment, or it has ended.

    A caller of Popen may go on before the kernel has set both, and on a busy machine they are empty for a
    moment. Raises psutil.NoSuchProcess, or TimeoutError for a process that has none, such as a kernel thread.
    """
    wait_until(
        lambda: process.cmdline() or not _lives(process),
        f"the command line of process {process.pid}",
        timeout=10,
    )


def family(pid: int) -> list[psutil.Process]:
    """The processes below one, those that end meanwhile left out; each can be asked for its command line."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            wait_until_readable(process)
            if _lives(process):
                found.append(process)
    return found


def end(pid: int, first: signal.Signals | None = None) -> None:
    """Kill the process and its children, and wait until they are gone; a dead one is fine.

    With `first`, it is sent that signal and has five seconds to go by itself.
    """
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
        if first is not None:
            parent.send_signal(first)
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: not any(map(_lives, family)), f"process {pid}", timeout=5)
    except psutil.NoSuchProcess:
        return
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    # a killed grandchild may stay a zombie for as long as nobody reaps it: that is gone enough
    wait_until(lambda: not any(map(_lives, family)), f"the end of process {pid}")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def spawn(command: list[str], **popen: Any) -> subprocess.Popen[bytes]:
    """Start a process that :func:`remove` will find, should nobody end it."""
    process = subprocess.Popen(command, **popen)
    note(process.pid)
    with contextlib.suppress(psutil.NoSuchProcess, TimeoutError):
        wait_until_readable(psutil.Process(process.pid))
    return process


def note(pid: int) -> None:
    """Put a process on the list of those that :func:`remove` ends."""
    created = ""
    with contextlib.suppress(psutil.NoSuchProcess):
        created = str(psutil.Process(pid).create_time())
    (current() / "pids" / str(pid)).write_text(f"{pid} {created}")


def forget(pid: int) -> None:
    """Take a process that has ended off the list."""
    (current() / "pids" / str(pid)).unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold a lock that is shared between pytest's workers."""
    with (current() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A loopback port that nobody listens on and that no other test of this run gets.

    It lies below the range from which the kernel takes the ports of outgoing connections, so a server
    can be stopped and started again on it.
    """
    noted = current() / "last_port"
    with exclusive("ports"):
        port = int(noted.read_text()) if noted.exists() else random.randrange(20_000, 32_000)
        while True:
            port = port + 1 if port < 32_700 else 20_000
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                noted.write_text(str(port))
                return port


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Poll until the condition holds; raises TimeoutError that names what was waited for."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {timeout:g} s for {what}")
        time.sleep(0.02)
