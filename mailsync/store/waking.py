"""Waking by NOTIFY in bounded memory: a flag records that a notification arrived, and its content is dropped.

Any role that may connect can send any number of notifications on any channel. psycopg would keep each until
it is read, and libpq would keep those that arrive before the result of a statement.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, Protocol

import psycopg

from mailsync.store.statements import run, translated

_MIN_INTERVAL = 1.0
"""Seconds between two wake-ups, so that a flood of notifications costs one wake-up a second."""


class BatchInFlight(Protocol):
    """A batch whose commit is in flight: :class:`mailsync.store.messages.SentBatch`."""

    def collect(self) -> None:
        """Wait until the transaction has ended."""


class WakeableConnection(psycopg.Connection[Any]):
    """A connection that can listen. Notifications take no memory, even while a statement runs."""

    sent_batch: BatchInFlight | None = None
    """The batch that :func:`mailsync.store.statements.finish_pipeline` finishes before the next statement."""

    _listens = False
    _was_notified = False
    _woken_at = float("-inf")

    def listen(self) -> None:
        """Listen for ``NOTIFY mailsync_wake`` from now on."""
        # without a handler psycopg keeps every notification
        self.add_notify_handler(self._note)
        self._listens = True
        run(self, "listen_for_wake")

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """psycopg calls this for every exchange with the server."""
        return super().wait(self._collecting(gen) if self._listens else gen, *args, **kwargs)

    def wake_up_in(self) -> float:
        """Take what has arrived; returns the seconds until it counts as a wake-up, infinity for nothing."""
        if not self._was_notified:
            self.pgconn.consume_input()
            self._collect()
        if not self._was_notified:
            return float("inf")
        return max(0.0, self._woken_at + _MIN_INTERVAL - time.monotonic())

    def take_wake_up(self) -> None:
        """Count what has arrived as one wake-up, now."""
        self._was_notified, self._woken_at = False, time.monotonic()

    def _collecting(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """The same generator, but notifications, which may be gigabytes, are dropped at every step."""
        try:
            waits_for = next(gen)
            while True:
                self._collect()
                waits_for = gen.send((yield waits_for))
        except StopIteration as end:
            return end.value

    def _collect(self) -> None:
        notification = self.pgconn.notifies
        while notification():
            self._was_notified = True

    def _note(self, notification: psycopg.Notify) -> None:
        self._was_notified = True


def wake_up_in(conn: WakeableConnection) -> float:
    """Like :meth:`WakeableConnection.wake_up_in`; driver errors are raised as mailsync's own."""
    try:
        return conn.wake_up_in()
    except psycopg.Error as error:
        raise translated(error) from error


def listen(conn: WakeableConnection) -> None:
    """Listen for ``NOTIFY mailsync_wake`` on this connection from now on."""
    conn.listen()
