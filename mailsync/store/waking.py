"""Waking by NOTIFY in bounded memory: a flag records that one came, and its content is dropped.

Any role that may connect can notify on any channel, as often as it likes. psycopg would keep each
notification until somebody asks for it, and libpq those that arrive before the result of a statement.
"""

from __future__ import annotations

import select
import time
from collections.abc import Generator
from typing import Any

import psycopg

from mailsync.store.statements import run, translated

_LOOK_EVERY = 1.0
"""Seconds between two wake-ups, so that a flood of notifications costs one look a second."""


class WakeableConnection(psycopg.Connection[Any]):
    """A connection that can listen; notifications take no memory, even while a statement runs."""

    _listens = False
    _was_notified = False
    _woken_at = float("-inf")

    def listen(self) -> None:
        """Hear ``NOTIFY mailsync_wake`` from now on."""
        # without a handler psycopg keeps every notification
        self.add_notify_handler(self._note)
        self._listens = True
        run(self, "listen_for_wake")

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """As psycopg's, which calls it for everything that goes over the connection."""
        return super().wait(self._hearing(gen) if self._listens else gen, *args, **kwargs)

    def wait_for_wake(self, seconds: float) -> bool:
        """Wait up to `seconds` for a wake-up; whether there was one, at most once a second."""
        until = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN)
        while True:
            self._take_in()
            now = time.monotonic()
            left = max(0.0, until - now)
            if self._was_notified:
                too_early = self._woken_at + _LOOK_EVERY - now
                # further notifications say nothing new, and can wait in Postgres
                time.sleep(min(left, max(0.0, too_early)))
                if too_early > left:
                    return False
                self._was_notified, self._woken_at = False, time.monotonic()
                return True
            if not poll.poll(left * 1000):
                return False
            self.pgconn.consume_input()

    def _hearing(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The same generator, taking in notifications at every step: gigabytes may precede a result."""
        try:
            waits_for = next(gen)
            while True:
                self._take_in()
                waits_for = gen.send((yield waits_for))
        except StopIteration as end:
            return end.value

    def _take_in(self) -> None:
        notification = self.pgconn.notifies
        while notification():
            self._was_notified = True

    def _note(self, notification: psycopg.Notify) -> None:
        self._was_notified = True


def wait_for_wake(conn: psycopg.Connection[Any], seconds: float) -> bool:
    """As :meth:`WakeableConnection.wait_for_wake`; driver errors come out as mailsync's own."""
    try:
        return _wakeable(conn).wait_for_wake(seconds)
    except psycopg.Error as error:
        raise translated(error) from error


def listen(conn: psycopg.Connection[Any]) -> None:
    """Hear ``NOTIFY mailsync_wake`` on this connection from now on."""
    _wakeable(conn).listen()


def _wakeable(conn: psycopg.Connection[Any]) -> WakeableConnection:
    assert isinstance(conn, WakeableConnection)
    return conn
