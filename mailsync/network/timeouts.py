"""Waiting for a server: in slices, with a read timeout, under a deadline. Knows no protocol."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailsync.errors import TimedOut

SLICE = 1.0
"""Seconds after which a wait is interrupted to call ``on_wait``."""

MOST_SILENCES = 5
"""How many timeouts all commands without a deadline may take together, even if bytes keep coming."""


def _nothing(activity: str = "") -> None:
    """Take the place of a callback between two turns."""


class Timeouts:
    """The limits of waiting on one connection, whose socket is non-blocking.

    ``on_wait`` is called at least once a slice while waiting or reading. It writes heartbeats and may raise,
    which ends the wait. ``longest_silence`` is the number of seconds without any byte after which the server
    counts as gone, by default ``timeout``. Until :meth:`resume`, all commands without a :meth:`deadline`
    share ``MOST_SILENCES`` times ``timeout``, because a server that drips bytes is never silent. ``activity``
    names the current step in error messages; ``on_begin`` is called with it when the step begins, and may
    raise too.
    """

    def __init__(
        self,
        on_wait: Callable[[], None],
        timeout: float,
        on_begin: Callable[[str], None] = lambda activity: None,
    ) -> None:
        self.on_wait = on_wait
        self.on_begin = on_begin
        self.timeout = self.longest_silence = timeout
        self.activity = "connecting"
        self._deadline: float | None = None
        self._allowed = 0.0
        self._called = self._checked = time.monotonic()
        self._left = MOST_SILENCES * timeout

    def resume(self, on_wait: Callable[[], None], on_begin: Callable[[str], None]) -> None:
        """Begin another turn, with its own callbacks and the full time."""
        self.on_wait, self.on_begin = on_wait, on_begin
        self._left = MOST_SILENCES * self.timeout

    def release(self) -> None:
        """Forget the callbacks, and all that they refer to, until :meth:`resume`."""
        self.on_wait, self.on_begin = _nothing, _nothing

    def begin(self, activity: str) -> None:
        """Begin a step."""
        self.activity = activity
        self._checked = time.monotonic()
        self.on_begin(activity)

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Limit all waiting in the context together; an outer deadline that is nearer stays in force."""
        outer = self._deadline, self._allowed
        inner = time.monotonic() + seconds
        if outer[0] is None or inner < outer[0]:
            self._deadline, self._allowed = inner, seconds
        try:
            yield
        finally:
            self._deadline, self._allowed = outer

    def check(self) -> None:
        """Call ``on_wait`` if a slice has passed since the last call; raises TimedOut past a limit."""
        now = self._charge()
        if now - self._called >= SLICE:
            self._called = now
            self.on_wait()
            # the server is not charged for our callback
            self._checked = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            raise TimedOut(f"{self.activity}: the server did not finish: timed out after {self._allowed:g} s")
        if self._left < 0:
            seconds = MOST_SILENCES * self.timeout
            raise TimedOut(f"{self.activity}: the server is too slow: timed out after {seconds:g} s in all")

    def readable(self, sock: socket.socket) -> None:
        """Wait until bytes can be read; raises TimedOut."""
        self._wait(sock, select.POLLIN)

    def writable(self, sock: socket.socket) -> None:
        """Wait until bytes can be written; raises TimedOut."""
        self._wait(sock, select.POLLOUT)

    def _wait(self, sock: socket.socket, event: int) -> None:
        poll = select.poll()
        poll.register(sock, event)
        silent_since = time.monotonic()
        while True:
            self.check()
            now = time.monotonic()
            left = silent_since + self.longest_silence - now
            if left <= 0:
                seconds = self.longest_silence
                raise TimedOut(f"{self.activity}: the server is silent: timed out after {seconds:g} s")
            if self._deadline is not None:
                left = min(left, self._deadline - now)
            ready = poll.poll(max(1, int(min(left, SLICE) * 1000) + 1))
            self._charge()
            if ready:
                return

    def _charge(self) -> float:
        """Charge the time since the last call to the server, unless a deadline is set; return the time."""
        now = time.monotonic()
        if self._deadline is None:
            self._left -= now - self._checked
        self._checked = now
        return now
