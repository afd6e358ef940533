"""Tells systemd that the API answers requests, by probing it from gunicorn's master.

gunicorn itself sends ``READY=1`` before it has forked a worker, and never sends ``WATCHDOG=1``. Here the
master sends both after a worker has answered ``GET /health/live`` on the public port. A timer signal drives
the probe in the master's main thread, one non-blocking step per tick: an answer therefore also proves that
the master's loop runs, and the master has no second thread when it forks.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import time
from contextlib import suppress
from types import FrameType

from mailsync.ops import systemd

_REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_FIRST_INTERVAL = 0.1
_MAX_INTERVAL = 5.0
_TIMEOUT = 30.0


class Probe:
    """Sends one request after another, and notifies systemd at `address` of each good answer.

    `watchdog_seconds` is how long systemd tolerates silence (``WatchdogSec``). If it is None, there is no
    watchdog, and the probe stops after the first good answer, which is ``READY=1``.
    """

    def __init__(self, address: str, watchdog_seconds: float | None) -> None:
        self._address = address
        self._watchdog_seconds = watchdog_seconds
        self._target: object = None
        self._family = socket.AF_INET
        self._connection: socket.socket | None = None
        self._began_at = 0.0
        self._is_sent = False
        self._is_ready = False

    @classmethod
    def from_environment(cls) -> Probe | None:
        """Remove ``NOTIFY_SOCKET``, so that gunicorn does not use it; None if it is not set."""
        address = os.environ.pop("NOTIFY_SOCKET", "")
        return cls(address, systemd.watchdog_seconds()) if address else None

    def begin(self, listener: socket.socket) -> None:
        """Start to probe the address of this listener."""
        self._family = socket.AddressFamily(listener.family)
        self._target = listener.getsockname()
        if isinstance(self._target, tuple):
            host, port, *rest = self._target
            self._target = ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port, *rest)
        signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, _FIRST_INTERVAL, _FIRST_INTERVAL)
        # at its end Python restores the signal's default action, which would kill the process
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)

    def end(self) -> None:
        """Stop probing, and tell systemd that the service is stopping."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._close()
        systemd.notify("STOPPING=1", address=self._address)

    def forget(self) -> None:
        """In a worker, after the fork: restore the signal, since the timer is the master's."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self._close()

    def _tick(self, number: int, frame: FrameType | None) -> None:
        # an exception from here would end gunicorn's loop
        try:
            if self._connection is None:
                self._connect()
            elif not self._is_sent:
                self._send()
            else:
                self._receive()
        except (BlockingIOError, InterruptedError):
            if time.monotonic() - self._began_at > (self._watchdog_seconds or _TIMEOUT) / 2:
                self._close()
        except OSError:
            self._close()

    def _connect(self) -> None:
        self._began_at, self._is_sent = time.monotonic(), False
        self._connection = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with suppress(BlockingIOError):
            self._connection.connect(self._target)  # type: ignore[arg-type]
        self._send()

    def _send(self) -> None:
        assert self._connection
        self._connection.send(_REQUEST)
        self._is_sent = True

    def _receive(self) -> None:
        assert self._connection
        response = self._connection.recv(100)
        self._close()
        if response.split(b" ")[1:2] == [b"200"]:
            self._notify()

    def _close(self) -> None:
        if self._connection:
            connection, self._connection = self._connection, None
            connection.close()

    def _notify(self) -> None:
        if not self._is_ready:
            self._is_ready = True
            systemd.notify("READY=1\nSTATUS=A worker answers requests", address=self._address)
            interval = min(_MAX_INTERVAL, self._watchdog_seconds / 8) if self._watchdog_seconds else 0.0
            signal.setitimer(signal.ITIMER_REAL, interval, interval)
        if self._watchdog_seconds:
            systemd.notify("WATCHDOG=1", address=self._address)
