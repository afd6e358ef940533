"""Whether this process can serve: database, schema, session locks, and that writes are taken."""

from __future__ import annotations

import logging
import re
import threading
import time

from mailsync.config import Settings
from mailsync.errors import MailsyncError, SchemaError
from mailsync.redaction import redact
from mailsync.store import locks, metrics, migrations
from mailsync.store.db import Connection
from mailsync.store.pool import Pool

log = logging.getLogger(__name__)

FRESH_FOR = 1.0
"""Seconds for which an answer is reused."""

WRITTEN_FOR = 10.0
"""Seconds after a successful write until the next one is tried."""

_PROBE = ("mailsync_readiness_writes_total", "{}", 1.0)

# what anybody may read, in place of the error, which may name hosts and roles
_REASONS = tuple(
    (re.compile(pattern, re.IGNORECASE), said)
    for pattern, said in (
        (r"too many (clients|connections)|connection slots", "it has no connection to spare"),
        (r"starting up", "it is starting up"),
        (r"shutting down|administrator command", "it is shutting down"),
        (r"read-only|recovery", "it is read-only"),
        (r"no space left|could not extend|disk full", "its disk is full"),
        (r"timeout", "it is too slow"),
    )
)


class Readiness:
    """The checks of ``/health/ready``: database, schema, locks, writes.

    The self-test of the locks runs until it has passed once. A row is written and committed at most once in
    :data:`WRITTEN_FOR` seconds while that works; only a commit shows a full disk or a server that has become
    a read-only one. The other checks are done at most once in :data:`FRESH_FOR` seconds, since anybody may
    ask. A change is logged once.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._lock = threading.Lock()
        self._locks_work = False
        self._written_at: float | None = None
        self._failures: dict[str, str] = {}
        self._checked_at: float | None = None

    def failures(self) -> dict[str, str]:
        """The checks that fail, each with its reason, for the log; empty when all pass."""
        with self._lock:
            if self._checked_at is None or time.monotonic() - self._checked_at >= FRESH_FOR:
                before, self._failures = self._failures, self._check()
                if self._failures != before or self._checked_at is None:
                    self._tell()
                self._checked_at = time.monotonic()
            return self._failures

    def _check(self) -> dict[str, str]:
        failing = "database"
        try:
            with self._pool.connection() as conn:
                # first, since a transaction pooler also loses the search_path
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

    def _tell(self) -> None:
        for name, reason in self._failures.items():
            log.error("Not ready: %s: %s", name, redact(reason), extra={"action": "health"})
        if not self._failures:
            log.info("Ready to serve", extra={"action": "health"})


def in_public(name: str, reason: str) -> str:
    """A failing check as anybody may read it: its name, with its reason only if that is a harmless one."""
    said = next((said for pattern, said in _REASONS if pattern.search(reason)), None)
    return f"{name} ({said})" if said and name in ("database", "locks", "writes") else name
