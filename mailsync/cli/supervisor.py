"""API and worker as two processes of one terminal: their lines marked, ended together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence

import click

from mailsync.engine.turn import StopSignal
from mailsync.worker.watchdog import ENDED_BY

GRACE = 9.0
"""Seconds from the request to end until what still runs is killed."""

_PARENT = "MAILSYNC_SUPERVISED_BY"
_PR_SET_PDEATHSIG = 1
_LOOK_EVERY = 0.5

_UNUSED = {"api": {"IMAP_PASSWORD"}, "worker": {"API_TOKEN", "IMAP_PASSWORD"}}
"""Secrets that a service does not use."""

_COLORS = {"api": "cyan", "worker": "green"}
_print_lock = threading.Lock()


class _Service:
    """One child process and the thread that marks its lines."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        # an empty variable counts as not set, and wins over .env
        withheld = dict.fromkeys(_UNUSED.get(name, ()), "")
        # a session of its own: Ctrl-C is for the parent, which then ends both in order
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
        shown = click.style(mark, fg=_COLORS.get(self.name))
        for raw in self.process.stdout:
            line = raw.decode(errors="replace").rstrip("\r\n").removeprefix(mark).lstrip()
            # a terminal that was closed takes no more lines, but a child that nobody reads could not end
            with _print_lock, contextlib.suppress(OSError):
                click.echo(f"{shown} {line}")

    def kill(self) -> None:
        """End it at once, and the processes that it has made."""
        # the group exists for as long as one of them does; one that has ended in order leaves nobody
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Wait for the last lines."""
        self._reader.join(2)


def end_with_parent() -> None:
    """In a service: be sent SIGTERM when the process dies that runs it by :func:`supervise`, if one does.

    ``kill -9`` of that one is meant: it can end nobody any more, and what it leaves would keep the port.
    """
    given = os.environ.pop(_PARENT, "")
    if not given.isdecimal():
        return
    parent = int(given)
    # without a thread where there is another way: gunicorn's master forks
    if not _ask_for_signal():
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    elif os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _ask_for_signal() -> bool:
    """Whether the kernel sends SIGTERM when the parent is gone."""
    if sys.platform != "linux":
        return False
    try:
        return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def supervise(names: Sequence[str], environment: Mapping[str, str], stop: StopSignal) -> int:
    """Run the services until `stop`, or until one of them ends; returns the exit code.

    A worker that was ended by its own watchdog is started again; the others keep running. The exit code is 0
    after a request to stop that all obeyed, else that of the one that ended by itself (1 if it ended with 0
    or by a signal).
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
            service.process.wait()
            # gunicorn's processes outlive a master that was killed by a second or so
            service.kill()
            service.finish()
    if died is not None:
        code = died.process.returncode
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        click.echo(f"mailsync: {died.name} ended with {how}, so the other was ended too", err=True)
        return code if code > 0 else 1
    return 0 if clean else 1


def _watch(services: list[_Service], environment: Mapping[str, str], stop: StopSignal) -> _Service | None:
    while not stop:
        for place, service in enumerate(services):
            if (code := service.process.poll()) is None:
                continue
            if code != -ENDED_BY:
                return service
            # no pause is needed: the worker was silent for minutes before, so this cannot become a fast loop
            service.kill()
            service.finish()
            click.echo(
                f"mailsync: the {service.name}'s loop stood still, so its watchdog ended it;"
                " it is started again",
                err=True,
            )
            services[place] = _Service(service.name, environment)
        time.sleep(0.1)
    return None


def _end(services: list[_Service]) -> bool:
    """SIGTERM to all, SIGKILL to those that do not obey in time; whether all obeyed."""
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
