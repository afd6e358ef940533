"""The API and the worker as two processes of one terminal: each line marked, both ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import click

from mailsync.engine.turn import StopSignal
from mailsync.ops.core_dumps import prctl
from mailsync.worker.watchdog import WATCHDOG_SIGNAL

GRACE = 9.0
"""Seconds from the request to end until processes that still run are killed."""

_PARENT = "MAILSYNC_SUPERVISED_BY"
_PR_SET_PDEATHSIG = 1
_CHECK_INTERVAL = 0.5
_LONGEST_END = 1.0
"""Seconds that a service may take to end after SIGKILL."""

_UNUSED = {"api": {"IMAP_PASSWORD"}, "worker": {"API_TOKEN", "IMAP_PASSWORD"}}
"""Secrets that a service does not use, and so does not get."""

_COLORS = {"api": "cyan", "worker": "green"}
_print_lock = threading.Lock()


class _Service:
    """One child process and the thread that marks its lines."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        # An empty variable counts as not set, and overrides .env.
        withheld = dict.fromkeys(_UNUSED.get(name, ()), "")
        # In its own session, so that Ctrl-C reaches only the parent, which ends both in order.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mailsync", name],
            env={**environment, **withheld, _PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        mark = f"[{self.name}]"
        colored = click.style(mark, fg=_COLORS.get(self.name))
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip("\r\n").removeprefix(mark).lstrip()
            # Keep reading after the terminal is closed: a child blocked on a full pipe could not end.
            with _print_lock, contextlib.suppress(OSError):
                click.echo(f"{colored} {line}")

    def kill(self) -> None:
        """Kill the service and its child processes."""
        # The process group exists as long as one of its processes does.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Wait until its last lines are printed."""
        self._reader.join(2)


def end_with_parent() -> None:
    """In a service started by :func:`supervise`: get SIGTERM when that process dies.

    After ``kill -9`` it can no longer end its services, and the API would keep the port.
    """
    value = os.environ.pop(_PARENT, "")
    if not value.isdecimal():
        return
    parent = int(value)
    # Prefer the kernel's signal to a thread, because gunicorn's master forks.
    if not prctl(_PR_SET_PDEATHSIG, signal.SIGTERM):
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    elif os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_CHECK_INTERVAL)
    os.kill(os.getpid(), signal.SIGTERM)


def supervise(names: Sequence[str], environment: Mapping[str, str], stop: StopSignal) -> int:
    """Run the services until `stop` is set or one of them ends; returns the exit code.

    A worker that its own watchdog ended is started again. The exit code is 0 if all services ended in time
    after `stop`. If one ended by itself, it is that one's exit code, or 1 in place of 0 or a signal.
    """
    services = [_Service(name, environment) for name in names]
    try:
        died = _watch(services, environment, stop)
        clean = _end(services)
    except BaseException:
        for service in services:
            service.kill()
        raise
    finally:
        for service in services:
            # A signal that interrupts Popen between two instructions leaves its lock taken for ever.
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.process.wait(_LONGEST_END)
            # gunicorn's workers outlive a killed master for about a second.
            service.kill()
            service.finish()
    if died is not None:
        code = died.process.returncode
        cause = f"exit code {code}" if code >= 0 else f"signal {-code}"
        click.echo(f"mailsync: {died.name} ended with {cause}, so the other was ended too", err=True)
        return code if code > 0 else 1
    return 0 if clean else 1


def _watch(services: list[_Service], environment: Mapping[str, str], stop: StopSignal) -> _Service | None:
    while not stop:
        for place, service in enumerate(services):
            if (code := service.process.poll()) is None:
                continue
            if code != -WATCHDOG_SIGNAL:
                return service
            # Restart without a pause: the watchdog waits for minutes, so this cannot become a busy loop.
            service.kill()
            service.finish()
            click.echo(
                f"mailsync: the {service.name} hung, so its watchdog ended it; starting it again",
                err=True,
            )
            services[place] = _Service(service.name, environment)
        time.sleep(0.1)
    return None


def _end(services: list[_Service]) -> bool:
    """Send SIGTERM to all, and SIGKILL to those that do not end in time; returns whether all did."""
    clean = True
    for service in services:
        service.process.terminate()
    until = time.monotonic() + GRACE
    for service in services:
        try:
            service.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            service.kill()
            clean = False
    return clean
