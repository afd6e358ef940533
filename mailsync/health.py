"""The state of an account: one pure function of its history, the turn's outcome and now (SPEC §12, §13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mailsync.config import Settings
from mailsync.errors import (
    AuthenticationFailed,
    KeyMismatch,
    MailsyncError,
    OutOfTokens,
    ResetLimit,
    Throttled,
    TurnOver,
)
from mailsync.model import Account, FolderState, Verdict

_RECONCILE_PRIORITY = timedelta(hours=24)
_RECONCILE_OTHERS = timedelta(days=7)
_OVERALL_LAG = timedelta(minutes=15)
_STUCK_AFTER = timedelta(hours=24)
_LOGIN_RETRIES = (timedelta(minutes=1), timedelta(minutes=5))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn went.

    ``error`` is what ended it, None if it came to its end. ``priority_at`` and ``overall_at`` are when the
    statuses of all priority folders, and of all folders, were taken and worked off; None if not.
    """

    error: MailsyncError | None
    folders: Sequence[FolderState]
    priority_at: datetime | None = None
    overall_at: datetime | None = None


def judge(account: Account, outcome: Outcome, now: datetime, settings: Settings, chance: float) -> Verdict:
    """Decide state, reason, backoff and next due of the account; `chance` in 0 … 1 spreads backoffs."""
    error = outcome.error
    if error is not None and not isinstance(error, TurnOver):
        verdict = _failed(account, error, outcome.priority_at, now, chance)
        # inbox and sent mail may have been compared before something else failed
        return replace(verdict, priority_synced_at=outcome.priority_at)
    return _worked(account, outcome, now, settings)


def backoff(failures: int, chance: float) -> timedelta:
    """30 s × 2ⁿ, at most 30 min, ±25 % by `chance` in 0 … 1; `failures` counts from 1."""
    seconds = min(1800.0, 30.0 * 2.0 ** min(failures - 1, 10))
    return timedelta(seconds=min(1800.0, seconds * (0.75 + chance / 2)))


def _failed(
    account: Account, error: MailsyncError, priority_at: datetime | None, now: datetime, chance: float
) -> Verdict:
    message = str(error)
    if isinstance(error, Throttled):
        hint = timedelta(seconds=error.retry_after) if error.retry_after else timedelta(seconds=60)
        return _verdict(
            account, "degraded", "throttled", message, account.consecutive_failures, backoff_until=now + hint
        )
    if isinstance(error, KeyMismatch | ResetLimit):
        return _verdict(account, "broken", error.code, message, account.consecutive_failures + 1)
    if isinstance(error, AuthenticationFailed):
        return _rejected(account, message, now)
    if account.sync_state_reason == "auth_failed":
        # a server that cannot be reached meanwhile makes no password right: the rejections stay counted
        until = now + _LOGIN_RETRIES[-1]
        rejections = account.consecutive_failures
        return _verdict(account, _unproven(account), "auth_failed", message, rejections, backoff_until=until)
    failures = account.consecutive_failures + 1
    since = priority_at or account.priority_synced_at or account.created_at
    if now - since >= _STUCK_AFTER:
        return _verdict(account, "broken", "stuck", message, failures, backoff_until=now + timedelta(hours=1))
    until = now + backoff(failures, chance)
    return _verdict(account, "degraded", error.code, message, failures, backoff_until=until)


def _unproven(account: Account) -> str:
    """The state after a turn that neither proves nor breaks anything."""
    return "broken" if account.sync_state == "broken" else "degraded"


def _rejected(account: Account, message: str, now: datetime) -> Verdict:
    before = account.consecutive_failures if account.sync_state_reason == "auth_failed" else 0
    if before >= len(_LOGIN_RETRIES):
        return _verdict(account, "broken", "auth_failed", message, before + 1)
    until = now + _LOGIN_RETRIES[before]
    return _verdict(account, "degraded", "auth_failed", message, before + 1, backoff_until=until)


def _worked(account: Account, outcome: Outcome, now: datetime, settings: Settings) -> Verdict:
    priority_at = outcome.priority_at or account.priority_synced_at
    tracked = [f for f in outcome.folders if f.tracked and not f.missing_since]
    complete = all(f.is_complete for f in tracked)
    overall_at = account.overall_synced_at
    # the overall lag begins when everything is there for the first time
    if complete and outcome.overall_at and (overall_at is None or outcome.overall_at > overall_at):
        overall_at = outcome.overall_at
    proven = outcome.priority_at is not None
    failures = 0 if proven else account.consecutive_failures
    state, reason, message = _state(account, tracked, priority_at, overall_at, failures, now, settings)
    return Verdict(
        state=state,
        reason=reason,
        message=message,
        failures=failures,
        successes=account.consecutive_successes + 1 if proven else account.consecutive_successes,
        backoff_until=None if proven else account.backoff_until,
        healthy_until=_healthy_until(tracked, priority_at, overall_at, settings)
        if state == "healthy"
        else None,
        next_sync_at=_come_back(outcome.error, now),
        last_success_at=now if proven else None,
        priority_synced_at=priority_at,
        overall_synced_at=overall_at,
    )


def _state(
    account: Account,
    tracked: Sequence[FolderState],
    priority_at: datetime | None,
    overall_at: datetime | None,
    failures: int,
    now: datetime,
    settings: Settings,
) -> tuple[str, str | None, str | None]:
    if failures:
        return _unproven(account), account.sync_state_reason or "unreachable", account.sync_state_message
    wrong = next((f for f in tracked if f.last_error), None)
    unfinished = [f for f in tracked if not f.is_complete]
    if wrong:
        return "degraded", "folder_error", f"{wrong.path}: {wrong.last_error}"
    if overall_at is None:
        return "initial_sync", None, None
    if unfinished:
        return "degraded", "folder_backfill", f"{len(unfinished)} of {len(tracked)} folders are not complete"
    until = _healthy_until(tracked, priority_at, overall_at, settings)
    if priority_at is None or now - priority_at > _priority_lag(settings):
        return "degraded", "priority_lag", "inbox and sent mail have not been compared in time"
    if overall_at is None or now - overall_at > _OVERALL_LAG:
        return "degraded", "overall_lag", "some folder has not been compared for 15 minutes"
    if until is None or until < now:
        return "degraded", "unreconciled", "some folder is still to be found equal to the server"
    return "healthy", None, None


def _healthy_until(
    tracked: Sequence[FolderState],
    priority_at: datetime | None,
    overall_at: datetime | None,
    settings: Settings,
) -> datetime | None:
    """The first moment at which a healthy account would break one of its promises; None if one is broken."""
    if priority_at is None or overall_at is None:
        return None
    ends = [priority_at + _priority_lag(settings), overall_at + _OVERALL_LAG]
    for folder in tracked:
        if not folder.last_reconciled_at or (folder.is_priority and not folder.last_reconcile_clean):
            return None
        within = _RECONCILE_PRIORITY if folder.is_priority else _RECONCILE_OTHERS
        ends.append(folder.last_reconciled_at + within)
    return min(ends)


def _priority_lag(settings: Settings) -> timedelta:
    return timedelta(seconds=2 * settings.sync_interval + 60)


def _come_back(error: MailsyncError | None, now: datetime) -> datetime | None:
    if isinstance(error, OutOfTokens):
        return now + timedelta(seconds=error.retry_after)
    return now + timedelta(seconds=1) if isinstance(error, TurnOver) else None


def _verdict(
    account: Account,
    state: str,
    reason: str,
    message: str,
    failures: int,
    *,
    backoff_until: datetime | None = None,
) -> Verdict:
    return Verdict(
        state=state,
        reason=reason,
        message=message,
        failures=failures,
        successes=0,
        backoff_until=backoff_until,
        healthy_until=None,
    )
