"""The state of an account: one pure function of its history, the turn's outcome and now (SPEC §12, §13).

The first line that fits is what is said. ``account_status`` adds a person's pause, and the passing of time:
a ``healthy`` that is not renewed until ``healthy_until`` reads ``degraded``, reason ``stale``.

=============  ==========================  ================================================================
broken         ``key_mismatch``            no configured key opens the password
..             ``uidvalidity_reset_limit`` a folder changed its UIDVALIDITY too often
..             ``auth_failed``             the third rejection of the password; outages in between count
                                           neither for nor against it
..             ``stuck``                   24 h of turns that failed or came to nothing, without inbox and
                                           sent mail being compared; being switched off is not trying
..             as before                   what is broken stays so until inbox and sent mail are compared, or
                                           a person acts
degraded       ``throttled``,              the turn was ended by this (§13); a rejected password stays
               ``unreachable``, ``tls``,   counted until a login succeeds
               ``protocol``, ``error``,
               ``database_slow``,
               ``auth_failed``
..             ``poisonous_server``        turns of one kind, three in a row or more, ended with their process
..             ``folder_error``            a tracked folder is refused
initial_sync                               the folders were never all complete and compared yet
degraded       ``priority_lag``            inbox and sent mail not compared for 2 ticks + 60 s
..             ``too_many_folders``        folders above ``FOLDER_MAX_COUNT`` are left out
..             ``folder_backfill``         a tracked folder is not complete
..             ``overall_lag``             some folder not compared for 15 min, or, where one tick does not
                                           reach all folders, for a round of them + 1 tick + 60 s
..             ``unreconciled``            the last reconcile of a priority folder was not clean or is older
                                           than 24 h (7 d: another folder)
..             ``unreadable_messages``     live rows have no content: the server did not give the
                                           message, or Postgres did not take it
..             ``folder_missing``          a folder that the server lists no more has live rows in its grace
healthy
=============  ==========================  ================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mailsync.config import Settings
from mailsync.errors import (
    AuthenticationFailed,
    KeyMismatch,
    MailsyncError,
    OutOfTokens,
    PoisonousServer,
    ResetLimit,
    Stopped,
    Throttled,
    TurnOver,
)
from mailsync.model import Account, FolderState, Verdict

MOST_LOST_TURNS = 3
"""Turns of one kind in a row that end with their process before their account is backed off."""

_RECONCILE_PRIORITY = timedelta(hours=24)
_RECONCILE_OTHERS = timedelta(days=7)
_OVERALL_LAG = timedelta(minutes=15)
_STUCK_AFTER = timedelta(hours=24)
_STUCK_RETRY = timedelta(hours=1)
_NOT_TRYING = timedelta(hours=2)
_LOGIN_RETRIES = (timedelta(minutes=1), timedelta(minutes=5))
_LONGEST_BACKOFF = timedelta(minutes=30)
_LONGEST_HINT = timedelta(hours=1)
_CLOCK_SLACK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn went.

    ``error`` is what ended it, None if it came to its end. ``priority_at`` and ``overall_at`` are when the
    statuses of all priority folders, and of all folders, were taken and worked off; None if not.
    ``progress`` tells whether it brought anything home. ``without_content`` counts the live rows that hold
    no more than UID, flags, date and size.
    """

    error: MailsyncError | None
    folders: Sequence[FolderState]
    priority_at: datetime | None = None
    overall_at: datetime | None = None
    progress: bool = False
    without_content: int = 0


def judge(account: Account, outcome: Outcome, now: datetime, settings: Settings, chance: float) -> Verdict:
    """Decide state, reason, backoff and next due of the account; `chance` in 0 … 1 spreads backoffs.

    All times may be of any zone. Those of the account that lie in the future are not believed: the clock was
    set back since.
    """
    now = now.astimezone(UTC)
    # a round that began before the clock was set back may say that it ends in the future
    compared = _believed(outcome.overall_at, now)
    outcome = replace(outcome, priority_at=_utc(outcome.priority_at), overall_at=compared)
    since = _failing_since(account, outcome, now, settings)
    error = outcome.error
    if error is not None and not isinstance(error, TurnOver):
        verdict = _failed(account, outcome, error, since, now, chance)
        # inbox and sent mail may have been compared before something else failed
        return replace(verdict, failing_since=since, priority_synced_at=outcome.priority_at)
    return replace(_worked(account, outcome, since, now, settings), failing_since=since)


def backoff(failures: int, chance: float) -> timedelta:
    """30 s × 2ⁿ, at most 30 min, ±25 % by `chance` in 0 … 1; `failures` counts from 1."""
    return _spread(timedelta(seconds=30.0 * 2.0 ** min(failures - 1, 10)), chance)


def overall_allowance(account: Account, tracked: Sequence[FolderState], settings: Settings) -> timedelta:
    """How long ago the folder that waits longest may have been compared in a healthy account.

    15 minutes; longer where a round over all folders takes longer: without LIST-STATUS a tick asks only
    ``SYNC_PRIORITY_FOLDERS`` and ``SYNC_RR_FOLDERS``.
    """
    ticks = 1
    if "LIST-STATUS" not in account.capabilities:
        first = min(settings.sync_priority_folders, sum(f.is_priority for f in tracked))
        ticks = max(1, -(-(len(tracked) - first) // settings.sync_rr_folders))
    return max(_OVERALL_LAG, timedelta(seconds=(ticks + 1) * settings.sync_interval + 60))


# -- a turn that failed ----------------------------------------------------------------------------------


def _failed(
    account: Account,
    outcome: Outcome,
    error: MailsyncError,
    since: datetime | None,
    now: datetime,
    chance: float,
) -> Verdict:
    message = str(error)
    if isinstance(error, KeyMismatch | ResetLimit):
        return _verdict("broken", error.code, message, account.consecutive_failures + 1)
    if isinstance(error, AuthenticationFailed):
        return _rejected(account, error, now)
    failures = account.consecutive_failures + (0 if isinstance(error, Throttled) else 1)
    if isinstance(error, Throttled):
        until = now + _patience(account, error, now, chance)
    elif isinstance(error, PoisonousServer):
        # not by `failures`: turns of other kinds that succeed in between reset it
        until = now + backoff(error.turns - MOST_LOST_TURNS + 1, chance)
    else:
        until = now + backoff(failures, chance)
    before, reason = account.consecutive_failures, account.sync_state_reason
    if outcome.priority_at is None:
        if account.sync_state == "broken" and reason != "stuck":
            return _verdict("broken", reason, account.sync_state_message or message, before, until)
        if reason == "auth_failed":
            # a server that cannot be reached meanwhile makes no password right: the rejections stay counted
            return _verdict("degraded", reason, message, before, max(until, now + _LOGIN_RETRIES[-1]))
        if _is_stuck(account, since, now):
            return _verdict("broken", "stuck", message, failures, now + _STUCK_RETRY)
    return _verdict("degraded", error.code, message, failures, until)


def _rejected(account: Account, error: AuthenticationFailed, now: datetime) -> Verdict:
    before = account.consecutive_failures if account.sync_state_reason == "auth_failed" else 0
    if before >= len(_LOGIN_RETRIES):
        return _verdict("broken", "auth_failed", str(error), before + 1)
    hint = min(timedelta(seconds=error.retry_after or 0), _LONGEST_HINT)
    until = now + max(hint, _LOGIN_RETRIES[before])
    return _verdict("degraded", "auth_failed", str(error), before + 1, until)


def _patience(account: Account, error: Throttled, now: datetime, chance: float) -> timedelta:
    """How long to leave it alone: as the server hints; else a minute, and then as long as this has lasted."""
    if error.retry_after:
        return min(timedelta(seconds=error.retry_after), _LONGEST_HINT)
    since = account.sync_state_since if account.sync_state_reason == "throttled" else None
    return _spread(max(timedelta(minutes=1), now - since if since else timedelta()), chance)


def _spread(wait: timedelta, chance: float) -> timedelta:
    return min(_LONGEST_BACKOFF, min(_LONGEST_BACKOFF, wait) * (0.75 + chance / 2))


def _failing_since(account: Account, outcome: Outcome, now: datetime, settings: Settings) -> datetime | None:
    """Since when turns have been taken, one after the other, that came to nothing; None if it was not so."""
    error, began, last = outcome.error, _utc(account.failing_since), _utc(account.last_sync_finished_at)
    if outcome.priority_at is not None or (isinstance(error, TurnOver) and outcome.progress):
        return None
    if error is None or isinstance(error, Stopped):
        return began
    pause = _NOT_TRYING + timedelta(seconds=2 * settings.sync_interval)
    interrupted = last is not None and now - last > pause
    return now if began is None or began > now or interrupted else began


def _is_stuck(account: Account, since: datetime | None, now: datetime) -> bool:
    stuck = account.sync_state == "broken" and account.sync_state_reason == "stuck"
    return stuck or (since is not None and now - since >= _STUCK_AFTER)


# -- a turn that came to its end, or was ended by ourselves ----------------------------------------------


def _worked(
    account: Account, outcome: Outcome, since: datetime | None, now: datetime, settings: Settings
) -> Verdict:
    proven = outcome.priority_at is not None
    failures = 0 if proven else account.consecutive_failures
    if not proven and since is not None and outcome.error is not None and _is_stuck(account, since, now):
        message = f"inbox and sent mail have not been compared for a day: {outcome.error}"
        return _verdict("broken", "stuck", message, failures, now + _STUCK_RETRY)
    tracked = [f for f in outcome.folders if f.tracked and not f.missing_since]
    priority_at = outcome.priority_at or _believed(account.priority_synced_at, now)
    overall_at = _believed(account.overall_synced_at, now)
    # the overall lag begins when everything is there for the first time
    if outcome.overall_at and all(f.is_complete for f in tracked):
        overall_at = max(outcome.overall_at, overall_at or outcome.overall_at)
    until = _healthy_until(account, tracked, priority_at, overall_at, settings)
    state: tuple[str, str | None, str | None]
    if not proven and account.sync_state == "broken":
        state = "broken", account.sync_state_reason, account.sync_state_message
    elif failures and not (outcome.error is None and any(f.last_error for f in tracked)):
        state = "degraded", account.sync_state_reason or "unreachable", account.sync_state_message
    else:
        ever = bool(overall_at or account.overall_synced_at)
        state = _state(account, outcome, priority_at, overall_at, until, ever, now, settings)
    return Verdict(
        *state,
        failures=failures,
        successes=account.consecutive_successes + 1 if proven else account.consecutive_successes,
        backoff_until=None if proven else _utc(account.backoff_until),
        healthy_until=until if state[0] == "healthy" else None,
        next_sync_at=_come_back(outcome.error, now),
        last_success_at=now if proven else None,
        priority_synced_at=priority_at,
        overall_synced_at=overall_at,
    )


def _state(
    account: Account,
    outcome: Outcome,
    priority_at: datetime | None,
    overall_at: datetime | None,
    until: datetime | None,
    ever: bool,
    now: datetime,
    settings: Settings,
) -> tuple[str, str | None, str | None]:
    folders = outcome.folders
    tracked = [f for f in folders if f.tracked and not f.missing_since]
    unfinished = [f for f in tracked if not f.is_complete]
    wrong = next((f for f in tracked if f.last_error), None)
    left_out = [f for f in folders if not f.tracked and f.excluded_reason == "too_many_folders"]
    late = priority_at is None or now - priority_at > _priority_lag(settings)
    if wrong:
        return "degraded", "folder_error", f"{wrong.path}: {wrong.last_error}"
    if not ever:
        return "initial_sync", None, None
    if late and not any(f.is_priority for f in unfinished):
        return "degraded", "priority_lag", "inbox and sent mail have not been compared in time"
    if left_out:
        limit = settings.folder_max_count
        what = f"{len(left_out)} folders are not mirrored: FOLDER_MAX_COUNT is {limit}"
        return "degraded", "too_many_folders", what
    if unfinished:
        return "degraded", "folder_backfill", f"{len(unfinished)} of {len(tracked)} folders are not complete"
    allowance = overall_allowance(account, tracked, settings)
    if overall_at is None or now - overall_at > allowance:
        minutes = round(allowance.total_seconds() / 60)
        return "degraded", "overall_lag", f"some folder has not been compared for {minutes} minutes"
    if until is None or until < now:
        return "degraded", "unreconciled", "not every folder has been found equal to the server lately"
    if outcome.without_content:
        return "degraded", "unreadable_messages", _unreadable(outcome.without_content, account.email)
    gone = next((f for f in folders if f.missing_since and f.live_count), None)
    if gone and gone.missing_since:
        ends = gone.missing_since.astimezone(UTC) + timedelta(seconds=settings.folder_missing_grace)
        what = f"{gone.path} is no longer listed; its messages stay until {ends:%Y-%m-%d %H:%M} UTC"
        return "degraded", "folder_missing", what
    return "healthy", None, None


def _unreadable(count: int, email: str) -> str:
    # the count stops at 1,000
    shown = f"{count:,} or more" if count >= 1000 else str(count)
    many = "1 message has" if count == 1 else f"{shown} messages have"
    return (
        f"{many} no content here; `mailsync verify {email}` names them. They are asked for again by"
        f" themselves, ever less often; `mailsync sync {email} --full` asks now"
    )


def _healthy_until(
    account: Account,
    tracked: Sequence[FolderState],
    priority_at: datetime | None,
    overall_at: datetime | None,
    settings: Settings,
) -> datetime | None:
    """The first moment at which a healthy account would break one of its promises; None if one is broken."""
    if priority_at is None or overall_at is None:
        return None
    ends = [
        priority_at + _priority_lag(settings),
        overall_at + overall_allowance(account, tracked, settings),
    ]
    for folder in tracked:
        if not folder.last_reconciled_at or (folder.is_priority and not folder.last_reconcile_clean):
            return None
        within = _RECONCILE_PRIORITY if folder.is_priority else _RECONCILE_OTHERS
        ends.append(folder.last_reconciled_at.astimezone(UTC) + within)
    return min(ends)


def _priority_lag(settings: Settings) -> timedelta:
    return timedelta(seconds=2 * settings.sync_interval + 60)


def _come_back(error: MailsyncError | None, now: datetime) -> datetime | None:
    if isinstance(error, OutOfTokens):
        return now + timedelta(seconds=error.retry_after)
    return now + timedelta(seconds=1) if isinstance(error, TurnOver) else None


def _verdict(
    state: str, reason: str | None, message: str | None, failures: int, until: datetime | None = None
) -> Verdict:
    return Verdict(
        state, reason, message, failures=failures, successes=0, backoff_until=until, healthy_until=None
    )


def _utc(moment: datetime | None) -> datetime | None:
    # two times of one zone are subtracted by their clocks' faces, which summer time makes wrong
    return moment.astimezone(UTC) if moment else None


def _believed(moment: datetime | None, now: datetime) -> datetime | None:
    moment = _utc(moment)
    return moment if moment and moment <= now + _CLOCK_SLACK else None
