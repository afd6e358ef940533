"""The resources that all requests of one process share: database pool, IMAP sessions, counters, limits."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import cast

from flask import current_app

from mailsync.config import Settings
from mailsync.engine.counters import Counters
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import Busy, MailsyncError
from mailsync.store import db
from mailsync.store.db import Connection
from mailsync.store.pool import Pool
from mailsync.web.readiness import Readiness

log = logging.getLogger(__name__)

STATEMENT_TIMEOUT = 10.0
"""Seconds that a statement on a pooled connection may take."""

POOL_SIZE = 8
MAX_TURN_ENVIRONMENTS = 10
"""How many requests of one process may wait for locks and mail servers at once. The process has more threads
than this, so health checks still get one."""
MAX_SEARCHES = POOL_SIZE // 2
"""How many pooled connections searches without an index may hold at once."""
SEARCH_WAIT = 3.0
"""Seconds that a search waits for one of these connections."""
MAX_DOWNLOADS = 8
"""How many files one process sends at once. Clients may read slowly, and each holds a thread."""


class Resources:
    """One per process, shared by its threads; opens nothing before a request needs it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool = Pool(settings, "api", size=POOL_SIZE, statement_timeout=STATEMENT_TIMEOUT)
        self.readiness = Readiness(settings, self.pool)
        self.sessions = SessionCache(settings)
        self.counters = Counters()
        self.survived: dict[int, datetime] = {}
        self._environments = threading.BoundedSemaphore(MAX_TURN_ENVIRONMENTS)
        self._searches = threading.BoundedSemaphore(MAX_SEARCHES)
        self._downloads = threading.BoundedSemaphore(MAX_DOWNLOADS)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a pooled connection for short statements; never for an account's lock.

        Also closes IMAP sessions that have been idle for too long, because no other request may come for
        hours. Raises DatabaseUnavailable if no connection becomes free in time.
        """
        self.sessions.drop_old()
        with self.pool.connection() as conn:
            yield conn
        self.readiness.database_answered()

    @contextmanager
    def searching(self) -> Iterator[Connection]:
        """Like :meth:`reading`, for statements that may be slow; at most :data:`MAX_SEARCHES` at once.

        Raises Busy if all of these places stay taken for :data:`SEARCH_WAIT` seconds.
        """
        if not self._searches.acquire(timeout=SEARCH_WAIT):
            raise Busy(f"{MAX_SEARCHES} searches are already running", retry_after=2.0)
        try:
            with self.reading() as conn:
                yield conn
        finally:
            self._searches.release()

    @contextmanager
    def turn_environment(self) -> Iterator[TurnEnvironment]:
        """Lend an environment with its own connection, which may hold locks and wait for mail servers.

        Raises Busy if :data:`MAX_TURN_ENVIRONMENTS` requests already have one, and DatabaseUnavailable.
        """
        if not self._environments.acquire(blocking=False):
            raise Busy(
                f"{MAX_TURN_ENVIRONMENTS} requests are already waiting for mail servers", retry_after=2.0
            )
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
            self._environments.release()

    @contextmanager
    def downloading(self) -> Iterator[None]:
        """Hold one of the :data:`MAX_DOWNLOADS` places; raises Busy if all are taken."""
        if not self._downloads.acquire(blocking=False):
            raise Busy(f"{MAX_DOWNLOADS} files are already being sent", retry_after=2.0)
        try:
            yield
        finally:
            self._downloads.release()

    def close(self) -> None:
        """Close all sessions and connections when the process ends."""
        self.sessions.close()
        self.pool.close()

    def _store_counters(self, conn: Connection) -> None:
        try:
            self.counters.store(conn)
        except MailsyncError as error:
            # the next request stores them; this one already has its answer or its error
            log.debug("Counters not stored: %s", error)


def resources() -> Resources:
    """The resources of the current application."""
    return cast(Resources, current_app.extensions["mailsync"])
