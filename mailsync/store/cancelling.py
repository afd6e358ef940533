"""Cancel the statements that a process has running in Postgres when it is asked to stop.

If a client only disappears, its backend keeps running the statement until it next checks the connection,
seconds later. Where the operating system cannot detect a closed connection, the statement runs to its end.
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
_SPARED = 1.0
"""Seconds within which a statement may still end by itself."""
_ANSWER_WITHIN = 2.0


def register(conn: psycopg.Connection[Any]) -> None:
    """Make this connection one whose statements are cancelled when the process is asked to stop."""
    with _changing:
        _connections.add(conn)


class Canceller:
    """Cancels the statements of all connections of this process, some time after it is asked to stop.

    A statement that ends by itself within a second is left alone. Later statements, such as those that end a
    turn, are treated alike, until the process ends or :meth:`close` is called.
    """

    def __init__(self, after: float) -> None:
        """`after` is how many seconds after :meth:`ask` cancelling begins."""
        self._after = after
        # True: asked to stop; False: closed
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="canceller", daemon=True)

    def start(self) -> None:
        """Be ready to be asked; a thread cannot be started safely in a signal's handler."""
        self._thread.start()

    def ask(self) -> None:
        """The process is asked to stop. Safe in a signal's handler."""
        self._requests.put(True)

    def close(self) -> None:
        """End the thread; nothing is cancelled from now on."""
        self._requests.put(False)

    def _run(self) -> None:
        while self._requests.get():
            wait = self._after
            while not self._is_closed(wait):
                wait = 0.0
                for conn in _running_for(_SPARED):
                    # it may end, or its server may go away, at this very moment
                    with suppress(psycopg.Error):
                        conn.cancel_safe(timeout=_ANSWER_WITHIN)

    def _is_closed(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        with suppress(queue.Empty):
            while (left := until - time.monotonic()) > 0 or not self._requests.empty():
                if not self._requests.get(timeout=max(0.0, left)):
                    # put it back: the outer loop has to end too
                    self._requests.put(False)
                    return True
        return False


def _running_for(seconds: float) -> list[psycopg.Connection[Any]]:
    """Watch for so many seconds; returns the connections that were busy at every look."""
    with _changing:
        running = list(_connections)
    until = time.monotonic() + seconds
    while running and time.monotonic() < until:
        running = [conn for conn in running if _runs(conn)]
        time.sleep(_LOOK_EVERY)
    if not running:
        # the caller looks again at once, and must not spin
        time.sleep(_LOOK_EVERY)
    return running


def _runs(conn: psycopg.Connection[Any]) -> bool:
    return not conn.closed and conn.info.transaction_status == TransactionStatus.ACTIVE
