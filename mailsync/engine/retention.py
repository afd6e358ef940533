"""Retention: once an hour, by one process, a chunk at a time between turns (SPEC §15).

What is done is committed, so a worker that ends in the middle leaves the rest to whichever looks next. When
the hour is over stands in the table ``upkeep``, not in a process: starts of workers neither begin it anew nor
put it off.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

from mailsync.engine.runner import Engine
from mailsync.engine.statistics import Statistics
from mailsync.errors import Busy, DatabaseSlow, MailsyncError, RowsLocked
from mailsync.redaction import redact
from mailsync.store import accounts, db, retention
from mailsync.store.locks import account_lock

log = logging.getLogger(__name__)

_LOOK_EVERY = 15.0
_AIM = 0.4
_LEAST, _FIRST = 100, 1000
_SLOW_PAUSE, _LONGEST_PAUSE = 30.0, 1800.0


class Retention:
    """What one worker does of it, on its connection; a new connection begins with a new one."""

    def __init__(self) -> None:
        self._statistics = Statistics()
        self._work: Iterator[None] | None = None
        self._looked_at = float("-inf")
        self._failure = ""
        self._limit = _FIRST
        self._pause, self._not_before = _SLOW_PAUSE, float("-inf")

    def look_soon(self) -> None:
        """Look for work at the next step, rather than in some seconds: an account may have been removed."""
        self._looked_at = float("-inf")

    def step(self, engine: Engine) -> bool:
        """Do one chunk, which takes well under a second; returns whether there may be more to do.

        A failure that leaves the connection usable is logged, and costs only what it happened to. Tables
        whose statistics are due are analysed here too.
        """
        return self._statistics.step(engine) or self._retain(engine)

    def _retain(self, engine: Engine) -> bool:
        if time.monotonic() < self._not_before:
            return False
        try:
            if self._work is None and not self._begun(engine):
                return False
            assert self._work is not None
            with retention.impatient(engine.conn):
                next(self._work)
            return True
        except StopIteration:
            self._failure, self._pause = "", _SLOW_PAUSE
        except MailsyncError as error:
            self._skip(engine, error)
        self._work = None
        retention.release(engine.conn)
        return False

    def _begun(self, engine: Engine) -> bool:
        if time.monotonic() - self._looked_at < _LOOK_EVERY:
            return False
        self._looked_at = time.monotonic()
        if not any(retention.look(engine.conn)) or not retention.claim(engine.conn):
            return False
        # again, now that nobody else can do it
        due = retention.look(engine.conn)
        self._work = self._round(engine, due)
        return True

    def _round(self, engine: Engine, due: retention.Due) -> Iterator[None]:
        conn, settings = engine.conn, engine.settings
        if due.removals:
            yield from self._removals(engine)
        if not due.hourly:
            return
        retention.begin(conn)
        days = settings.tombstone_retention_days
        for account_id in retention.accounts_to_tidy(conn, days):
            expire = partial(retention.expire, conn, account_id)
            purge = partial(retention.purge_tombstones, conn, account_id, days)
            yield from self._in_chunks(engine, "expired", _locked(engine, account_id, expire))
            yield from self._in_chunks(engine, "purged", _locked(engine, account_id, purge))
        runs = partial(retention.purge_runs, conn, settings.run_retention_days)
        yield from self._in_chunks(engine, None, runs)
        events = partial(retention.purge_events, conn, settings.event_retention_days)
        yield from self._in_chunks(engine, None, events)
        retention.finish(conn)
        # tables that no worker has written much to are due too
        self._statistics.look_soon()
        yield

    def _removals(self, engine: Engine) -> Iterator[None]:
        self._looked_at = time.monotonic()
        for account_id in retention.accounts_to_remove(engine.conn):
            yield from self._removed(engine, account_id)

    def _removed(self, engine: Engine, account_id: int) -> Iterator[None]:
        """Empty and delete an account, unless the command that a person removes it with is at it."""
        more = True
        while more:
            began = time.monotonic()
            try:
                with account_lock(engine.conn, account_id, engine.settings):
                    more = accounts.delete_chunk(engine.conn, account_id, self._limit)
            except MailsyncError as error:
                self._skip(engine, error)
                yield
                return
            self._pace(time.monotonic() - began)
            yield
        log.info("Removed account deleted", extra={"action": "retention", "account_id": account_id})

    def _in_chunks(self, engine: Engine, op: str | None, chunk: Callable[[int], int]) -> Iterator[None]:
        """Call `chunk` with a number of rows until it finds fewer; `op` is how they are counted."""
        while True:
            limit, began = self._limit, time.monotonic()
            try:
                rows = chunk(limit)
            except MailsyncError as error:
                # one account, or one table, does not hold up the others; the next hour will do
                self._skip(engine, error)
                yield
                return
            if op and rows:
                engine.counters.add("mailsync_messages_total", rows, op=op)
            if rows == limit:
                self._pace(time.monotonic() - began)
            yield
            if time.monotonic() - self._looked_at >= _LOOK_EVERY:
                # nobody who removes an account waits for the end of a long round
                yield from self._removals(engine)
            if rows < limit:
                return

    def _pace(self, seconds: float) -> None:
        """Let the next chunk be as large as takes about as long as fresh mail may wait."""
        wanted = self._limit * min(2.0, _AIM / max(seconds, 0.001))
        self._limit = int(max(_LEAST, min(accounts.CHUNK, wanted)))

    def _skip(self, engine: Engine, error: MailsyncError) -> None:
        """Say once what went wrong, unless the account is merely at work; a lost connection is raised."""
        if db.is_broken(engine.conn):
            raise error
        if isinstance(error, DatabaseSlow) and not isinstance(error, RowsLocked):
            # new mail waits while a slow statement runs, so try rarely
            self._not_before = time.monotonic() + self._pause
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
            self._limit = max(_LEAST, self._limit // 2)
        text = redact(str(error))
        if not isinstance(error, Busy) and text != self._failure:
            self._failure = text
            log.warning("Retention failed", extra={"action": "retention", "error": text})


def _locked(engine: Engine, account_id: int, chunk: Callable[[int], int]) -> Callable[[int], int]:
    """`chunk` under the account's lock, which is only tried: rows of an account have one writer."""

    def under_lock(limit: int) -> int:
        with account_lock(engine.conn, account_id, engine.settings):
            return chunk(limit)

    return under_lock
