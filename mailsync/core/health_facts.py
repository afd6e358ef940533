"""The input of the rules of :mod:`mailsync.core.health`: an account, the outcome of its turn, and now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mailsync.config import Settings
from mailsync.core.contradictions import PARTIAL_VIEW, UIDS_NOT_STICKY
from mailsync.errors import AuthenticationFailed, MailsyncError, Stopped, TurnOver
from mailsync.model import Account, FolderState

_RECONCILE_PRIORITY = timedelta(hours=24)
_RECONCILE_OTHERS = timedelta(days=7)
_OVERALL_LAG = timedelta(minutes=15)
_STUCK_AFTER = timedelta(hours=24)
_NOT_TRYING = timedelta(hours=2)
_SLACK = timedelta(seconds=60)
_CLOCK_SLACK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn went.

    ``error`` ended the turn early; None for a complete turn. ``priority_at`` is when the turn read the
    statuses of all priority folders, and ``overall_at`` when it read those of all folders; None unless the
    turn then brought these folders up to date. ``progress`` is True if the turn stored anything.
    ``without_content`` counts live rows that hold only UID, flags, date and size. ``tick_seconds`` is the
    account's own tick from now on, if this turn decided on one; see :attr:`Facts.tick`.
    """

    error: MailsyncError | None
    folders: Sequence[FolderState]
    priority_at: datetime | None = None
    overall_at: datetime | None = None
    progress: bool = False
    without_content: int = 0
    tick_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the rules look at.

    Times are UTC. ``priority_at`` and ``overall_at`` are when inbox and sent mail, and all folders, were last
    compared, by this turn or before; None also for a time in the future, stored before the clock was set
    back. ``compared`` tells whether this turn compared inbox and sent mail. ``failures`` is their number
    before this turn. ``missing`` are folders that the server no longer lists and that still have live rows;
    ``partial`` are those of which it shows a part, ``not_sticky`` those whose UIDs are new in each session.
    ``tick`` is the time between two ticks of this account. When an account returns to ``SYNC_INTERVAL``, its
    old tick counts once more, because the last comparison kept to that.
    """

    account: Account
    settings: Settings
    now: datetime
    chance: float
    tick: timedelta
    error: MailsyncError | None
    compared: bool
    failures: int
    failing_since: datetime | None
    backoff_until: datetime | None
    priority_at: datetime | None
    overall_at: datetime | None
    healthy_until: datetime | None
    tracked: Sequence[FolderState]
    refused: Sequence[FolderState]
    unfinished: Sequence[FolderState]
    left_out: Sequence[FolderState]
    missing: Sequence[FolderState]
    partial: Sequence[FolderState]
    not_sticky: Sequence[FolderState]
    without_content: int

    @property
    def reason(self) -> str | None:
        """The reason of the state before this turn."""
        return self.account.sync_state_reason

    @property
    def failed(self) -> bool:
        """Whether an error ended the turn, rather than a decision of mailsync."""
        return self.error is not None and not isinstance(self.error, TurnOver)

    @property
    def still_broken(self) -> bool:
        """Whether the account was broken and this turn did not prove the contrary."""
        return self.account.sync_state == "broken" and not self.compared

    @property
    def stuck(self) -> bool:
        """Whether turns have failed or stored nothing for a day; once stuck, stuck until one succeeds."""
        if self.compared or self.error is None or self.failing_since is None:
            return False
        again = self.still_broken and self.reason == "stuck"
        return again or self.now - self.failing_since >= _STUCK_AFTER


def gather(account: Account, outcome: Outcome, now: datetime, settings: Settings, chance: float) -> Facts:
    """Return the facts at `now`, which is UTC; `chance` in 0 … 1 spreads backoffs."""
    error, compared = outcome.error, outcome.priority_at is not None
    tick = timedelta(seconds=outcome.tick_seconds or account.tick_seconds or settings.sync_interval)
    tracked = [f for f in outcome.folders if f.tracked and not f.missing_since]
    unfinished = [f for f in tracked if not f.is_complete]
    priority_at = _utc(outcome.priority_at) or _believed(account.priority_synced_at, now)
    overall_at = _believed(account.overall_synced_at, now)
    # a round that began before the clock was set back may claim to end in the future
    round_at = _believed(outcome.overall_at, now)
    # the overall lag is measured from the first round over complete folders on
    if round_at and not unfinished:
        overall_at = max(round_at, overall_at or round_at)
    failures = account.consecutive_failures
    if isinstance(error, AuthenticationFailed):
        failures = failures if account.sync_state_reason == "auth_failed" else 0
    elif compared and (error is None or isinstance(error, TurnOver)):
        failures = 0
    return Facts(
        account=account,
        settings=settings,
        now=now,
        chance=chance,
        tick=tick,
        error=error,
        compared=compared,
        failures=failures,
        failing_since=_failing_since(account, outcome, now, tick),
        backoff_until=_utc(account.backoff_until),
        priority_at=priority_at,
        overall_at=overall_at,
        healthy_until=_healthy_until(account, tracked, priority_at, overall_at, settings, tick, now),
        tracked=tracked,
        refused=[f for f in tracked if f.last_error],
        unfinished=unfinished,
        left_out=[f for f in outcome.folders if not f.tracked and f.excluded_reason == "too_many_folders"],
        missing=[f for f in outcome.folders if f.missing_since and f.live_count],
        partial=[f for f in tracked if f.limitation == PARTIAL_VIEW],
        not_sticky=[f for f in tracked if f.limitation == UIDS_NOT_STICKY],
        without_content=outcome.without_content,
    )


def _failing_since(account: Account, outcome: Outcome, now: datetime, tick: timedelta) -> datetime | None:
    """The first of an unbroken series of turns that failed or stored nothing; None if there is none."""
    error, began, last = outcome.error, _utc(account.failing_since), _utc(account.last_sync_finished_at)
    if outcome.priority_at is not None or (isinstance(error, TurnOver) and outcome.progress):
        return None
    if error is None or isinstance(error, Stopped):
        return began
    pause = _NOT_TRYING + 2 * tick
    interrupted = last is not None and now - last > pause
    return now if began is None or began > now or interrupted else began


def overall_allowance(
    account: Account, tracked: Sequence[FolderState], settings: Settings, tick: timedelta
) -> timedelta:
    """How long ago a healthy account with this `tick` may have compared the folder that has waited longest.

    15 minutes; longer if a round over all folders takes longer: without LIST-STATUS a tick asks for only
    ``SYNC_PRIORITY_FOLDERS`` and ``SYNC_RR_FOLDERS``.
    """
    ticks = 1
    if "LIST-STATUS" not in account.capabilities:
        first = min(settings.sync_priority_folders, sum(f.is_priority for f in tracked))
        ticks = max(1, -(-(len(tracked) - first) // settings.sync_rr_folders))
    return max(_OVERALL_LAG, (ticks + 1) * tick + _SLACK)


def _healthy_until(
    account: Account,
    tracked: Sequence[FolderState],
    priority_at: datetime | None,
    overall_at: datetime | None,
    settings: Settings,
    tick: timedelta,
    now: datetime,
) -> datetime | None:
    """The first moment at which a healthy account would break one of its promises; None if one is broken."""
    if priority_at is None or overall_at is None:
        return None
    ends = [
        priority_at + priority_lag(tick),
        overall_at + overall_allowance(account, tracked, settings, tick),
    ]
    for folder in tracked:
        if not folder.last_reconciled_at or (folder.is_priority and not folder.last_reconcile_clean):
            return None
        within = _RECONCILE_PRIORITY if folder.is_priority else _RECONCILE_OTHERS
        at = folder.last_reconciled_at.astimezone(UTC)
        if at - now > within:
            # a clock that was far ahead wrote it, and it would hide for years that no reconcile happens
            return None
        ends.append(at + within)
    return min(ends)


def priority_lag(tick: timedelta) -> timedelta:
    """How long ago a healthy account with this `tick` may have compared inbox and sent mail."""
    return 2 * tick + _SLACK


def _utc(moment: datetime | None) -> datetime | None:
    """The time in UTC: the difference of two local times ignores a change to or from summer time."""
    return moment.astimezone(UTC) if moment else None


def _believed(moment: datetime | None, now: datetime) -> datetime | None:
    moment = _utc(moment)
    return moment if moment and moment <= now + _CLOCK_SLACK else None
