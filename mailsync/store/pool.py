"""Connections that the API borrows for short statements.

Never for an account's lock: a session lock would survive the return to the pool. Whoever takes one opens a
connection of its own by :func:`mailsync.store.db.connect`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from mailsync.config import Settings
from mailsync.errors import DatabaseUnavailable, MailsyncError
from mailsync.store.db import Connection, connect
from mailsync.store.statements import run, translated


class Pool:
    """Up to `size` connections, opened when they are first needed and so after a server has forked.

    `role` and `statement_timeout` (seconds) are those of :func:`mailsync.store.db.connect`; `wait` is how
    many seconds a borrower waits for a free connection, or for Postgres to be reached.
    """

    def __init__(
        self, settings: Settings, role: str, *, size: int, statement_timeout: float, wait: float = 3.0
    ) -> None:
        self._opener = _Opener(settings, role, statement_timeout)
        self._size = size
        self._wait = wait
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Connection] | None = None
        self._owner = 0

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection, checked to be alive; driver errors come out as mailsync's own.

        Raises DatabaseUnavailable when there is none in time.
        """
        try:
            with self._opened().connection(self._wait) as conn:
                yield conn
        except PoolTimeout as error:
            # the error of the last connection says more than a timeout does
            why = self._opener.failure
            raise DatabaseUnavailable(str(why)) if why else translated(error) from error
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
            # a pool of before a fork belongs to the parent, its sockets included
            if self._pool is None or self._owner != os.getpid():
                self._owner = os.getpid()
                self._pool = ConnectionPool(
                    connection_class=cast(type[Connection], self._opener),
                    min_size=0,
                    max_size=self._size,
                    timeout=self._wait,
                    reconnect_timeout=self._wait,
                    check=ConnectionPool.check_connection,
                    name="mailsync",
                    open=True,
                )
            return self._pool


class _Opener:
    """Stands where the pool expects a connection class, since connections are set up in one place only.

    What is added here is that each statement is planned for the values that it is run with.
    """

    def __init__(self, settings: Settings, role: str, statement_timeout: float) -> None:
        self._arguments = settings, role, statement_timeout
        self.failure: MailsyncError | None = None
        """Why the last connection could not be opened; None if it could."""

    def connect(self, conninfo: str = "", **kwargs: Any) -> Connection:
        settings, role, statement_timeout = self._arguments
        try:
            conn = connect(settings, role, statement_timeout=statement_timeout)
            try:
                run(conn, "plan_for_values")
            except MailsyncError:
                conn.close()
                raise
        except MailsyncError as error:
            self.failure = error
            raise
        self.failure = None
        return conn
