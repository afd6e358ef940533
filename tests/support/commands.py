"""Commands about one account, and commands on a terminal of their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from subprocess import Popen
from typing import Any

from tests.support import run_directory
from tests.support.programs import Finished, Mailsync
from tests.support.turns import Mirror

EMAIL = "ann@example.test"

Synced = Callable[..., Mirror]
"""The fixture ``synced``: mirror a mailbox with more folders of these names."""


def add(mailsync: Mailsync, server: Any, user: Any, *args: str, email: str = EMAIL) -> Finished:
    """Add an account with a test of its connection, which must succeed."""
    where = ["--host", server.host, "--port", str(server.port), "--security", "plaintext"]
    options = [*where, "--username", user.name, "--password-stdin", *args]
    done = mailsync("add-account", email, *options, input=f"{user.password}\n")
    assert done.returncode == 0, done
    return done


def on_a_terminal(mailsync: Mailsync, args: list[str], answers: dict[str, str]) -> tuple[int, str]:
    """Run a command on a pseudo terminal and answer its questions; returns its exit code and its output."""
    ours, theirs = pty.openpty()
    process = run_directory.spawn(
        [sys.executable, "-m", "mailsync", *args],
        env=mailsync.environment | {"TERM": "xterm"},
        cwd=mailsync.directory,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    output, waiting = "", dict(answers)
    guard = threading.Timer(run_directory.PATIENCE, run_directory.end, [process.pid])
    guard.start()
    with contextlib.suppress(OSError):  # EIO is the end of a terminal
        while data := os.read(ours, 4096):
            output += data.decode(errors="replace")
            for question in [prompt for prompt in waiting if prompt in output]:
                os.write(ours, waiting.pop(question).encode() + b"\n")
    code = process.wait()
    guard.cancel()
    os.close(ours)
    run_directory.forget(process.pid)
    mailsync.printed.append(output)
    return code, output


@dataclass
class Terminal:
    """A command on a pseudo terminal of a given size, and all its output."""

    process: Popen[bytes]
    descriptor: int
    output: str = ""

    @classmethod
    @contextlib.contextmanager
    def running(
        cls, mailsync: Mailsync, lines: int, columns: int, *args: str, term: str = "xterm"
    ) -> Iterator[Terminal]:
        """Run a command for which the terminal handles Ctrl-C; kill it at the end."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = run_directory.spawn(
            [sys.executable, "-c", _RUN, *args],
            env=mailsync.environment | {"TERM": term},
            cwd=mailsync.directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield cls(process, ours)
        finally:
            if process.poll() is None:
                run_directory.end(process.pid)
                process.wait()
            run_directory.forget(process.pid)
            os.close(ours)

    def read_until(self, wanted: str, times: int = 1) -> None:
        """Read until the output has `wanted` so many times; raises AssertionError if that never happens."""
        until = time.monotonic() + run_directory.PATIENCE
        while self.output.count(wanted) < times:
            assert time.monotonic() < until, self.output
            if select.select([self.descriptor], [], [], 0.5)[0]:
                self.output += os.read(self.descriptor, 65536).decode(errors="replace")

    def end(self) -> int:
        """Read what is left and return the exit code."""
        with contextlib.suppress(OSError):  # EIO is the end of a terminal
            while data := os.read(self.descriptor, 65536):
                self.output += data.decode(errors="replace")
        return self.process.wait(run_directory.PATIENCE)


# Makes the pseudo terminal the controlling one, so that Ctrl-C in it interrupts.
_RUN = (
    "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "sys.argv[0] = 'mailsync'; from mailsync.cli import main; main()"
)


def checked(mailsync: Mailsync, **env: str | None) -> str:
    """What ``check-account --verbose`` prints at 80 columns."""
    done = mailsync("check-account", EMAIL, "--verbose", env={"COLUMNS": "80", **env})
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def section(text: str, path: str) -> str:
    """The lines of one folder, joined: that of its counts and those below it."""
    lines = text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(path + " "))
    more = []
    for line in lines[at + 1 :]:
        if not line.startswith("  "):
            break
        more.append(line.strip())
    return " ".join([*lines[at].split(), *more])
