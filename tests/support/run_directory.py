"""The directory of one test run, and the processes that belong to it.

All files of a run are under one directory, and its path is in the command line or environment of every
process of the run. So the next run can clean up after a run that was killed, by process id and without
guessing: see :func:`sweep`.
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

PATIENCE = float(os.environ.get("MAILSYNC_TEST_PATIENCE", "90"))
"""Seconds to wait for something that is certain to happen; :class:`Deadline` stretches them under load."""

_MEMORY = Path("/dev/shm")
_ROOMY = 8 << 30

VARIABLE = "MAILSYNC_TEST_RUN"  # the directory of the run, for pytest's workers and all processes of the run


def create() -> Path:
    """Clean up after dead runs, then make the directory of this run and name it in the environment."""
    sweep()
    run = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_place()))
    run.chmod(0o755)  # if the tests run as root, Postgres and Dovecot run as other users
    (run / "owner").write_text(f"{os.getpid()} {psutil.Process().create_time()}")
    (run / "pids").mkdir()
    os.environ[VARIABLE] = str(run)
    return run


def _place() -> Path:
    """Prefer memory if there is room: Postgres creates and drops a database in half the time there."""
    with contextlib.suppress(OSError):
        if os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free >= _ROOMY:
            return _MEMORY
    return Path(tempfile.gettempdir())


def current() -> Path:
    """The directory of this run, also in pytest's workers."""
    return Path(os.environ[VARIABLE])


def sweep() -> None:
    """End the servers of runs whose process is gone, and remove their directories."""
    for run in [run for place in (_MEMORY, Path(tempfile.gettempdir())) for run in place.glob(PREFIX + "*")]:
        with contextlib.suppress(OSError):
            if run.stat().st_uid == os.getuid() and not _has_owner(run):
                remove(run)


def remove(run: Path) -> None:
    """End the processes that belong to the directory, then delete it."""
    for pid in _pids(run, "*/postmaster.pid"):
        if belongs_to(run, pid):
            end(pid, first=signal.SIGQUIT)  # lets Postgres free its shared memory
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
        return time.time() - run.stat().st_mtime < 60  # it may not have written its owner yet


def _pids(run: Path, *patterns: str) -> Iterator[int]:
    for file in [file for pattern in patterns for file in run.glob(pattern)]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            yield int(file.read_text().split()[0])


def belongs_to(run: Path, pid: int) -> bool:
    """Whether the run's directory is in the command line or environment of the process.

    A process that shows its environment only to root is recognised by its start time, see :func:`note`.
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
    """Wait until /proc shows a process's command line and environment, or the process has ended.

    Popen may return before the kernel has set both, so that they are empty for a moment on a busy machine.
    Raises psutil.NoSuchProcess, or TimeoutError for a process without command line, such as a kernel thread.
    """
    wait_until(
        lambda: process.cmdline() or not _lives(process),
        f"the command line of process {process.pid}",
        timeout=10,
    )


def family(pid: int) -> list[psutil.Process]:
    """The living descendants of a process; their command lines are readable."""
    living = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            wait_until_readable(process)
            if _lives(process):
                living.append(process)
    return living


def end(pid: int, first: signal.Signals | None = None) -> None:
    """Kill the process and its descendants and wait until they are gone; the process may be dead already.

    If `first` is given, the process is sent that signal first and has five seconds to end.
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
    # a killed grandchild may stay a zombie until its parent reaps it, which counts as gone
    wait_until(lambda: not any(map(_lives, family)), f"the end of process {pid}")


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def spawn(command: list[str], **popen: Any) -> subprocess.Popen[bytes]:
    """Start a process that :func:`remove` ends if no test does."""
    process = subprocess.Popen(command, **popen)
    note(process.pid)
    with contextlib.suppress(psutil.NoSuchProcess, TimeoutError):
        wait_until_readable(psutil.Process(process.pid))
    return process


def note(pid: int) -> None:
    """Add a process to those that :func:`remove` ends."""
    created = ""
    with contextlib.suppress(psutil.NoSuchProcess):
        created = str(psutil.Process(pid).create_time())
    (current() / "pids" / str(pid)).write_text(f"{pid} {created}")


def forget(pid: int) -> None:
    """Remove a process that has ended from those that :func:`remove` ends."""
    (current() / "pids" / str(pid)).unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold a lock that all of pytest's workers share."""
    with (current() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A loopback port that is free and that no other test of this run gets.

    The port is below the range for outgoing connections, so a server on it can be stopped and started again.
    """
    last_port = current() / "last_port"
    with exclusive("ports"):
        port = int(last_port.read_text()) if last_port.exists() else random.randrange(20_000, 32_000)
        while True:
            port = port + 1 if port < 32_700 else 20_000
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                last_port.write_text(str(port))
                return port


class Deadline:
    """A time limit in seconds that grows with load.

    Each second counts as less where several runnable processes share a processor, since what is waited for
    then makes less progress in it.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._last = time.monotonic()

    def is_over(self) -> bool:
        """Whether the limit is reached; call it every now and then, since it samples the load."""
        now = time.monotonic()
        self._left -= (now - self._last) / max(1.0, runnable_per_processor())
        self._last = now
        return self._left < 0


def runnable_per_processor() -> float:
    """The number of other runnable processes for each processor; 0 if it is unknown."""
    try:
        running = int(Path("/proc/loadavg").read_text("ascii").split()[3].partition("/")[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return (running - 1) / (os.cpu_count() or 1)


def wait_until(condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
    """Poll until the condition holds; raises TimeoutError, which names `what` was waited for.

    `timeout` is stretched under load.
    """
    deadline = Deadline(timeout)
    while not condition():
        if deadline.is_over():
            raise TimeoutError(f"Waited {timeout:g} s for {what}")
        time.sleep(0.02)
