"""The end of a turn: its run is closed, the account's health decided and saved, what is left given back."""

from __future__ import annotations

import logging
from dataclasses import replace

from mailsync.core import health
from mailsync.engine.turn import Turn
from mailsync.engine.work import Work
from mailsync.errors import (
    AuthenticationFailed,
    KeyMismatch,
    MailsyncError,
    PoisonousServer,
    Throttled,
    TurnOver,
)
from mailsync.imap.token_bucket import Throttle
from mailsync.model import Verdict
from mailsync.store import attempts, folders, turns

log = logging.getLogger(__name__)

_LEVELS = {"broken": logging.ERROR, "degraded": logging.WARNING}


def save(turn: Turn, throttle: Throttle, error: MailsyncError | None, work: Work) -> None:
    """Save how the turn ended; `error` is what ended it early, if anything did."""
    # were these not noted, each reader would be rejected once more
    told = work.told or isinstance(error, AuthenticationFailed | PoisonousServer | Throttled)
    failed = error is not None and not isinstance(error, TurnOver) and told
    if failed:
        turn.working()
    if turn.run_id is not None:
        turns.finish_run(turn.conn, turn.account.id, turn.run_id, turn.result(error))
        turn.folders = folders.load(turn.conn, turn.account.id)
    # a command that was given another key says nothing of the account
    foreign_key = isinstance(error, KeyMismatch) and work.trigger != "schedule"
    if foreign_key or (not work.judged and not failed):
        turns.leave(turn.conn, turn.account.id, tokens=throttle.tokens, asked=turn.asked)
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
    if not work.reschedules:
        verdict = replace(verdict, next_sync_at=None)
    if isinstance(error, PoisonousServer) and verdict.backoff_until:
        error.retry_after = (verdict.backoff_until - turn.now()).total_seconds()
    _say(turn, verdict)
    turns.end(
        turn.conn,
        turn.account.id,
        verdict,
        tokens=throttle.tokens,
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
