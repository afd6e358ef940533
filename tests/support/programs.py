"""Run commands as users do: each in its own process, with a clean environment.

All that they print is kept, to be searched for secrets.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import ROOT
from tests.support import forking, planted, run_directory

ENCRYPTION_KEY = planted.keep(b64encode(hashlib.sha256(b"a key for tests only").digest()).decode())
API_TOKEN = planted.keep("a-token-for-tests-only-0123456789")
NO_NAME_SERVER = "255.255.255.255"
"""Nothing can be sent to this address: a lookup fails at once, and no packet leaves the machine."""
_SECRET_VARIABLES = ("IMAP_PASSWORD", "IMAP_ENCRYPTION_KEY", "API_TOKEN")


@dataclass(frozen=True)
class Finished:
    """The output of a command that has ended; ``seconds`` is how long it ran."""

    args: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def json(self) -> Any:
        """The document that ``--json`` prints; raises AssertionError for other output."""
        try:
            return json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"No JSON document on stdout: {self}") from None


class Running:
    """A process that runs on, such as a worker; ``lines`` has its stdout and stderr, in order."""

    def __init__(self, command: list[str], environment: dict[str, str], directory: Path) -> None:
        self.args = tuple(command)
        self.lines: list[str] = []
        self._process: subprocess.Popen[bytes] | forking.Forked
        if command[:2] == [sys.executable, "-m"]:
            self._process = forking.spawn(
                command[2], tuple(command[3:]), env=environment, cwd=directory, merge=True
            )
        else:
            self._process = run_directory.spawn(
                command,
                env=environment,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip("\n"))

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code (negative: the signal), or None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """All that it has printed so far."""
        return "\n".join(self.lines)

    def records(self) -> list[dict[str, Any]]:
        """The lines that are JSON objects: the log."""
        records = []
        for line in list(self.lines):
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    records.append(record)
        return records

    def wait_for(self, wanted: str | Callable[[], object], timeout: float = run_directory.PATIENCE) -> None:
        """Wait until a line contains the text, or the callable returns true.

        Raises AssertionError with the output after `timeout` seconds, stretched under load, or if the process
        ends before.
        """
        met = wanted if callable(wanted) else lambda: any(wanted in line for line in list(self.lines))
        deadline = run_directory.Deadline(timeout)
        while not met():
            ended = self.returncode is not None
            if ended:
                self._reader.join(5)
                if met():
                    return
            if ended or deadline.is_over():
                state = f"ended with {self.returncode}" if ended else f"was silent for {timeout:g} s"
                raise AssertionError(f"Waited for {wanted!r}, but the process {state}:\n{self.output}")
            time.sleep(0.01)

    def send_signal(self, number: signal.Signals) -> None:
        """Send any signal."""
        self._process.send_signal(number)

    def kill9(self) -> None:
        """``kill -9`` this process but not its children, and wait until it has ended."""
        self._process.kill()
        self.wait()

    def terminate(self) -> None:
        """Send SIGTERM, without waiting."""
        self._process.terminate()

    def wait(self, timeout: float = run_directory.PATIENCE) -> int:
        """Wait for its end; returns the exit code. Raises AssertionError with the output after `timeout`."""
        deadline = run_directory.Deadline(timeout)
        while (code := self._exit_code()) is None:
            if deadline.is_over():
                raise AssertionError(f"Process {self.pid} still runs after {timeout:g} s:\n{self.output}")
        self._reader.join(5)
        return code

    def _exit_code(self) -> int | None:
        """The exit code as soon as there is one, None after a moment without."""
        try:
            return self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """Kill it and its children if they still run, and close its streams."""
        if self._process.poll() is None:
            run_directory.end(self.pid)
        self._process.wait()
        self._reader.join(5)
        if self._process.stdout:
            self._process.stdout.close()
        run_directory.forget(self.pid)


class Mailsync:
    """``python -m mailsync …`` for one test: call it to run a command to its end, or :meth:`start` one.

    Every command gets ``environment``. For one command, `env` and keyword arguments add variables, and None
    removes one.
    """

    def __init__(self, directory: Path, database_url: str) -> None:
        self.directory = directory
        self.printed: list[str] = []
        self.running: list[Running] = []
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            run_directory.VARIABLE: str(run_directory.current()),
            "DATABASE_URL": database_url,
            "IMAP_ENCRYPTION_KEY": ENCRYPTION_KEY,
            "API_TOKEN": API_TOKEN,
            "IMAP_ALLOW_PRIVATE_HOSTS": "true",
            "IMAP_ALLOW_PLAINTEXT": "true",
            "IMAP_MAX_COMMANDS_PER_MINUTE": "1000000",
            "DNS_SERVERS": NO_NAME_SERVER,
        }

    def __call__(
        self,
        *args: str,
        env: dict[str, str | None] | None = None,
        input: str | None = None,
        timeout: float = 2 * run_directory.PATIENCE,
    ) -> Finished:
        """Run a command to its end; raises AssertionError with its output after `timeout` seconds."""
        if input and "--password-stdin" in args:
            _plant(input.rstrip("\r\n"))
        started, late = time.monotonic(), False
        process = forking.spawn(
            "mailsync",
            args,
            env=self._environment(env or {}),
            cwd=self.directory,
            stdin=input is not None,
        )
        with process:
            try:
                streams = process.communicate(input.encode() if input is not None else None, timeout)
            except subprocess.TimeoutExpired:
                late = True
                run_directory.end(process.pid)
                streams = process.communicate()
            except BaseException:
                run_directory.end(process.pid)
                raise
        run_directory.forget(process.pid)
        stdout, stderr = (text.decode(errors="replace") for text in streams)
        self.printed += [stdout, stderr]
        result = Finished(args, process.returncode, stdout, stderr, time.monotonic() - started)
        assert not late, f"Still running after {timeout:g} s: {result}"
        return result

    def start(self, *args: str, **env: str | None) -> Running:
        """Start a command that runs on; it is killed at the end of the test."""
        process = Running(self._command(args), self._environment(env), self.directory)
        self.running.append(process)
        return process

    def close(self) -> None:
        """End what still runs; raises AssertionError if a planted secret was printed."""
        for process in self.running:
            process.close()
            self.printed.append(process.output)
        text = "\n".join(self.printed)
        leaked = planted.found_in(text)
        places = [line for line in text.splitlines() if planted.found_in(line)]
        assert not leaked, f"Secrets were printed, in {len(places)} lines: {places[:5]}"

    def _command(self, args: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "mailsync", *args]

    def _environment(self, changes: dict[str, str | None]) -> dict[str, str]:
        for name in _SECRET_VARIABLES:
            _plant(changes.get(name) or "")
        merged = self.environment | changes
        return {name: value for name, value in merged.items() if value is not None}


def _plant(text: str) -> None:
    for secret in text.split(","):
        if len(secret.strip()) >= 8:
            planted.keep(secret.strip())
