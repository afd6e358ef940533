"""Whether this process can serve requests: database, schema, session locks, writes."""

from __future__ import annotations

import logging
import re
import threading
import time

from mailsync.config import Settings
from mailsync.errors import DatabaseSlow, MailsyncError, SchemaError
from mailsync.redaction import redact
from mailsync.store import locks, metrics, migrations
from mailsync.store.db import Connection
from mailsync.store.pool import Pool

log = logging.getLogger(__name__)

FRESH_FOR = 1.0
"""Seconds for which a result is reused."""

WRITTEN_FOR = 10.0
"""Seconds between two test writes while they succeed."""

QUIET_FOR = 10.0
"""Seconds in which an outage that returns, or an error that repeats, is not logged again."""

_PROBE = ("mailsync_readiness_writes_total", "{}", 1.0)

# shown to clients without a token, in place of the error, which may name hosts and roles
_PUBLIC_REASONS = tuple(
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (r"too many (clients|connections)|connection slots", "it has no connection to spare"),
        (r"starting up", "it is starting up"),
        (r"shutting down|administrator command", "it is shutting down"),
        (r"read-only|recovery", "it is read-only"),
        (r"no space left|could not extend|disk full", "its disk is full"),
        (r"timeout", "it is too slow"),
    )
)


class Readiness:
    """The checks behind ``/health/ready``: database, schema, locks, writes. Logs each change once.

    A database that comes and goes counts as one outage, until it has been there for :data:`QUIET_FOR`
    seconds or has been away for as long.

    The lock self-test runs until it has passed once. A row is committed at most every :data:`WRITTEN_FOR`
    seconds, because only a commit reveals a full disk or a server that has become read-only. The other checks
    run at most every :data:`FRESH_FOR` seconds, because anybody may request them.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._lock = threading.Lock()
        self._locks_work = False
        self._written_at: float | None = None
        self._failures: dict[str, str] = {}
        self._checked_at: float | None = None
        self._logged: dict[str, str] | None = None
        self._recovered_at: float | None = None
        self._unexplained: dict[str, float] = {}

    def failures(self) -> dict[str, str]:
        """The failing checks by name, each with its reason for the log; empty if all pass."""
        with self._lock:
            return self._run()

    def explains(self, error: MailsyncError) -> bool:
        """Whether the log already has the cause of a request's database `error`.

        The first error of an outage runs the checks, which log the outage. If all checks pass, the caller
        logs the error; the same error explains itself for :data:`QUIET_FOR` seconds after that.
        """
        if isinstance(error, DatabaseSlow):
            return False
        with self._lock:
            if self._failures:
                self._log_change()
                return True
            return bool(self._run(reuse=False)) or self._is_repeated(str(error)[:300])

    def _is_repeated(self, text: str) -> bool:
        now = time.monotonic()
        self._unexplained = {old: at for old, at in self._unexplained.items() if now - at < QUIET_FOR}
        if text in self._unexplained:
            return True
        self._unexplained[text] = now
        return False

    def database_answered(self) -> None:
        """Note that a request has read from the database. After an outage, run the checks and log its end."""
        # without waiting: another thread may be running the checks already
        if self._failures and self._lock.acquire(blocking=False):
            try:
                self._run(reuse="database" not in self._failures)
            finally:
                self._lock.release()

    def _run(self, *, reuse: bool = True) -> dict[str, str]:
        is_fresh = self._checked_at is not None and time.monotonic() - self._checked_at < FRESH_FOR
        if not (reuse and is_fresh):
            self._failures = self._check()
            self._checked_at = time.monotonic()
            self._log_change()
        return self._failures

    def _check(self) -> dict[str, str]:
        failing = "database"
        try:
            with self._pool.connection() as conn:
                # first, because a transaction pooler also loses the search_path
                if not self._locks_work:
                    failing = "locks"
                    locks.self_test(self._settings)
                    self._locks_work = True
                failing = "database"
                migrations.check(conn)
                failing = "writes"
                self._write(conn)
        except SchemaError as error:
            return {"schema": str(error)}
        except MailsyncError as error:
            return {failing: str(error)}
        return {}

    def _write(self, conn: Connection) -> None:
        if self._written_at is None or time.monotonic() - self._written_at >= WRITTEN_FOR:
            self._written_at = None
            metrics.add(conn, [_PROBE])
            self._written_at = time.monotonic()

    def _log_change(self) -> None:
        # the reason for a lost database varies from try to try
        state = {name: reason if name == "schema" else "" for name, reason in self._failures.items()}
        if state == self._logged:
            return
        now = time.monotonic()
        if state and self._recovered_at is not None and now - self._recovered_at < QUIET_FOR:
            return
        self._recovered_at = now if self._logged and not state else None
        self._logged = state
        for name, reason in self._failures.items():
            log.error("Not ready: %s: %s", name, redact(reason), extra={"action": "health"})
        if not self._failures:
            log.info("Ready to serve", extra={"action": "health"})


def in_public(name: str, reason: str) -> str:
    """A failing check for clients without a token: its name, and its reason if that reveals nothing."""
    shown = next((public for pattern, public in _PUBLIC_REASONS if pattern.search(reason)), None)
    return f"{name} ({shown})" if shown and name in ("database", "locks", "writes") else name
