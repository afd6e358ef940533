"""Retention: once an hour, by one process, one chunk at a time between turns (SPEC §15).

Every chunk is committed, so if a worker ends in the middle of a round, another one does the rest. The time of
the next round is kept in the table ``upkeep``, so that restarts of workers neither repeat nor delay a round.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

from mailsync.engine.statistics import Statistics
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import Busy, DatabaseSlow, MailsyncError, RowsLocked
from mailsync.redaction import redact
from mailsync.store import accounts, authorizations, db, retention
from mailsync.store.locks import account_lock

log = logging.getLogger(__name__)

_LOOK_EVERY = 15.0
_AIM = 0.4
_LEAST, _FIRST = 100, 1000
_SLOW_PAUSE, _LONGEST_PAUSE = 30.0, 1800.0


class Retention:
    """One worker's part in retention, over one connection; a new connection needs a new instance."""

    def __init__(self) -> None:
        self._statistics = Statistics()
        self._work: Iterator[None] | None = None
        self._looked_at = float("-inf")
        self._failure = ""
        self._limit = _FIRST
        self._pause, self._not_before = _SLOW_PAUSE, float("-inf")

    def look_soon(self) -> None:
        """Look for work at the next step, without the usual interval: an account may have been removed."""
        self._looked_at = float("-inf")

    def step(self, env: TurnEnvironment) -> bool:
        """Do one chunk, which takes well under a second; returns whether there may be more to do.

        A failure that leaves the connection usable is logged, and skips only the account or table that it
        concerns. Tables whose statistics are due are analysed here too.
        """
        return self._statistics.step(env) or self._retain(env)

    def _retain(self, env: TurnEnvironment) -> bool:
        if time.monotonic() < self._not_before:
            return False
        try:
            if self._work is None and not self._begin(env):
                return False
            assert self._work is not None
            with retention.short_lock_timeout(env.conn):
                next(self._work)
            return True
        except StopIteration:
            self._failure, self._pause = "", _SLOW_PAUSE
        except MailsyncError as error:
            self._skip(env, error)
        self._work = None
        retention.release(env.conn)
        return False

    def _begin(self, env: TurnEnvironment) -> bool:
        if time.monotonic() - self._looked_at < _LOOK_EVERY:
            return False
        self._looked_at = time.monotonic()
        if not any(retention.due(env.conn)) or not retention.claim(env.conn):
            return False
        # look again: another process may have done the work before this one claimed it
        due = retention.due(env.conn)
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
            fill = partial(retention.fill_authors, conn, account_id)
            yield from self._in_chunks(env, "purged", _locked(env, account_id, purge))
            yield from self._in_chunks(env, None, _locked(env, account_id, fill))
        runs = partial(retention.purge_runs, conn, settings.run_retention_days)
        yield from self._in_chunks(env, None, runs)
        events = partial(retention.purge_events, conn, settings.event_retention_days)
        yield from self._in_chunks(env, None, events)
        yield from self._in_chunks(env, None, partial(authorizations.purge, conn))
        retention.finish(conn)
        # tables may be due even if no worker has written much
        self._statistics.look_soon()
        yield

    def _removals(self, env: TurnEnvironment) -> Iterator[None]:
        self._looked_at = time.monotonic()
        for account_id in retention.accounts_to_remove(env.conn):
            yield from self._delete_account(env, account_id)

    def _delete_account(self, env: TurnEnvironment, account_id: int) -> Iterator[None]:
        """Delete an account in chunks, unless the command that removes it is doing so."""
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
        """Call `chunk` with a number of rows until it finds fewer; `op` labels them in the metrics."""
        while True:
            limit, began = self._limit, time.monotonic()
            try:
                rows = chunk(limit)
            except MailsyncError as error:
                # one account or table does not hold up the others; the next round tries again
                self._skip(env, error)
                yield
                return
            if op and rows:
                env.counters.add("mailsync_messages_total", rows, op=op)
            if rows == limit:
                self._pace(time.monotonic() - began)
            yield
            if time.monotonic() - self._looked_at >= _LOOK_EVERY:
                # an account that was removed does not wait for the end of a long round
                yield from self._removals(env)
            if rows < limit:
                return

    def _pace(self, seconds: float) -> None:
        """Choose the next chunk's size, so that it takes about as long as fresh mail may wait."""
        wanted = self._limit * min(2.0, _AIM / max(seconds, 0.001))
        self._limit = int(max(_LEAST, min(accounts.CHUNK, wanted)))

    def _skip(self, env: TurnEnvironment, error: MailsyncError) -> None:
        """Log an error once, unless the account is only busy; raises it if the connection is lost."""
        if db.is_broken(env.conn):
            raise error
        if isinstance(error, DatabaseSlow) and not isinstance(error, RowsLocked):
            # new mail waits while a slow statement runs, so try less often
            self._not_before = time.monotonic() + self._pause
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
            self._limit = max(_LEAST, self._limit // 2)
        text = redact(str(error))
        if not isinstance(error, Busy) and text != self._failure:
            self._failure = text
            log.warning("Retention failed", extra={"action": "retention", "error": text})


def _locked(env: TurnEnvironment, account_id: int, chunk: Callable[[int], int]) -> Callable[[int], int]:
    """Wrap `chunk` in the account's lock, which is only tried: an account's rows have one writer."""

    def under_lock(limit: int) -> int:
        with account_lock(env.conn, account_id, env.settings):
            return chunk(limit)

    return under_lock
