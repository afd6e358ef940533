"""The worker: one thread that walks the due accounts one after another, for as long as it is let.

A hot pass keeps mirrors fresh; between ticks a backfill pass goes on with first syncs. Postgres is the only
coordinator, so any number of workers may run.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from mailsync import __version__
from mailsync.config import Settings
from mailsync.engine.counters import Counters
from mailsync.engine.cycle import backfill_turn, hot_turn
from mailsync.engine.retention import Retention
from mailsync.engine.runner import TurnEnvironment, TurnKind, take_turn
from mailsync.engine.session_cache import Sessions
from mailsync.engine.turn import IsolationKey, StopSignal
from mailsync.errors import (
    Busy,
    ConfigError,
    DatabaseSlow,
    DatabaseUnavailable,
    LockHeld,
    LockLost,
    MailsyncError,
    NotFound,
    OutOfTokens,
    SchemaError,
    TurnOver,
)
from mailsync.ops import systemd
from mailsync.redaction import redact
from mailsync.store import db, turns, waking
from mailsync.worker.outage import Outage
from mailsync.worker.stopping import Stopping
from mailsync.worker.watchdog import Watchdog

log = logging.getLogger(__name__)

_SLICE = 1.0
_BUSY_DELAY = 5.0
_YIELDED_DELAY = 1.0
_BEAT = 15.0
_LEAST_WAIT = 0.2


class Worker:
    """The poll loop of one process."""

    def __init__(self, settings: Settings, *, hidden: frozenset[str] = frozenset()) -> None:
        """`hidden` masks capabilities of every server, for tests."""
        self.settings = settings
        self.stop = StopSignal()
        self.name = db.started_by("worker")
        self.sessions = Sessions(settings, hidden=hidden)
        self.counters = Counters()
        self.retention = Retention()
        self._to_take_back: set[IsolationKey] = set()
        self._survived: dict[int, datetime] = {}
        self._beaten_at = -_BEAT
        self._last_failure: dict[int, str] = {}
        self._filled: dict[int, float] = {}
        self._met_others = False
        self._outage = Outage()
        self._serving = False
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
        """Serve until SIGTERM or SIGINT; with `once`, a hot pass and one backfill turn per account.

        `starting` is called with the first connection that stands, to refuse to start by raising, and `ready`
        when the poll loop begins. While the database is away, or takes no writes, the worker waits; with
        `once` the error is raised. `unreached` is called once if the first connection fails. A signal
        ends the process at once while it waits for its database, and so does a second signal at any time:
        nothing is lost by that.
        """
        self._watchdog.install()
        self._stopping.handle(lambda: self._serving, self._watchdog.release)
        try:
            while not self.stop:
                try:
                    with db.connect(self.settings, "worker") as conn:
                        starting(conn)
                        waking.listen(conn)
                        env = self._engine(conn)
                        # the first heartbeat shows whether anything can be written, before a server is asked
                        self._beat(env)
                        ready()
                        starting, ready = _nothing, _nothing
                        self._outage.connected()
                        systemd.notify(f"READY=1\nSTATUS=Poll loop running{self._patience()}")
                        self._serving = True
                        self._serve(env, once)
                    return
                except MailsyncError as error:
                    waits, self._serving = self._waits_for(error), False
                    if once or not waits:
                        raise
                    if self._outage.is_first:
                        unreached(error)
                    self._sleep(self._outage.failed(error))
        finally:
            self.sessions.close()
            self._stopping.ended()
            self._watchdog.remove()

    def _patience(self) -> str:
        """Lengthen systemd's watchdog if need be: the worker says nothing while a statement runs."""
        given, needed = systemd.watchdog(), 2 * self.settings.statement_timeout
        return f"\nWATCHDOG_USEC={int(needed * 1_000_000)}" if given and given < needed else ""

    def _waits_for(self, error: MailsyncError) -> bool:
        if isinstance(error, DatabaseUnavailable | LockLost):
            return True
        # whatever else Postgres refuses to a worker that has served: a right, a damaged index
        return self._serving and not isinstance(error, SchemaError | ConfigError)

    # -- passes ---------------------------------------------------------------------------------------

    def _serve(self, env: TurnEnvironment, once: bool) -> None:
        try:
            self._watchdog.begin()
            while not self.stop:
                self._alive(env)
                busy = self._hot_pass(env)
                if once:
                    self._backfill_round(env, to_the_end=True)
                    while not self.stop and self.retention.step(env):
                        self._alive(env)
                    return
                # at least one chunk a pass, should there never be time to wait
                self.retention.step(env)
                at_most = self._backfill_pass(env)
                # an account may be due but not taken, because its row is locked
                self._wait(env, at_least=0.0 if busy else _LEAST_WAIT, at_most=at_most)
        finally:
            self._watchdog.pause()
            if not db.is_broken(env.conn):
                self.counters.store(env.conn)
                turns.forget_worker(env.conn, self.name)

    def _hot_pass(self, env: TurnEnvironment) -> bool:
        """A turn for each account that was due when the pass began; returns whether there was any."""
        started, any_due = turns.now(env.conn), False
        while not self.stop:
            account_id = turns.claim(env.conn, started, self.settings.sync_interval)
            if account_id is None:
                break
            any_due = True
            self._turn(env, account_id, hot_turn(self.settings))
            self._alive(env)
        return any_due

    def _backfill_pass(self, env: TurnEnvironment) -> float:
        """Rounds of initial-sync turns until an account is due; returns when to come back, in seconds."""
        while not self.stop:
            more, progress = self._backfill_round(env)
            self._outage.passed()
            if not more:
                break
            if not progress:
                # who was let in is soon done, or waits for its server
                return _YIELDED_DELAY if self._met_others else _BUSY_DELAY
            due = turns.seconds_until_due(env.conn, self.settings.sync_interval)
            if due is not None and due <= 0:
                return _BUSY_DELAY
        return self.settings.sync_interval

    def _backfill_round(self, env: TurnEnvironment, *, to_the_end: bool = False) -> tuple[bool, bool]:
        """One turn for each account with a first sync to do; returns (is there more, was there progress).

        A turn lasts no longer than until an account is due, and that ends the round unless it goes
        `to_the_end`. The next one begins with the account that has had the least time.
        """
        more = progress = self._met_others = False
        due = turns.seconds_until_due(env.conn, self.settings.sync_interval)
        for account_id in self._by_time_had(turns.accounts_to_backfill(env.conn)):
            if self.stop:
                break
            kind = backfill_turn(self.settings)
            if due is not None and not to_the_end:
                kind = replace(kind, max_seconds=min(kind.max_seconds, max(0.0, due)))
            began = time.monotonic()
            try:
                ended = self._turn(env, account_id, kind)
            except MailsyncError:
                # the database may fail this account alone: it goes behind all others
                self._filled[account_id] = max(self._filled.values()) + _SLICE
                raise
            self._filled[account_id] += time.monotonic() - began
            if ended is None:
                # complete: let the hot pass compare and say so at once
                turns.postpone(env.conn, account_id, 0)
            more = more or ended is not None
            progress = progress or (isinstance(ended, TurnOver) and not isinstance(ended, OutOfTokens))
            self._met_others = self._met_others or isinstance(ended, Busy)
            self._alive(env)
            if not to_the_end:
                self.retention.step(env)
            due = turns.seconds_until_due(env.conn, self.settings.sync_interval)
            if due is not None and due <= 0 and not to_the_end:
                return True, progress
        return more, progress

    def _by_time_had(self, waiting: list[int]) -> list[int]:
        """Sort by the seconds that each first sync has had; a new one begins level with the least."""
        had = {each: self._filled[each] for each in waiting if each in self._filled}
        least = min(had.values(), default=0.0)
        self._filled = {each: had.get(each, least) for each in waiting}
        return sorted(waiting, key=lambda each: (self._filled[each], each))

    def _turn(self, env: TurnEnvironment, account_id: int, kind: TurnKind) -> MailsyncError | None:
        """Take one turn; returns what ended it early. Only a lost database goes further up."""
        try:
            take_turn(env, account_id, kind)
        except DatabaseSlow as error:
            # the account's failure, like one of its server; the connection is still good
            self._say_once(account_id, error)
            return error
        except (DatabaseUnavailable, LockLost):
            self._outage.turn_failed(account_id, kind.run)
            # the session has seen changes that were not stored
            self.sessions.drop(account_id)
            raise
        except MailsyncError as error:
            if isinstance(error, TurnOver | NotFound) and not isinstance(error, OutOfTokens):
                self._outage.turn_went_well(account_id, kind.run)
            if isinstance(error, Busy) and kind.reschedules:
                turns.postpone(env.conn, account_id, _BUSY_DELAY)
            if isinstance(error, LockHeld) or not isinstance(error, Busy | TurnOver | NotFound):
                self._say_once(account_id, error)
            # the frames hold the turn's data, which may be large, while the turns of other accounts run
            traceback.clear_frames(error.__traceback__)
            return error
        self._outage.turn_went_well(account_id, kind.run)
        self._last_failure.pop(account_id, None)
        return None

    # -- between turns --------------------------------------------------------------------------------

    def _engine(self, conn: db.Connection) -> TurnEnvironment:
        # what it was at went with the connection before
        self.retention = Retention()
        self._beaten_at = -_BEAT
        return TurnEnvironment(
            conn=conn,
            settings=self.settings,
            started_by=self.name,
            sessions=self.sessions,
            counters=self.counters,
            stop=self.stop,
            on_alive=self._tick,
            to_take_back=self._to_take_back,
            survived=self._survived,
        )

    def _tick(self) -> None:
        self._watchdog.alive()
        systemd.notify("WATCHDOG=1")

    def _alive(self, env: TurnEnvironment) -> None:
        self._tick()
        self._beat(env)

    def _beat(self, env: TurnEnvironment) -> None:
        if time.monotonic() - self._beaten_at >= _BEAT:
            turns.worker_beat(env.conn, self.name, __version__)
            self.counters.store(env.conn)
            self.sessions.drop_old()
            self._beaten_at = time.monotonic()

    def _wait(self, env: TurnEnvironment, *, at_least: float, at_most: float) -> None:
        """Wait until an account is due, a wake-up comes, or the process is asked to stop.

        The time is used for retention, as long as there is any to do.
        """
        due = turns.seconds_until_due(env.conn, self.settings.sync_interval)
        until = time.monotonic() + max(at_least, min(at_most, at_most if due is None else due))
        while not self.stop and (left := until - time.monotonic()) > 0:
            more = self.retention.step(env)
            if waking.wait_for_wake(env.conn, 0.0 if more else min(left, _SLICE)):
                self.retention.look_soon()
                return
            self._alive(env)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.stop and time.monotonic() < until:
            self._outage.waiting()
            self.sessions.drop_old()
            time.sleep(0.2)

    def _say_once(self, account_id: int, error: MailsyncError) -> None:
        text = redact(str(error))
        if self._last_failure.get(account_id) != text:
            self._last_failure[account_id] = text
            log.warning(
                "Turn failed",
                extra={"action": "turn", "account_id": account_id, "error_code": error.code, "error": text},
            )


def _nothing(*_: object) -> None:
    return None
