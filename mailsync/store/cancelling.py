"""Ending what a process has running in Postgres when it is asked to stop.

A client that merely goes away leaves its statement running until the backend looks for it, which is seconds
later, or never where the operating system does not tell.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

_connections: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()
_changing = threading.Lock()

_LOOK_EVERY = 0.1
_LONG = 1.0
_ANSWER_WITHIN = 2.0


def register(conn: psycopg.Connection[Any]) -> None:
    """Let the statements of this connection be cancelled when its process is asked to stop."""
    with _changing:
        _connections.add(conn)


class Canceller:
    """Cancels the statements of all connections of this process, some time after it was asked to.

    A statement that ends by itself within a second is left alone. It goes on until the process ends or it is
    closed, since the end of a turn has statements too.
    """

    def __init__(self, after: float) -> None:
        """`after` is how many seconds statements may go on for."""
        self._after = after
        self._words: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="canceller", daemon=True)

    def start(self) -> None:
        """Be ready to be asked; a thread cannot be started safely in a signal's handler."""
        self._thread.start()

    def ask(self) -> None:
        """The process is asked to stop. Safe in a signal's handler."""
        self._words.put(True)

    def close(self) -> None:
        """It is over; nothing is cancelled from now on."""
        self._words.put(False)

    def _run(self) -> None:
        while self._words.get():
            wait = self._after
            while not self._is_closed(wait):
                wait = 0.0
                for conn in _running_for(_LONG):
                    with suppress(Exception):
                        conn.cancel_safe(timeout=_ANSWER_WITHIN)

    def _is_closed(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        with suppress(queue.Empty):
            while (left := until - time.monotonic()) > 0 or not self._words.empty():
                if not self._words.get(timeout=max(0.0, left)):
                    # for the outer loop, too
                    self._words.put(False)
                    return True
        return False


def _running_for(seconds: float) -> list[psycopg.Connection[Any]]:
    """The connections that a statement runs on whenever one looks, for so long."""
    with _changing:
        running = list(_connections)
    until = time.monotonic() + seconds
    while running and time.monotonic() < until:
        running = [conn for conn in running if _runs(conn)]
        time.sleep(_LOOK_EVERY)
    if not running:
        # whoever has nothing to cancel looks again before long
        time.sleep(_LOOK_EVERY)
    return running


def _runs(conn: psycopg.Connection[Any]) -> bool:
    return not conn.closed and conn.info.transaction_status == TransactionStatus.ACTIVE
