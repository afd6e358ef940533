"""Run our programs as forks of a process that has imported them: real processes without Python's start.

A fork has its own pid, environment, directory, streams and signals, and ends as any program does. It only
saves the half second of processor time for Python's start and the imports, which is most of a short command.
A program with other variables that Python reads at its start (``PYTHONPATH``, ``LANG``, ``TZ``) is started in
the usual way; see :func:`spawn`.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from tests import ROOT
from tests.support import run_directory
from tests.support.fork_server import exactly

SWITCH = "MAILSYNC_TEST_FORK"
"""With ``0`` in this variable every program starts in its own Python."""

_BASE = {"LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
_READ_AT_START = ("PYTHON", "LANG", "LC_", "TZ", "LD_", "MALLOC_", "GLIBC_", "OPENSSL_", "SSL_")


def spawn(
    module: str,
    args: tuple[str, ...],
    *,
    env: dict[str, str],
    cwd: Path,
    stdin: bool = False,
    merge: bool = False,
) -> subprocess.Popen[bytes] | Forked:
    """Start ``python -m module args`` with pipes for its output; `merge` sends stderr to stdout.

    Its input is a pipe if `stdin` is true, else the null device.
    """
    if os.environ.get(SWITCH) != "0" and _read_at_start(env) == _BASE:
        process = Forked(module, args, env, cwd, stdin=stdin, merge=merge)
        run_directory.note(process.pid)
        return process
    return run_directory.spawn(
        [sys.executable, "-m", module, *args],
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
    )


def _read_at_start(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)}


class Forked:
    """A forked program, with the part of :class:`subprocess.Popen` that the tests use."""

    def __init__(
        self, module: str, args: tuple[str, ...], env: dict[str, str], cwd: Path, *, stdin: bool, merge: bool
    ) -> None:
        self.args = (sys.executable, "-m", module, *args)
        self.returncode: int | None = None
        self._lock = threading.Lock()
        ours: list[IO[bytes] | None] = [None, None, None]
        theirs = [os.open(os.devnull, os.O_RDONLY), -1, -1]
        if stdin:
            os.close(theirs[0])
            theirs[0], end = os.pipe()
            ours[0] = os.fdopen(end, "wb", buffering=0)
        for number in (1,) if merge else (1, 2):
            end, theirs[number] = os.pipe()
            ours[number] = os.fdopen(end, "rb")
        if merge:
            theirs[2] = os.dup(theirs[1])
        self.stdin, self.stdout, self.stderr = ours
        try:
            request = {"module": module, "args": args, "env": env, "cwd": str(cwd)}
            self._connection = _connect()
            # The size and the streams first, then the request.
            document = json.dumps(request).encode()
            streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", theirs))]
            self._connection.sendmsg([len(document).to_bytes(8, "big")], streams)
            self._connection.sendall(document)
            self.pid = int.from_bytes(exactly(self._connection, 8), "big")
            self._connection.setblocking(False)
        finally:
            for number in theirs:
                os.close(number)
        self._output: dict[str, bytes] = {}
        self._readers: list[threading.Thread] = []

    def poll(self) -> int | None:
        """The exit code (negative: the signal), or None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises subprocess.TimeoutExpired after `timeout` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(0.5 if until is None else min(0.5, until - time.monotonic()))) is None:
            if until is not None and time.monotonic() >= until:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _look(self, seconds: float) -> int | None:
        if seconds > 0 and self.returncode is None:
            # Outside the lock, so that poll() in another thread never waits.
            with contextlib.suppress(ValueError):
                waiting = select.poll()
                waiting.register(self._connection, select.POLLIN)
                waiting.poll(seconds * 1000)
        with self._lock:
            if self.returncode is None:
                with contextlib.suppress(BlockingIOError):
                    code = self._connection.recv(8)
                    assert len(code) == 8, "the process that forks others is gone"
                    self.returncode = int.from_bytes(code, "big", signed=True)
                    self._connection.close()
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the program has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: bytes | None = None, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Write its input and read its output, as Popen does; may be called again after TimeoutExpired."""
        until = None if timeout is None else time.monotonic() + timeout
        if not self._readers:
            for name, stream in (("stdout", self.stdout), ("stderr", self.stderr)):
                if stream:
                    reader = threading.Thread(target=self._read, args=(name, stream), daemon=True)
                    self._readers.append(reader)
                    reader.start()
            if self.stdin:
                with contextlib.suppress(BrokenPipeError):
                    self.stdin.write(input or b"")
                self.stdin.close()
        for reader in self._readers:
            reader.join(None if until is None else max(0.0, until - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if until is None else max(0.0, until - time.monotonic()))
        return self._output.get("stdout", b""), self._output.get("stderr", b"")

    def _read(self, name: str, stream: IO[bytes]) -> None:
        self._output[name] = stream.read()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr, self.stdin):
            if stream:
                stream.close()
        self.wait()


# -- the process that forks ----------------------------------------------------------------------------


def _connect() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server())
    return connection


_starting = threading.Lock()
_started: list[subprocess.Popen[bytes]] = []


def _server() -> str:
    """The address of this process's server."""
    address = str(run_directory.current() / f"forks-{os.getpid()}")
    with _starting:
        if not _started:
            _started.append(_start(address))
    return address


def _start(address: str) -> subprocess.Popen[bytes]:
    process = run_directory.spawn(
        [sys.executable, "-m", "tests.support.fork_server", address],
        # Each program gets its own variables, so the server needs only these.
        env={**_BASE, "PATH": os.environ["PATH"], run_directory.VARIABLE: str(run_directory.current())},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdin
    assert process.stdout.readline() == b"ready\n", "the process that forks others does not start"
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.communicate()  # it ends with its stdin
    run_directory.forget(process.pid)
