"""Connections that the API borrows for short statements.

Never borrow one for an account's lock: the lock would outlive the connection's return to the pool. Whatever
takes a lock opens its own connection with :func:`mailsync.store.db.connect`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from mailsync.config import Settings
from mailsync.errors import DatabaseUnavailable, MailsyncError
from mailsync.store.db import Connection, connect
from mailsync.store.statements import run, translated


class Pool:
    """Up to `size` connections, opened on first use, and therefore after a server has forked.

    `role` and `statement_timeout` (seconds) are passed to :func:`mailsync.store.db.connect`. `wait` is the
    number of seconds that a borrower waits for a free connection, or for Postgres to become reachable.
    """

    def __init__(
        self, settings: Settings, role: str, *, size: int, statement_timeout: float, wait: float = 3.0
    ) -> None:
        self._settings = settings
        self._role = role
        self._statement_timeout = statement_timeout
        self._size = size
        self._wait = wait
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._owner = 0
        self._connect_error: MailsyncError | None = None

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection that has been checked to be alive. Driver errors are raised as mailsync's own.

        Raises DatabaseUnavailable when no connection becomes available in time.
        """
        try:
            with self._opened().connection(self._wait) as conn:
                yield conn
        except PoolTimeout as error:
            # the last connection error explains more than the timeout
            cause = self._connect_error
            raise DatabaseUnavailable(str(cause)) if cause else translated(error) from error
        except psycopg.Error as error:
            raise translated(error) from error

    def close(self) -> None:
        """Close all connections; the next borrower opens new ones."""
        with self._lock:
            if self._pool and self._owner == os.getpid():
                self._pool.close()
            self._pool = None

    def _opened(self) -> ConnectionPool[Connection]:
        with self._lock:
            # a pool that was opened before a fork belongs to the parent, including its sockets
            if self._pool is None or self._owner != os.getpid():
                self._owner = os.getpid()
                self._pool = ConnectionPool(
                    # the pool only calls its `connect`, and sessions are set up in one place: db.connect
                    connection_class=cast(type[Connection], SimpleNamespace(connect=self._connect)),
                    configure=_plan_for_values,
                    min_size=0,
                    max_size=self._size,
                    timeout=self._wait,
                    reconnect_timeout=self._wait,
                    check=ConnectionPool.check_connection,
                    name="mailsync",
                    open=True,
                )
            return self._pool

    def _connect(self, conninfo: str = "", **kwargs: object) -> Connection:
        try:
            conn = connect(self._settings, self._role, statement_timeout=self._statement_timeout)
        except MailsyncError as error:
            self._connect_error = error
            raise
        self._connect_error = None
        return conn


def _plan_for_values(conn: Connection) -> None:
    run(conn, "plan_for_values")
