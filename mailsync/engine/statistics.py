"""ANALYZE between turns: a plan that was made for an empty table is ruinous for a full one.

Autovacuum may be off, or come only a minute after a first sync is complete. Postgres' own counters show which
tables are due, so several workers need not coordinate.
"""

from __future__ import annotations

import logging
import time
from collections import deque

from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import MailsyncError
from mailsync.redaction import redact
from mailsync.store import db, statistics

log = logging.getLogger(__name__)

_ROWS = 500
"""Rows that this process has to write before it looks for tables that are due."""
_LOOK_EVERY = 60.0
_RETRY_AFTER = 3600.0


class Statistics:
    """Analyses the tables that are due, on behalf of one worker; finding them costs one statement."""

    def __init__(self) -> None:
        self._due: deque[str] = deque()
        self._looked_at = float("-inf")
        self._rows_seen = 0.0
        self._asked = False
        self._failed_at: dict[str, float] = {}
        self._not_owned: set[str] = set()

    def look_soon(self) -> None:
        """Look for tables that are due at the next step, even if few rows were written."""
        self._asked = True

    def step(self, env: TurnEnvironment) -> bool:
        """Analyse one table if one is due; returns whether more may be due.

        After a failure that leaves the connection usable, only this table waits, for an hour.
        """
        try:
            if not self._due and not self._look(env):
                return False
            table = self._due.popleft()
            began = time.monotonic()
            try:
                statistics.analyse(env.conn, table, env.settings.statement_timeout)
            except MailsyncError:
                self._failed_at[table] = time.monotonic()
                raise
        except MailsyncError as error:
            if db.is_broken(env.conn):
                raise
            log.warning("Analyze failed", extra={"action": "analyze", "error": redact(str(error))})
            return bool(self._due)
        took = round(1000 * (time.monotonic() - began))
        log.debug("Analyzed", extra={"action": "analyze", "table": table, "duration_ms": took})
        return True

    def _look(self, env: TurnEnvironment) -> bool:
        now, rows = time.monotonic(), env.counters.rows_written
        if not self._asked and (rows - self._rows_seen < _ROWS or now - self._looked_at < _LOOK_EVERY):
            return False
        self._asked, self._rows_seen, self._looked_at = False, rows, now
        for table, allowed in statistics.stale(env.conn):
            if not allowed:
                self._log_not_owned(table)
            elif now - self._failed_at.get(table, float("-inf")) >= _RETRY_AFTER:
                self._due.append(table)
        return bool(self._due)

    def _log_not_owned(self, table: str) -> None:
        if table not in self._not_owned:
            self._not_owned.add(table)
            log.debug("Not the owner, so not analyzed", extra={"action": "analyze", "table": table})
