"""A turn from its lock to its end: lock → load → connect → run → save → health → release.

What the turn does in between is its :class:`TurnKind`; :mod:`mailsync.engine.cycle` has those of the worker.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from mailsync.config import Settings
from mailsync.core import health
from mailsync.engine import poison
from mailsync.engine.counters import Counters
from mailsync.engine.session_cache import Sessions
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
from mailsync.store import attempts, folders, turns
from mailsync.store.db import Connection
from mailsync.store.locks import account_lock

log = logging.getLogger(__name__)

_LEVELS = {"broken": logging.ERROR, "degraded": logging.WARNING}

_OPENING = 4
"""Commands of a login: LOGIN, CAPABILITY, ID, ENABLE."""


@dataclass
class TurnEnvironment:
    """What turns need of the process: its connection, its kept sessions, and how it is told to stop.

    `chance` gives numbers in 0 … 1 that spread backoffs and safety nets. `on_progress` is called at every
    batch, `on_alive` at least once a second, also while a turn waits for its server. `to_take_back` are the
    requests for single messages that a lost database ended, until that can be written. ``survived`` has, by
    account, the beginning of a turn whose end could not be written although this process lives.
    """

    conn: Connection
    settings: Settings
    started_by: str
    sessions: Sessions
    counters: Counters = field(default_factory=Counters)
    stop: StopSignal = field(default_factory=StopSignal)
    chance: Callable[[], float] = random.random
    on_progress: Callable[[Turn], None] = lambda turn: None
    on_alive: Callable[[], None] = lambda: None
    to_take_back: set[IsolationKey] = field(default_factory=set)
    survived: dict[int, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TurnKind:
    """A kind of turn: what it does, who asks for it, how long it may take, how much it leaves to others.

    ``run`` does the work on a connected turn. ``reserved_share`` is the share of the command burst that
    stays for other turns. ``min_commands`` is how many commands it needs to get anywhere, without those of
    a login. ``lock_timeout`` is None for a turn that only tries the lock, else the seconds that it waits
    for it. ``updates_health`` tells whether the account's state follows from the turn, ``reschedules``
    whether its next tick does. With ``records_failure`` False a failure changes neither the account's state
    nor its runs, since the caller is told of it and the next tick finds out for itself; a rejected login
    and a request to slow down are recorded all the same. ``precheck`` runs once the lock is held, before a
    login; the error that it returns ends the turn. Lost turns are counted by ``name``; one that ``insists``
    runs whatever their number, because a person asked for it.
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
    """Hold the account's lock for one turn; returns what was done, None if the account is paused.

    Raises Busy when the lock is not had, LockLost when it is lost, NotFound without the account. What else
    goes wrong is judged, saved, and raised again, so that a command can report it; TurnOver tells that there
    is more to do. A DatabaseSlow is not saved when the account's own row is what cannot be written.
    """
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
            # kept until the turn's end is written: an error that ends the turn before that has not ended this
            # process
            env.survived[account_id] = loaded.started_at
        turn = Turn(
            lock=lock,
            loaded=loaded,
            settings=settings,
            stop=env.stop,
            trigger=kind.trigger,
            started_by=env.started_by,
            limit=kind.max_seconds,
            chance=env.chance,
            on_progress=env.on_progress,
            on_alive=env.on_alive,
            to_take_back=env.to_take_back,
        )
        bucket = TokenBucket(loaded.tokens, settings.imap_max_commands_per_minute, floor)
        if turn.account.paused_at or turn.account.deleting_at:
            _leave(env, turn, bucket)
            return None
        error: MailsyncError | None = poison.found(turn, insists=kind.insists)
        if error is None and (refusal := kind.precheck(turn)):
            _leave(env, turn, bucket)
            raise refusal
        error = error or _too_poor(env, turn, bucket, kind) or _work(env, turn, bucket, kind)
        finish(turn, bucket, error, kind)
        env.survived.pop(account_id, None)
    env.counters.turn(turn, error)
    if turn.run_id is not None or kind.trigger != "schedule":
        # a quiet turn of the worker waits for the worker's next heartbeat, since it costs five statements
        env.counters.store(env.conn)
    if error is not None:
        raise error
    return turn


def _leave(env: TurnEnvironment, turn: Turn, bucket: TokenBucket) -> None:
    turns.leave(turn.conn, turn.account.id, tokens=bucket.tokens, asked=False)
    env.survived.pop(turn.account.id, None)


def _too_poor(env: TurnEnvironment, turn: Turn, bucket: TokenBucket, kind: TurnKind) -> OutOfTokens | None:
    """Say that the budget would end the turn before it got anywhere; then nothing is spent on it."""
    needed = kind.min_commands + (0 if env.sessions.has(turn.account.id) else _OPENING)
    if bucket.tokens - bucket.floor >= needed:
        return None
    # who asks for one thing and is told to come back needs no more than that
    return bucket.exhausted() if kind.records_failure else bucket.exhausted(needed)


def _work(env: TurnEnvironment, turn: Turn, bucket: TokenBucket, kind: TurnKind) -> MailsyncError | None:
    """Connect, do the steps, put the session away; returns what ended the turn early, if anything did."""
    kept = False
    turn.asked = True
    try:
        turn.begins("connecting")
        turn.connected(env.sessions.open(turn.loaded, bucket, turn.alive, turn.begins))
        try:
            kind.run(turn)
        except TurnOver as over:
            _put_away(turn, bucket)
            kept = True
            return over
        _put_away(turn, bucket)
        kept = True
        return None
    except DatabaseSlow as error:
        # a process that is asked to stop cancels its statements: no failure of the account
        return Stopped("stopped while the database worked") if env.stop else error
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
            if kept and not turn.needs_new_session:
                env.sessions.keep(turn.loaded, turn.session)
            else:
                turn.session.close()


def _put_away(turn: Turn, bucket: TokenBucket) -> None:
    # a selected mailbox's STATUS is frozen, and nothing may be selected without the lock
    if turn.session.closed:
        return
    # paid from what is left for others: without it every turn that runs out of commands would log in anew
    bucket.floor = 0.0
    try:
        turn.session.unselect()
    except OutOfTokens:
        turn.session.close()


def finish(turn: Turn, bucket: TokenBucket, error: MailsyncError | None, kind: TurnKind) -> None:
    """Save how the turn ended; `error` is what ended it early, if anything did."""
    # were these not noted, each reader would be rejected once more
    told = kind.records_failure or isinstance(error, AuthenticationFailed | PoisonousServer | Throttled)
    failed = error is not None and not isinstance(error, TurnOver) and told
    if failed:
        turn.working()
    if turn.run_id is not None:
        turns.finish_run(turn.conn, turn.account.id, turn.run_id, turn.result(error))
        turn.folders = folders.load(turn.conn, turn.account.id)
    # a command that was given another key says nothing of the account
    foreign_key = isinstance(error, KeyMismatch) and kind.trigger != "schedule"
    if foreign_key or (not kind.updates_health and not failed):
        turns.leave(turn.conn, turn.account.id, tokens=bucket.tokens, asked=turn.asked)
        return
    outcome = health.Outcome(
        error,
        turn.folders,
        turn.priority_at,
        turn.overall_at,
        turn.tally.has_progress,
        _without_content(turn),
    )
    verdict = health.judge(turn.account, outcome, turn.now(), turn.settings, turn.chance())
    if not kind.reschedules:
        verdict = replace(verdict, next_sync_at=None)
    if isinstance(error, PoisonousServer) and verdict.backoff_until:
        error.retry_after = (verdict.backoff_until - turn.now()).total_seconds()
    _say(turn, verdict)
    turns.end(
        turn.conn,
        turn.account.id,
        verdict,
        tokens=bucket.tokens,
        next_discovery_at=turn.next_discovery_at,
        folder_rr_cursor=turn.folder_rr_cursor,
        capabilities=turn.new_capabilities(),
        asked=turn.asked,
    )


def _without_content(turn: Turn) -> int:
    """Count the live rows without content; a turn that did nothing spends no statement on it."""
    before = turn.loaded.without_content
    if turn.run_id is None or not (before or turn.tally.without_content):
        return before
    return attempts.count_without_content(turn.conn, turn.account.id)


def _say(turn: Turn, verdict: Verdict) -> None:
    # a state is said once, when it begins
    if (verdict.state, verdict.reason) == (turn.account.sync_state, turn.account.sync_state_reason):
        return
    # whoever started a command reads there what went wrong
    level = _LEVELS.get(verdict.state, logging.INFO) if turn.trigger == "schedule" else logging.INFO
    log.log(
        level,
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
