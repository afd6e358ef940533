"""What gunicorn's master tells systemd: that its workers answer.

gunicorn itself says ``READY=1`` before it has forked a worker, and never ``WATCHDOG=1``. Here both mean that
a worker has just answered ``GET /health/live`` on the port that clients use. The question is asked from a
timer's signal in the master's main thread, a step a tick and without waiting: so the answer also proves that
the master's loop runs, and no thread is in the way when it forks.
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

_QUESTION = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_STARTING = 0.1
_AT_MOST = 5.0
_PATIENCE = 30.0


class Watch:
    """Asks one question after the other, and tells systemd at `address` of each good answer.

    `patience` is how many seconds it expects to be silent at most (``WatchdogSec``), None without a watchdog:
    then the first good answer, which is ``READY=1``, is the last.
    """

    def __init__(self, address: str, patience: float | None) -> None:
        self._address = address
        self._patience = patience
        self._where: object = None
        self._family = socket.AF_INET
        self._question: socket.socket | None = None
        self._asked_at = 0.0
        self._sent = False
        self._ready = False

    @classmethod
    def from_environment(cls) -> Watch | None:
        """Take the place of gunicorn, which then finds no ``NOTIFY_SOCKET``; None if systemd did not ask."""
        address = os.environ.pop("NOTIFY_SOCKET", "")
        return cls(address, systemd.watchdog()) if address else None

    def begin(self, listener: socket.socket) -> None:
        """Start to ask, through this listener."""
        self._family = socket.AddressFamily(listener.family)
        self._where = listener.getsockname()
        if isinstance(self._where, tuple):
            host, port, *rest = self._where
            self._where = ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port, *rest)
        signal.signal(signal.SIGALRM, self._tick)
        signal.setitimer(signal.ITIMER_REAL, _STARTING, _STARTING)
        # Python gives the signal back its own meaning before it ends
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)

    def end(self) -> None:
        """Ask no more, and tell that the service is about to end."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._drop()
        systemd.notify("STOPPING=1", address=self._address)

    def forget(self) -> None:
        """In a worker, after the fork: the timer is the master's."""
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        self._drop()

    def _tick(self, number: int, frame: FrameType | None) -> None:
        # whatever is raised here would end gunicorn's loop
        try:
            if self._question is None:
                self._ask()
            elif not self._sent:
                self._send()
            else:
                self._listen()
        except (BlockingIOError, InterruptedError):
            if time.monotonic() - self._asked_at > (self._patience or _PATIENCE) / 2:
                self._drop()
        except OSError:
            self._drop()

    def _ask(self) -> None:
        self._asked_at, self._sent = time.monotonic(), False
        self._question = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with suppress(BlockingIOError):
            self._question.connect(self._where)  # type: ignore[arg-type]
        self._send()

    def _send(self) -> None:
        assert self._question
        self._question.send(_QUESTION)
        self._sent = True

    def _listen(self) -> None:
        assert self._question
        answer = self._question.recv(100)
        self._drop()
        if answer.split(b" ")[1:2] == [b"200"]:
            self._tell()

    def _drop(self) -> None:
        if self._question:
            question, self._question = self._question, None
            question.close()

    def _tell(self) -> None:
        if not self._ready:
            self._ready = True
            systemd.notify("READY=1\nSTATUS=A worker answers requests", address=self._address)
            every = min(_AT_MOST, self._patience / 8) if self._patience else 0.0
            signal.setitimer(signal.ITIMER_REAL, every, every)
        if self._patience:
            systemd.notify("WATCHDOG=1", address=self._address)
