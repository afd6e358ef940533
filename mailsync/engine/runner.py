"""A turn from beginning to end: lock, load, connect, run, judge the account's health, save, unlock.

The work in between is the turn's :class:`TurnKind`; :mod:`mailsync.engine.cycle` has those of the worker.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from mailsync.config import Settings
from mailsync.core import health
from mailsync.engine import lost_turns
from mailsync.engine.counters import Counters
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn import IsolationKey, StopSignal, Turn
from mailsync.errors import (
    AuthenticationFailed,
    DatabaseSlow,
    DatabaseUnavailable,
    KeyMismatch,
    LockLost,
    MailsyncError,
    NotFound,
    OutOfTokens,
    PoisonousServer,
    Stopped,
    Throttled,
    TurnOver,
)
from mailsync.imap.token_bucket import TokenBucket, burst, refill
from mailsync.model import Verdict
from mailsync.store import attempts, turns
from mailsync.store.db import Connection
from mailsync.store.locks import account_lock

log = logging.getLogger(__name__)

_LEVELS = {"broken": logging.ERROR, "degraded": logging.WARNING}

_OPENING = 4
"""Commands of a login: LOGIN, CAPABILITY, ID, ENABLE."""


@dataclass
class TurnEnvironment:
    """The parts that turns get from the process: its connection, its kept sessions, its stop signal.

    ``chance`` gives numbers in 0 … 1 that spread backoffs and safety nets. ``on_progress`` is called at
    every batch, ``on_alive`` at least once a second, also while a turn waits for its server.
    ``to_take_back`` holds attempts at single messages that a lost database interrupted, until the next turn
    can take them back. ``survived`` holds, by account, the beginning of a turn whose end could not be
    written, although this process lives.
    """

    conn: Connection
    settings: Settings
    started_by: str
    sessions: SessionCache
    counters: Counters = field(default_factory=Counters)
    stop: StopSignal = field(default_factory=StopSignal)
    chance: Callable[[], float] = random.random
    on_progress: Callable[[Turn], None] = lambda turn: None
    on_alive: Callable[[], None] = lambda: None
    to_take_back: set[IsolationKey] = field(default_factory=set)
    survived: dict[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TurnKind:
    """A kind of turn: its work, who asks for it, how long it may take, how much it leaves to others.

    ``run`` does the work on a connected turn. ``reserved_share`` is the share of the command burst that
    stays for other turns. ``min_commands`` is the number of commands that the work needs to make progress,
    without those of a login. ``lock_timeout`` is None for a turn that only tries the lock, else the seconds
    that it waits. ``updates_health`` says whether the turn decides the account's state, ``reschedules``
    whether it decides the next tick. Without ``records_failure`` a failure changes neither the account's
    state nor its runs: the caller reports it, and the next tick finds it again; a rejected login and a
    request to slow down are recorded all the same. ``precheck`` runs under the lock and before a login; the
    error that it returns ends the turn. Lost turns are counted by ``name``. One that ``insists`` runs
    however many were lost, because a person asked for it.
    """

    run: Callable[[Turn], None]
    trigger: str
    max_seconds: float
    reserved_share: float
    lock_timeout: float | None = None
    updates_health: bool = True
    reschedules: bool = True
    min_commands: float = 1.0
    records_failure: bool = True
    precheck: Callable[[Turn], MailsyncError | None] = lambda turn: None
    name: str = "sync"
    insists: bool = False


def take_turn(env: TurnEnvironment, account_id: int, kind: TurnKind) -> Turn | None:
    """Take one turn of the account; returns what was done, None if the account is paused.

    Raises Busy if another process holds the lock, LockLost if the lock is lost, and NotFound without the
    account. Any other error is saved with the account, and then raised for the caller to report. TurnOver
    means that there is more to do. A DatabaseSlow is not saved if the account's own row cannot be written.
    """
    with held_turn(env, account_id, kind) as turn:
        if turn.account.paused_at or turn.account.deleting_at:
            leave(turn)
            return None
        error: MailsyncError | None = lost_turns.check(turn)
        if error is None and (refusal := kind.precheck(turn)):
            leave(turn)
            raise refusal
        error = error or _too_few_commands(turn) or _run(turn)
        finish(turn, error)
    env.counters.turn(turn, error)
    if turn.result.run_id is not None or kind.trigger != "schedule":
        # for a quiet turn of the worker, which costs five statements, its next heartbeat does that
        env.counters.store(env.conn)
    if error is not None:
        raise error
    return turn


@contextmanager
def held_turn(env: TurnEnvironment, account_id: int, kind: TurnKind) -> Iterator[Turn]:
    """Hold the account's lock around a turn, which has to be ended by :func:`finish` or :func:`leave`."""
    settings = env.settings
    full = burst(settings.imap_max_commands_per_minute)
    floor = kind.reserved_share * full
    with env.counters.waiting(account_lock(env.conn, account_id, settings, wait=kind.lock_timeout)) as lock:
        loaded = turns.begin(
            lock.conn,
            account_id,
            env.started_by,
            burst=full,
            refill=refill(settings.imap_max_commands_per_minute),
            floor=floor,
            kind=kind.name,
            survived=env.survived.get(account_id),
            silent_for=min(settings.longest_silence, settings.lock_stale_after),
        )
        if loaded is None:
            raise NotFound(f"account {account_id} is gone")
        if loaded.started_at is not None:
            # kept until the turn's end is written: an error before that ends the turn, but not this process
            env.survived[account_id] = loaded.started_at
        bucket = TokenBucket(loaded.tokens, settings.imap_max_commands_per_minute, floor)
        yield Turn(env, kind, lock, loaded, bucket)


def leave(turn: Turn) -> None:
    """End a turn that proves nothing about the account: its state stays, unused commands go back."""
    turns.leave(turn.conn, turn.account.id, tokens=turn.bucket.tokens, asked=turn.result.asked)
    turn.env.survived.pop(turn.account.id, None)


def _too_few_commands(turn: Turn) -> OutOfTokens | None:
    """Return OutOfTokens if the budget would end the turn before it made progress; then nothing is spent."""
    bucket, kind = turn.bucket, turn.kind
    needed = kind.min_commands + (0 if turn.env.sessions.has(turn.account.id) else _OPENING)
    if bucket.tokens - bucket.floor >= needed:
        return None
    # a reader that has to retry needs only enough commands for one download
    return bucket.out_of_tokens() if kind.records_failure else bucket.out_of_tokens(needed)


def _run(turn: Turn) -> MailsyncError | None:
    """Connect, do the work, park the session; returns the error that ended the turn early."""
    sessions, is_parked = turn.env.sessions, False
    turn.result.asked = True
    try:
        turn.record_step("connecting")
        turn.use_session(sessions.open(turn.loaded, turn.bucket, turn.keep_alive, turn.record_step))
        error: TurnOver | None = None
        try:
            turn.kind.run(turn)
        except TurnOver as over:
            error = over
        _park_session(turn)
        is_parked = True
        return error
    except DatabaseSlow as error:
        # a process that is asked to stop cancels its statements, which is no failure of the account
        return Stopped("stopped while the database worked") if turn.env.stop else error
    except (LockLost, DatabaseUnavailable):
        raise
    except MailsyncError as error:
        return error
    except Exception as error:
        log.exception(
            "A turn failed in an unforeseen way", extra={"action": "turn", "account_id": turn.account.id}
        )
        return MailsyncError(f"internal error: {type(error).__name__}")
    finally:
        if turn.is_connected:
            if is_parked and not turn.result.needs_new_session:
                sessions.keep(turn.loaded, turn.session)
            else:
                turn.session.close()


def _park_session(turn: Turn) -> None:
    """UNSELECT: the STATUS of a selected mailbox is frozen, and nothing may be selected without the lock."""
    if turn.session.closed:
        return
    # paid from the commands that are reserved: else each turn that runs out of commands would log in again
    turn.bucket.floor = 0.0
    try:
        turn.session.unselect()
    except OutOfTokens:
        turn.session.close()


def finish(turn: Turn, error: MailsyncError | None) -> None:
    """Save the turn's result; `error` is the error that ended it early."""
    kind, result = turn.kind, turn.result
    # without a record of these, each reader would be rejected once more
    is_recorded = kind.records_failure or isinstance(
        error, AuthenticationFailed | PoisonousServer | Throttled
    )
    failed = error is not None and not isinstance(error, TurnOver) and is_recorded
    if failed:
        turn.ensure_run()
    if result.run_id is not None:
        turns.finish_run(turn.conn, turn.account.id, result.run_id, turn.run_result(error))
        turn.folders.reload_all()
    # a command that was given another key proves nothing about the account
    foreign_key = isinstance(error, KeyMismatch) and kind.trigger != "schedule"
    if foreign_key or (not kind.updates_health and not failed):
        leave(turn)
        return
    outcome = health.Outcome(
        error,
        turn.folders,
        result.priority_at,
        result.overall_at,
        turn.tally.has_progress,
        _without_content(turn),
    )
    verdict = health.judge(turn.account, outcome, turn.now(), turn.settings, turn.env.chance())
    if not kind.reschedules:
        verdict = replace(verdict, next_sync_at=None)
    if isinstance(error, PoisonousServer) and verdict.backoff_until:
        error.retry_after = (verdict.backoff_until - turn.now()).total_seconds()
    _log_new_state(turn, verdict)
    turns.end(
        turn.conn,
        turn.account.id,
        verdict,
        tokens=turn.bucket.tokens,
        next_discovery_at=result.next_discovery_at,
        folder_rr_cursor=turn.round.cursor,
        capabilities=turn.new_capabilities(),
        asked=result.asked,
    )
    turn.env.survived.pop(turn.account.id, None)


def _without_content(turn: Turn) -> int:
    """Count the live rows without content; a turn that did nothing spends no statement on it."""
    before = turn.loaded.without_content
    if turn.result.run_id is None or not (before or turn.tally.without_content):
        return before
    return attempts.count_without_content(turn.conn, turn.account.id)


def _log_new_state(turn: Turn, verdict: Verdict) -> None:
    if (verdict.state, verdict.reason) == (turn.account.sync_state, turn.account.sync_state_reason):
        return
    # a person who started a command reads the error in its output
    is_scheduled = turn.kind.trigger == "schedule"
    log.log(
        _LEVELS.get(verdict.state, logging.INFO) if is_scheduled else logging.INFO,
        "Account is %s: %s",
        verdict.state,
        turn.account.email,
        extra={
            "action": "state",
            "account_id": turn.account.id,
            "email": turn.account.email,
            "reason": verdict.reason,
            "error": verdict.message,
        },
    )
