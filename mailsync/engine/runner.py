"""A turn from beginning to end: lock, load, connect, run, judge the account's health, save, unlock.

The work in between is the turn's :class:`TurnKind`; :mod:`mailsync.engine.cycle` has those of the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from mailsync.core import health
from mailsync.engine import lost_turns, parking
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
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
    ProtocolError,
    Stopped,
    Throttled,
    Transient,
    TurnOver,
)
from mailsync.imap.token_bucket import TokenBucket, burst, refill
from mailsync.model import Verdict
from mailsync.store import attempts, turns
from mailsync.store.locks import account_lock

log = logging.getLogger(__name__)

_LEVELS = {"broken": logging.ERROR, "degraded": logging.WARNING}

_TOKEN_END_SLACK = timedelta(seconds=30)
"""How much earlier than expected a server may see the end of an access token."""

_OPENING = 4
"""Commands of a login: LOGIN, CAPABILITY, ID, ENABLE."""


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
    if not kind.is_scheduled or (turn.result.run_id is not None and kind.trigger == "schedule"):
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
    may_keep = False
    turn.result.asked = True
    try:
        turn.connect()
        try:
            error = _work(turn)
        except (Transient, Throttled, ProtocolError):
            if turn.session.is_proven or not turn.session.closed:
                raise
            # the kept session was dead already, which is no failure of the account: nothing was answered yet
            turn.env.counters.commands(turn.session)
            turn.connect()
            error = _work(turn)
        may_keep = True
        return error
    except DatabaseSlow as error:
        # a process that is asked to stop cancels its statements, which is no failure of the account
        return Stopped("stopped while the database worked") if turn.env.stop else error
    except (LockLost, DatabaseUnavailable):
        raise
    except MailsyncError as error:
        return _ended_with_token(turn, error) or error
    except Exception as error:
        log.exception(
            "A turn failed in an unforeseen way", extra={"action": "turn", "account_id": turn.account.id}
        )
        return MailsyncError(f"internal error: {type(error).__name__}")
    finally:
        if turn.is_connected:
            if may_keep and not turn.result.needs_new_session:
                _keep(turn)
            else:
                turn.session.close()


def _ended_with_token(turn: Turn, error: MailsyncError) -> TurnOver | None:
    """Return TurnOver if `error` means that the server has ended the session with its access token.

    Servers do so at the end of the token, whatever is being done then. The next turn renews it.
    """
    # a rejection comes from the attempt to open another session
    if isinstance(error, AuthenticationFailed) or not turn.is_connected or not turn.session.closed:
        return None
    ends_at = turn.session.token_ends_at
    if ends_at is None or turn.now() < ends_at - _TOKEN_END_SLACK:
        return None
    return TurnOver("the server ended the session with its access token")


def _work(turn: Turn) -> TurnOver | None:
    """Do the work of the turn's kind and park the session; returns what ended the work early."""
    over: TurnOver | None = None
    try:
        turn.kind.run(turn)
    except TurnOver as error:
        over = error
    try:
        parking.park(turn)
    except Transient:
        if not turn.session.is_proven:
            raise
        # the work is done; the session that was to listen is opened again at the next tick
    return over


def _keep(turn: Turn) -> None:
    """Keep the session for the account's next turn, and listen to it if it is parked."""
    turn.env.sessions.keep(turn.loaded, turn.session)
    turn.result.parked = parking.parked(turn)
    if turn.env.listener is not None and turn.result.parked is not None:
        turn.env.listener.park(turn.account.id, turn.session)


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
        if not result.has_reloaded:
            turn.folders.reload_all()
    # a command that was given another key proves nothing about the account
    foreign_key = isinstance(error, KeyMismatch) and not kind.is_scheduled
    if foreign_key or (not kind.updates_health and not failed):
        leave(turn)
        return
    parked = result.parked if result.asked else parking.still_parked(turn)
    outcome = health.Outcome(
        error,
        turn.folders,
        result.priority_at,
        result.overall_at,
        turn.tally.has_progress,
        _without_content(turn),
        tick_seconds=parked.tick_seconds if parked else None,
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
        parked=parked,
        tick_at_latest=_tick_at_latest(turn, parked),
        worker=turn.env.started_by,
    )
    turn.env.survived.pop(turn.account.id, None)


def _tick_at_latest(turn: Turn, parked: turns.Parked | None) -> datetime | None:
    """Return the time by which the next tick has to come if the account loses its own, longer tick."""
    keeps = parked is not None and parked.tick_seconds is not None
    if keeps or turn.account.tick_seconds is None or not turn.kind.parks:
        return None
    return turn.clock.began + timedelta(seconds=turn.settings.sync_interval)


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
    log.log(
        _LEVELS.get(verdict.state, logging.INFO) if turn.kind.is_scheduled else logging.INFO,
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
