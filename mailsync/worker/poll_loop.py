"""The worker: one thread that gives each due account its turn, one after another, until it is stopped.

A hot pass keeps mirrors fresh; between ticks, a backfill pass continues first syncs. Postgres is the only
coordinator, so any number of workers may run. Read :meth:`Worker.run` and the methods below it in order.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from mailsync import __version__
from mailsync.config import Settings
from mailsync.core.health import STALE_WORKER
from mailsync.engine.counters import Counters
from mailsync.engine.cycle import backfill_turn, hot_turn
from mailsync.engine.retention import Retention
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn import IsolationKey, StopSignal
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import (
    Busy,
    ConfigError,
    DatabaseUnavailable,
    LockLost,
    MailsyncError,
    OutOfTokens,
    SchemaError,
    TurnOver,
)
from mailsync.ops import systemd
from mailsync.store import db, turns, waking
from mailsync.worker.fair_share import FairShare
from mailsync.worker.listening import Listening
from mailsync.worker.outage import Outage
from mailsync.worker.push_pass import PushPass
from mailsync.worker.stopping import Stopping
from mailsync.worker.turn_taker import BUSY_DELAY, TurnTaker
from mailsync.worker.watchdog import Watchdog

log = logging.getLogger(__name__)

_HEARTBEAT_EVERY = 15.0
_LONGEST_SLEEP = 1.0  # seconds, so that watchdogs and heartbeats are served in time
_SHORTEST_WAIT = 0.2
_BUSY_BACKFILL_DELAY = 1.0


class Worker:
    """The poll loop of one process."""

    def __init__(self, settings: Settings, *, disabled_capabilities: frozenset[str] = frozenset()) -> None:
        """`disabled_capabilities` are capabilities to ignore on every server, for tests."""
        self.settings = settings
        self.stop = StopSignal()
        self.name = db.started_by("worker")
        self._listening = Listening(settings.push_renew)
        self.sessions = SessionCache(
            settings,
            disabled_capabilities=disabled_capabilities,
            on_removed=self._listening.forget,
            on_surplus=self._listening.lost,
        )
        self.counters = Counters()
        self.retention = Retention()
        self._to_take_back: set[IsolationKey] = set()
        self._survived: dict[int, datetime] = {}
        self._heartbeat_at = -_HEARTBEAT_EVERY
        self._fair_share = FairShare()
        self._was_busy = False
        self._outage = Outage()
        self._turns = TurnTaker(self._outage, lambda account_id: self._listening.lost(account_id, 0.0))
        self._push = PushPass(settings, self._listening, self._turns)
        self._is_serving = False
        self._stopping = Stopping(self.stop)
        self._watchdog = Watchdog(settings.longest_silence)

    def run(
        self,
        *,
        once: bool = False,
        starting: Callable[[db.Connection], None] = lambda conn: None,
        ready: Callable[[], None] = lambda: None,
        unreached: Callable[[MailsyncError], None] = lambda error: None,
    ) -> None:
        """Serve until SIGTERM or SIGINT; with `once`, do one hot pass and one backfill turn per account.

        `starting` is called with the first working connection, and may raise to refuse the start. `ready` is
        called when the poll loop begins, `unreached` once if the first connection fails. While the database
        is away or refuses writes, the worker waits; with `once` it raises the error instead. A signal during
        such a wait, or a second signal at any time, ends the process at once; no data is lost.
        """
        self._listening.install()
        self._watchdog.install()
        self._stopping.handle(lambda: self._is_serving, self._watchdog.release)
        try:
            while not self.stop:
                try:
                    with db.connect(self.settings, "worker") as conn:
                        if is_start := not self._outage.had_database:
                            starting(conn)
                        waking.listen(conn)
                        env = self._environment(conn, parks=not once)
                        # a heartbeat proves that the database accepts writes, before any mail server is asked
                        self._heartbeat(env)
                        if is_start:
                            # a worker of this name was killed: a container's host name and pid stay the same
                            turns.release_parked(conn, self.name, self.settings.sync_interval)
                            ready()
                        self._outage.connected()
                        # the worker is silent while a statement runs
                        extension = systemd.extend_watchdog(2 * self.settings.statement_timeout)
                        systemd.notify(f"READY=1\nSTATUS=Poll loop running{extension}")
                        self._is_serving = True
                        self._serve(env, once)
                    return
                except MailsyncError as error:
                    may_pass, self._is_serving = self._may_pass(error), False
                    if once or not may_pass:
                        raise
                    if self._outage.is_first:
                        unreached(error)
                    self._sleep(self._outage.failed(error))
        finally:
            self.sessions.close()
            self._listening.remove()
            self._stopping.ended()
            self._watchdog.remove()

    # -- passes ---------------------------------------------------------------------------------------

    def _serve(self, env: TurnEnvironment, once: bool) -> None:
        try:
            self._watchdog.begin()
            while not self.stop:
                self._alive(env)
                any_due = self._hot_pass(env)
                if once:
                    self._backfill_round(env, interruptible=False)
                    while not self.stop and self.retention.step(env):
                        self._alive(env)
                    return
                # at least one step per pass, in case there is never time to wait
                self.retention.step(env)
                at_most = self._backfill_pass(env)
                # an account may stay due because its row is locked: do not spin on it
                self._wait(env, at_least=0.0 if any_due else _SHORTEST_WAIT, at_most=at_most)
        finally:
            self._watchdog.pause()
            if not db.is_broken(env.conn):
                self.counters.store(env.conn)
                turns.release_parked(env.conn, self.name, self.settings.sync_interval)
                turns.forget_worker(env.conn, self.name)

    def _hot_pass(self, env: TurnEnvironment) -> bool:
        """Take a turn for each account that was due when the pass began; returns whether any was due.

        Accounts whose parked sessions were told of changes come before those that are merely due.
        """
        started, any_due = turns.now(env.conn), False
        while not self.stop:
            self._listen(env)
            if not self._push.wake_next(env):
                account_id = turns.claim(
                    env.conn, started, self.settings.sync_interval, self.name, self.settings.longest_tick
                )
                if account_id is None:
                    break
                self._turns.take(env, account_id, hot_turn(self.settings))
            any_due = True
            self._alive(env)
        self._push.renew(env)
        return any_due

    def _backfill_pass(self, env: TurnEnvironment) -> float:
        """Take rounds of backfill turns until an account is due; returns the seconds until the next pass."""
        while not self.stop:
            more, progress = self._backfill_round(env)
            self._outage.passed()
            if not more:
                break
            if not progress:
                # a process that holds a lock is soon done, or waits for its server
                return _BUSY_BACKFILL_DELAY if self._was_busy else BUSY_DELAY
            if self._seconds_until_due(env) <= 0:
                return BUSY_DELAY
        return self.settings.sync_interval

    def _backfill_round(self, env: TurnEnvironment, *, interruptible: bool = True) -> tuple[bool, bool]:
        """Take one turn for each account with a first sync to do; returns (is more left, was there progress).

        The account that has had the least time comes first. An `interruptible` round ends as soon as another
        account is due, and none of its turns lasts longer than until then.
        """
        more = progress = self._was_busy = False
        due = self._seconds_until_due(env)
        for account_id in self._fair_share.order(turns.accounts_to_backfill(env.conn)):
            if self.stop:
                break
            kind = backfill_turn(self.settings)
            if interruptible:
                kind = replace(kind, max_seconds=min(kind.max_seconds, max(0.0, due)))
            began = time.monotonic()
            try:
                error = self._turns.take(env, account_id, kind)
            except MailsyncError:
                # in case the database fails for this account only, serve all others first
                self._fair_share.put_last(account_id)
                raise
            self._fair_share.add(account_id, time.monotonic() - began)
            if error is None:
                # the first sync is complete: let the hot pass verify that at once
                turns.postpone(env.conn, account_id, 0)
            more = more or error is not None
            progress = progress or (isinstance(error, TurnOver) and not isinstance(error, OutOfTokens))
            self._was_busy = self._was_busy or isinstance(error, Busy)
            self._alive(env)
            if interruptible:
                self.retention.step(env)
            if (due := self._seconds_until_due(env)) <= 0 and interruptible:
                return True, progress
        return more, progress

    def _wait(self, env: TurnEnvironment, *, at_least: float, at_most: float) -> None:
        """Do retention and wait, until an account is due or woken, a session ends, or Postgres wakes us."""
        until = time.monotonic() + max(at_least, min(at_most, self._seconds_until_due(env)))
        while not self.stop and (remaining := until - time.monotonic()) > 0:
            more = self.retention.step(env)
            if (wake_up_in := waking.wake_up_in(env.conn)) <= 0:
                env.conn.take_wake_up()
                self.retention.look_soon()
                return
            longest = min(remaining, _LONGEST_SLEEP, wake_up_in, self._listening.seconds_until_wake())
            # a notification that has to wait must not end each wait at once
            has_ended = self._listen(env, 0.0 if more else longest, with_database=wake_up_in == math.inf)
            if has_ended or self._listening.seconds_until_wake() <= 0 or self._push.renew(env):
                # another account may be the next one that is due
                return
            self._alive(env)

    def _listen(self, env: TurnEnvironment, seconds: float = 0.0, *, with_database: bool = False) -> bool:
        """Wait for the parked sessions, and write down which of them have ended; returns if any has."""
        self._listening.wait(seconds, env.conn if with_database else None)
        return self._push.settle(env)

    # -- details --------------------------------------------------------------------------------------

    def _seconds_until_due(self, env: TurnEnvironment) -> float:
        seconds = turns.seconds_until_due(env.conn, self.settings.longest_tick, self.name)
        return min(math.inf if seconds is None else seconds, self._listening.seconds_until_wake())

    def _environment(self, conn: db.Connection, *, parks: bool) -> TurnEnvironment:
        # the state of the retention round was lost with the previous connection
        self.retention = Retention()
        self._heartbeat_at = -_HEARTBEAT_EVERY
        return TurnEnvironment(
            conn=conn,
            settings=self.settings,
            started_by=self.name,
            sessions=self.sessions,
            counters=self.counters,
            stop=self.stop,
            on_alive=self._show_life,
            to_take_back=self._to_take_back,
            survived=self._survived,
            listener=self._listening if parks else None,
            is_wanted=self._listening.is_wanted,
        )

    def _show_life(self) -> None:
        self._watchdog.alive()
        systemd.notify("WATCHDOG=1")

    def _alive(self, env: TurnEnvironment) -> None:
        self._show_life()
        self._heartbeat(env)

    def _heartbeat(self, env: TurnEnvironment) -> None:
        if time.monotonic() - self._heartbeat_at >= _HEARTBEAT_EVERY:
            turns.worker_heartbeat(env.conn, self.name, __version__)
            self.counters.store(env.conn)
            self.sessions.drop_old()
            self._push.drop_lost(env)
            turns.release_abandoned(env.conn, self.settings.sync_interval, STALE_WORKER)
            self._heartbeat_at = time.monotonic()

    def _may_pass(self, error: MailsyncError) -> bool:
        # once it has served, also wait for whatever else Postgres refuses: a missing right, a damaged index
        may_pass_later = self._is_serving and not isinstance(error, SchemaError | ConfigError)
        return may_pass_later or isinstance(error, DatabaseUnavailable | LockLost)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stop and time.monotonic() < until:
            self._outage.waiting()
            self.sessions.drop_old()
            time.sleep(0.2)
