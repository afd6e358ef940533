"""What the views of one process share: settings, database, kept IMAP sessions, counters."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import cast

from flask import current_app

from mailsync.config import Settings
from mailsync.engine.counters import Counters
from mailsync.engine.runner import TurnEnvironment
from mailsync.engine.session_cache import Sessions
from mailsync.errors import Busy, MailsyncError
from mailsync.store import db
from mailsync.store.db import Connection
from mailsync.store.pool import Pool

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT = 10.0
"""Seconds that a statement of the pool's may take."""

POOL_SIZE = 8
MAX_ENGINES = 10
"""How many requests of one process may wait for locks and mail servers at once; fewer than it has threads,
so that some are left for those who only ask whether it is alive."""
MAX_SEARCHES = POOL_SIZE // 2
"""How many of the pool's connections may be lent to what reads by no index, and may take its time."""
PATIENCE = 3.0
"""Seconds that a search waits for its turn."""
MAX_DOWNLOADS = 8
"""How many files one process sends at once, for the same reason: clients may read slowly."""


class Services:
    """One for each process, and its threads share it; nothing is opened before it is needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool = Pool(settings, "api", size=POOL_SIZE, statement_timeout=STATEMENT_TIMEOUT)
        self.sessions = Sessions(settings)
        self.counters = Counters()
        self.survived: dict[int, datetime] = {}
        self._engines = threading.BoundedSemaphore(MAX_ENGINES)
        self._searches = threading.BoundedSemaphore(MAX_SEARCHES)
        self._downloads = threading.BoundedSemaphore(MAX_DOWNLOADS)

    def reading(self) -> AbstractContextManager[Connection]:
        """Lend a connection of the pool, for short statements and never for an account's lock.

        Raises DatabaseUnavailable when there is none in time. IMAP sessions that are too old are closed on
        the way, since it may be long until a mail server is asked again.
        """
        self.sessions.drop_old()
        return self.pool.connection()

    @contextmanager
    def searching(self) -> Iterator[Connection]:
        """As :meth:`reading`, for statements that may be slow: they leave half of the pool to all others.

        Raises Busy when too many of them run already.
        """
        if not self._searches.acquire(timeout=PATIENCE):
            raise Busy(f"{MAX_SEARCHES} searches run already", retry_after=2.0)
        try:
            with self.reading() as conn:
                yield conn
        finally:
            self._searches.release()

    @contextmanager
    def env(self) -> Iterator[TurnEnvironment]:
        """Lend an engine with a connection of its own, which may hold locks and wait for mail servers.

        Raises Busy when as many requests as may do so do it already, and DatabaseUnavailable.
        """
        if not self._engines.acquire(blocking=False):
            raise Busy(f"{MAX_ENGINES} requests wait for mail servers already", retry_after=2.0)
        try:
            self.sessions.drop_old()
            conn = db.connect(self.settings, "api")
            try:
                yield TurnEnvironment(
                    conn,
                    self.settings,
                    db.started_by("api"),
                    self.sessions,
                    self.counters,
                    survived=self.survived,
                )
            finally:
                self._store_counters(conn)
                conn.close()
        finally:
            self._engines.release()

    @contextmanager
    def downloading(self) -> Iterator[None]:
        """Hold a place among those who send a file; raises Busy when all are taken."""
        if not self._downloads.acquire(blocking=False):
            raise Busy(f"{MAX_DOWNLOADS} files are being sent already", retry_after=2.0)
        try:
            yield
        finally:
            self._downloads.release()

    def close(self) -> None:
        """Close what is open; the process ends."""
        self.sessions.close()
        self.pool.close()

    def _store_counters(self, conn: Connection) -> None:
        try:
            self.counters.store(conn)
        except MailsyncError as error:
            # they are kept for the next time, and the request has its answer or its error already
            log.debug("Counters not stored: %s", error)


def services() -> Services:
    """The services of the current application."""
    return cast(Services, current_app.extensions["mailsync"])
