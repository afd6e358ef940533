"""Cancel the running statements of a process that was asked to stop.

If a client just disappears, its backend keeps running the statement until it next checks the connection,
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
_connections_lock = threading.Lock()

_CHECK_INTERVAL = 0.1
_GRACE = 1.0
"""Seconds that a statement gets to end by itself."""
_CANCEL_TIMEOUT = 2.0


def register(conn: psycopg.Connection[Any]) -> None:
    """Register a connection whose statements are cancelled when the process is asked to stop."""
    with _connections_lock:
        _connections.add(conn)


class Canceller:
    """Cancels the statements of this process's connections, some time after it was asked to stop.

    Each statement gets a second to end by itself. This also applies to later statements, such as those that
    end a turn, until the process ends or :meth:`close` is called.
    """

    def __init__(self, after: float) -> None:
        """Cancelling begins `after` seconds after :meth:`ask`."""
        self._after = after
        # True: asked to stop; False: closed
        self._requests: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="canceller", daemon=True)

    def start(self) -> None:
        """Start the thread, which a signal handler could not do safely."""
        self._thread.start()

    def ask(self) -> None:
        """Begin to cancel, `after` seconds from now. Safe in a signal handler."""
        self._requests.put(True)

    def close(self) -> None:
        """End the thread and cancel nothing more."""
        self._requests.put(False)

    def _run(self) -> None:
        while self._requests.get():
            wait = self._after
            while not self._is_closed(wait):
                wait = 0.0
                for conn in _busy_for(_GRACE):
                    # the statement or the connection may end at this moment
                    with suppress(psycopg.Error):
                        conn.cancel_safe(timeout=_CANCEL_TIMEOUT)

    def _is_closed(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with suppress(queue.Empty):
            while (left := deadline - time.monotonic()) > 0 or not self._requests.empty():
                if not self._requests.get(timeout=max(0.0, left)):
                    # put it back, so that the outer loop ends too
                    self._requests.put(False)
                    return True
        return False


def _busy_for(seconds: float) -> list[psycopg.Connection[Any]]:
    """Watch the connections for some seconds; returns those that were busy at every check."""
    with _connections_lock:
        running = list(_connections)
    deadline = time.monotonic() + seconds
    while running and time.monotonic() < deadline:
        running = [conn for conn in running if _is_busy(conn)]
        time.sleep(_CHECK_INTERVAL)
    if not running:
        # the caller checks again at once, and must not spin
        time.sleep(_CHECK_INTERVAL)
    return running


def _is_busy(conn: psycopg.Connection[Any]) -> bool:
    return not conn.closed and conn.info.transaction_status == TransactionStatus.ACTIVE
