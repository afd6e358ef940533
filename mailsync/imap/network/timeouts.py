"""How one waits for a server: in slices, with a read timeout, under a deadline. Knows no protocol."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailsync.errors import TimedOut

SLICE = 1.0
"""Seconds after which a wait is interrupted for ``on_wait``."""

MOST_SILENCES = 5
"""How many times the timeout all commands without a deadline may take together, however much is said."""


class Timeouts:
    """The limits of waiting on one connection; sockets under it are non-blocking.

    ``on_wait`` is called at least once per slice while something is awaited or read. It writes heartbeats
    and may raise, which ends the wait. ``timeout`` is the number of seconds without any byte after which
    the server counts as gone. All commands without a :meth:`deadline` share ``MOST_SILENCES`` times as long
    until :meth:`renew`, because a server that drips is never silent. ``doing`` names the step that is waited
    for, in messages to people; ``on_begin`` is called with it when the step begins, and may raise too.
    """

    def __init__(
        self,
        on_wait: Callable[[], None],
        timeout: float,
        on_begin: Callable[[str], None] = lambda doing: None,
    ) -> None:
        self.on_wait = on_wait
        self.on_begin = on_begin
        self.timeout = timeout
        self.doing = "connecting"
        self._deadline: float | None = None
        self._allowed = 0.0
        self._called = self._checked = time.monotonic()
        self._left = MOST_SILENCES * timeout

    def resume(self, on_wait: Callable[[], None], on_begin: Callable[[str], None]) -> None:
        """Begin another turn with callbacks of its own, and as much time as at first."""
        self.on_wait, self.on_begin = on_wait, on_begin
        self._left = MOST_SILENCES * self.timeout

    def begin(self, doing: str) -> None:
        """Begin the step `doing`, which is waited for from now on."""
        self.doing = doing
        self._checked = time.monotonic()
        self.on_begin(doing)

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Bound everything inside together; an outer deadline that is nearer stays in force."""
        before = self._deadline, self._allowed
        mine = time.monotonic() + seconds
        if before[0] is None or mine < before[0]:
            self._deadline, self._allowed = mine, seconds
        try:
            yield
        finally:
            self._deadline, self._allowed = before

    def check(self) -> None:
        """Call back if a slice has passed since the last call; raises TimedOut past the deadline."""
        now = self._counted()
        if now - self._called >= SLICE:
            self._called = now
            self.on_wait()
            # that is no time of the server's
            self._checked = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            raise TimedOut(f"{self.doing}: the server did not finish: timed out after {self._allowed:g} s")
        if self._left < 0:
            seconds = MOST_SILENCES * self.timeout
            raise TimedOut(f"{self.doing}: the server takes too long: timed out after {seconds:g} s in all")

    def readable(self, sock: socket.socket) -> None:
        """Wait until there is something to read; raises TimedOut when patience ends."""
        self._wait(sock, select.POLLIN)

    def writable(self, sock: socket.socket) -> None:
        """Wait until something can be written; raises TimedOut when patience ends."""
        self._wait(sock, select.POLLOUT)

    def _wait(self, sock: socket.socket, event: int) -> None:
        poll = select.poll()
        poll.register(sock, event)
        silent_since = time.monotonic()
        while True:
            self.check()
            now = time.monotonic()
            left = silent_since + self.timeout - now
            if left <= 0:
                raise TimedOut(f"{self.doing}: the server is silent: timed out after {self.timeout:g} s")
            if self._deadline is not None:
                left = min(left, self._deadline - now)
            ready = poll.poll(max(1, int(min(left, SLICE) * 1000) + 1))
            self._counted()
            if ready:
                return

    def _counted(self) -> float:
        """Count what has passed as the server's time, if no deadline does; returns the time."""
        now = time.monotonic()
        if self._deadline is None:
            self._left -= now - self._checked
        self._checked = now
        return now
