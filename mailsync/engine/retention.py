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

from mailsync.engine.runner import TurnEnvironment
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

    def step(self, env: TurnEnvironment) -> bool:
        """Do one chunk, which takes well under a second; returns whether there may be more to do.

        A failure that leaves the connection usable is logged, and costs only what it happened to. Tables
        whose statistics are due are analysed here too.
        """
        return self._statistics.step(env) or self._retain(env)

    def _retain(self, env: TurnEnvironment) -> bool:
        if time.monotonic() < self._not_before:
            return False
        try:
            if self._work is None and not self._begun(env):
                return False
            assert self._work is not None
            with retention.impatient(env.conn):
                next(self._work)
            return True
        except StopIteration:
            self._failure, self._pause = "", _SLOW_PAUSE
        except MailsyncError as error:
            self._skip(env, error)
        self._work = None
        retention.release(env.conn)
        return False

    def _begun(self, env: TurnEnvironment) -> bool:
        if time.monotonic() - self._looked_at < _LOOK_EVERY:
            return False
        self._looked_at = time.monotonic()
        if not any(retention.look(env.conn)) or not retention.claim(env.conn):
            return False
        # again, now that nobody else can do it
        due = retention.look(env.conn)
        self._work = self._round(env, due)
        return True

    def _round(self, env: TurnEnvironment, due: retention.Due) -> Iterator[None]:
        conn, settings = env.conn, env.settings
        if due.removals:
            yield from self._removals(env)
        if not due.hourly:
            return
        retention.begin(conn)
        days = settings.tombstone_retention_days
        for account_id in retention.accounts_to_tidy(conn, days):
            expire = partial(retention.expire, conn, account_id)
            purge = partial(retention.purge_tombstones, conn, account_id, days)
            yield from self._in_chunks(env, "expired", _locked(env, account_id, expire))
            yield from self._in_chunks(env, "purged", _locked(env, account_id, purge))
        runs = partial(retention.purge_runs, conn, settings.run_retention_days)
        yield from self._in_chunks(env, None, runs)
        events = partial(retention.purge_events, conn, settings.event_retention_days)
        yield from self._in_chunks(env, None, events)
        retention.finish(conn)
        # tables that no worker has written much to are due too
        self._statistics.look_soon()
        yield

    def _removals(self, env: TurnEnvironment) -> Iterator[None]:
        self._looked_at = time.monotonic()
        for account_id in retention.accounts_to_remove(env.conn):
            yield from self._removed(env, account_id)

    def _removed(self, env: TurnEnvironment, account_id: int) -> Iterator[None]:
        """Empty and delete an account, unless the command that a person removes it with is at it."""
        more = True
        while more:
            began = time.monotonic()
            try:
                with account_lock(env.conn, account_id, env.settings):
                    more = accounts.delete_chunk(env.conn, account_id, self._limit)
            except MailsyncError as error:
                self._skip(env, error)
                yield
                return
            self._pace(time.monotonic() - began)
            yield
        log.info("Removed account deleted", extra={"action": "retention", "account_id": account_id})

    def _in_chunks(self, env: TurnEnvironment, op: str | None, chunk: Callable[[int], int]) -> Iterator[None]:
        """Call `chunk` with a number of rows until it finds fewer; `op` is how they are counted."""
        while True:
            limit, began = self._limit, time.monotonic()
            try:
                rows = chunk(limit)
            except MailsyncError as error:
                # one account, or one table, does not hold up the others; the next hour will do
                self._skip(env, error)
                yield
                return
            if op and rows:
                env.counters.add("mailsync_messages_total", rows, op=op)
            if rows == limit:
                self._pace(time.monotonic() - began)
            yield
            if time.monotonic() - self._looked_at >= _LOOK_EVERY:
                # nobody who removes an account waits for the end of a long round
                yield from self._removals(env)
            if rows < limit:
                return

    def _pace(self, seconds: float) -> None:
        """Let the next chunk be as large as takes about as long as fresh mail may wait."""
        wanted = self._limit * min(2.0, _AIM / max(seconds, 0.001))
        self._limit = int(max(_LEAST, min(accounts.CHUNK, wanted)))

    def _skip(self, env: TurnEnvironment, error: MailsyncError) -> None:
        """Say once what went wrong, unless the account is merely at work; a lost connection is raised."""
        if db.is_broken(env.conn):
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


def _locked(env: TurnEnvironment, account_id: int, chunk: Callable[[int], int]) -> Callable[[int], int]:
    """`chunk` under the account's lock, which is only tried: rows of an account have one writer."""

    def under_lock(limit: int) -> int:
        with account_lock(env.conn, account_id, env.settings):
            return chunk(limit)

    return under_lock
