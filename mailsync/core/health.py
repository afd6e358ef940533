"""The state of an account: one pure function of its history, the turn's outcome and now (SPEC §12, §13).

:data:`RULES` is the table of states, and the first rule that applies decides. Two states are added when the
account is read, by the view ``account_status``: ``paused``, and ``degraded`` with reason ``stale`` for a
``healthy`` that was not renewed until ``healthy_until``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from mailsync.config import Settings
from mailsync.core.advice import CLOSED_MAILBOX
from mailsync.core.contradictions import PARTIAL_VIEW, UIDS_NOT_STICKY
from mailsync.core.health_facts import Facts, Outcome, gather, overall_allowance, priority_lag
from mailsync.errors import (
    AuthenticationFailed,
    GrantRejected,
    KeyMismatch,
    NotConnected,
    OutOfTokens,
    PoisonousServer,
    ResetLimit,
    Throttled,
)
from mailsync.model import Account, FolderState, Verdict

__all__ = [
    "MOST_LOST_TURNS",
    "RULES",
    "Facts",
    "Outcome",
    "Rule",
    "STALE_WORKER",
    "backoff",
    "judge",
    "overall_allowance",
]

STALE_WORKER = 60.0
"""Seconds without a heartbeat after which a worker counts as dead; it sends one every 15 s."""

MOST_LOST_TURNS = 3
"""Turns of one kind in a row that end with their process before their account is backed off."""

_HOURLY = timedelta(hours=1)
_CLOSED_AFTER = timedelta(hours=1)
_LOGIN_RETRIES = (timedelta(minutes=1), timedelta(minutes=5))
_LONGEST_BACKOFF = timedelta(minutes=30)
_LONGEST_HINT = 3600.0
"""Most seconds that we wait because a server asks for it."""


def judge(account: Account, outcome: Outcome, now: datetime, settings: Settings, chance: float) -> Verdict:
    """Decide state, reason, backoff and next turn of the account; `chance` in 0 … 1 spreads backoffs.

    All times may be of any zone.
    """
    facts = gather(account, outcome, now.astimezone(UTC), settings, chance)
    rule = next(rule for rule in RULES if rule.applies(facts))
    counts = rule.counts and facts.failed and not isinstance(facts.error, Throttled)
    verdict = Verdict(
        rule.state,
        rule.reason(facts) if callable(rule.reason) else rule.reason,
        rule.message(facts) if callable(rule.message) else rule.message,
        failures=facts.failures + counts,
        successes=0,
        backoff_until=rule.backoff(facts),
        healthy_until=facts.healthy_until if rule.state == "healthy" else None,
        # a failed turn may have compared inbox and sent mail before it failed
        priority_synced_at=facts.priority_at if facts.compared else None,
        failing_since=facts.failing_since,
    )
    if facts.failed or facts.stuck:
        return verdict
    return replace(
        verdict,
        successes=account.consecutive_successes + facts.compared,
        next_sync_at=_next_turn(facts),
        last_success_at=facts.now if facts.compared else None,
        priority_synced_at=facts.priority_at,
        overall_synced_at=facts.overall_at,
    )


# -- the table --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table. ``when`` says in words what ``applies`` decides.

    ``message`` is shown to people. ``backoff`` is when the next turn may begin; by default the stored backoff
    stays until inbox and sent mail are compared. ``counts`` is False where a failed turn does not add to the
    account's failures.
    """

    state: str
    reason: str | Callable[[Facts], str | None] | None
    when: str
    applies: Callable[[Facts], bool]
    message: str | Callable[[Facts], str | None] | None = None
    backoff: Callable[[Facts], datetime | None] = lambda f: None if f.compared else f.backoff_until
    counts: bool = True


def _error(facts: Facts) -> str:
    return str(facts.error)


def _never(facts: Facts) -> None:
    return None


RULES: tuple[Rule, ...] = (
    # An error ended the turn.
    Rule("broken", "key_mismatch", "no configured key opens the password",
         lambda f: isinstance(f.error, KeyMismatch),
         _error, _never),
    Rule("broken", "uidvalidity_reset_limit", "a folder changed its UIDVALIDITY too often",
         lambda f: isinstance(f.error, ResetLimit),
         _error, _never),
    Rule("broken", "auth_failed", "the authorization server no longer accepts the refresh token",
         lambda f: isinstance(f.error, GrantRejected),
         _error, _never),
    Rule("broken", "not_connected", "an hour of logins that open no mailbox",
         lambda f: isinstance(f.error, NotConnected) and _stays_closed(f),
         lambda f: f"{f.error}; {CLOSED_MAILBOX}", lambda f: f.now + _HOURLY),
    Rule("broken", "auth_failed", "the third rejection of the password, whatever other failures came between",
         lambda f: isinstance(f.error, AuthenticationFailed) and f.failures >= len(_LOGIN_RETRIES),
         _error, _never),
    Rule("degraded", "auth_failed", "the first or second rejection of the password",
         lambda f: isinstance(f.error, AuthenticationFailed),
         _error, lambda f: _after_rejection(f)),
    Rule("broken", lambda f: f.reason, "broken before; stays so until a turn compares inbox and sent mail",
         lambda f: f.failed and f.still_broken and f.reason != "stuck",
         lambda f: f.account.sync_state_message or str(f.error), lambda f: _after_failure(f), counts=False),
    Rule("degraded", "auth_failed", "rejected before; another failure does not make the password right",
         lambda f: f.failed and not f.compared and f.reason == "auth_failed"
         and not isinstance(f.error, NotConnected),
         _error, lambda f: max(_after_failure(f), f.now + _LOGIN_RETRIES[-1]), counts=False),
    Rule("broken", "stuck", "24 h of turns that failed, or ended early and stored nothing",
         lambda f: f.stuck,
         lambda f: _stuck(f), lambda f: f.now + _HOURLY),
    Rule("degraded", lambda f: getattr(f.error, "code", None), "throttled, unreachable, tls, protocol, …",
         lambda f: f.failed,
         _error, lambda f: _after_failure(f)),

    # The turn is complete, or mailsync ended it early.
    Rule("broken", lambda f: f.reason, "broken before; stays so until a turn compares inbox and sent mail",
         lambda f: f.still_broken,
         lambda f: f.account.sync_state_message),
    Rule("degraded", lambda f: f.reason or "unreachable", "failed before, and not compared since",
         lambda f: f.failures > 0 and not (f.error is None and f.refused),
         lambda f: f.account.sync_state_message),
    Rule("degraded", "folder_error", "the server refuses a tracked folder",
         lambda f: bool(f.refused),
         lambda f: f"{f.refused[0].path}: {f.refused[0].last_error}"),
    Rule("initial_sync", None, "the folders have never all been complete and compared",
         lambda f: not (f.overall_at or f.account.overall_synced_at)),
    Rule("degraded", "priority_lag", "inbox and sent mail, if complete, not compared for 2 ticks + 60 s",
         lambda f: _is_late(f, f.priority_at, priority_lag(f.tick))
         and not any(folder.is_priority for folder in f.unfinished),
         "inbox and sent mail have not been compared in time"),
    Rule("degraded", "too_many_folders", "folders above FOLDER_MAX_COUNT are left out",
         lambda f: bool(f.left_out),
         lambda f: f"{len(f.left_out)} folders are not mirrored: FOLDER_MAX_COUNT is"
                   f" {f.settings.folder_max_count}"),
    Rule("degraded", PARTIAL_VIEW, "the server shows only a part of a tracked folder",
         lambda f: bool(f.partial),
         lambda f: _limited(f.partial)),
    Rule("degraded", UIDS_NOT_STICKY, "the UIDs of a tracked folder are new in each session",
         lambda f: bool(f.not_sticky),
         lambda f: _limited(f.not_sticky)),
    Rule("degraded", "folder_backfill", "a tracked folder is not complete",
         lambda f: bool(f.unfinished),
         lambda f: f"{len(f.unfinished)} of {len(f.tracked)} folders are not complete"),
    Rule("degraded", "overall_lag", "some folder not compared for 15 min or a longer round over all folders",
         lambda f: _is_late(f, f.overall_at, _allowance(f)),
         lambda f: "some folder has not been compared for"
                   f" {round(_allowance(f) / timedelta(minutes=1))} minutes"),
    Rule("degraded", "unreconciled", "priority folder not clean or not reconciled for 24 h, another for 7 d",
         lambda f: f.healthy_until is None or f.healthy_until < f.now,
         "some folder has not been fully compared with the server recently"),
    Rule("degraded", "unreadable_messages", "live rows without content: server or Postgres refused them",
         lambda f: f.without_content > 0,
         lambda f: _unreadable(f.without_content, f.account.email)),
    Rule("degraded", "folder_missing", "a folder that is no longer listed has live rows in its grace",
         lambda f: bool(f.missing),
         lambda f: _missing(f)),
    Rule("healthy", None, "none of these", lambda f: True),
)  # fmt: skip


# -- what the table calls --------------------------------------------------------------------------------


def _is_late(facts: Facts, compared_at: datetime | None, allowed: timedelta) -> bool:
    return compared_at is None or facts.now - compared_at > allowed


def _allowance(facts: Facts) -> timedelta:
    return overall_allowance(facts.account, facts.tracked, facts.settings, facts.tick)


def _stays_closed(facts: Facts) -> bool:
    """Whether the server has accepted logins and opened no mailbox for an hour."""
    if facts.reason != "not_connected":
        return False
    since = facts.account.sync_state_since
    return facts.still_broken or (since is not None and facts.now - since >= _CLOSED_AFTER)


def _stuck(facts: Facts) -> str:
    if facts.failed:
        return str(facts.error)
    return f"inbox and sent mail have not been compared for a day: {facts.error}"


def _unreadable(count: int, email: str) -> str:
    # the count stops at 1,000
    shown = f"{count:,} or more" if count >= 1000 else str(count)
    messages = "1 message has" if count == 1 else f"{shown} messages have"
    return (
        f"{messages} no content: `mailsync verify {email}` lists them. They are fetched again automatically,"
        f" at growing intervals; `mailsync sync {email} --full` fetches them now"
    )


def _limited(folders: Sequence[FolderState]) -> str:
    others = len(folders) - 1
    more = f" (and {others:,} more such {'folder' if others == 1 else 'folders'})" if others else ""
    return f"{folders[0].limitation_message or folders[0].path}{more}"


def _missing(facts: Facts) -> str:
    folder, grace = facts.missing[0], timedelta(seconds=facts.settings.folder_missing_grace)
    # a time in the future was stored before the clock was set back
    ends = min(folder.missing_since or facts.now, facts.now).astimezone(UTC) + grace
    return f"{folder.path} is no longer listed; its messages stay until {ends:%Y-%m-%dT%H:%MZ}"


def _after_failure(facts: Facts) -> datetime:
    if isinstance(facts.error, Throttled):
        return facts.now + _throttled_for(facts, facts.error)
    if isinstance(facts.error, PoisonousServer):
        # not by `failures`: turns of other kinds that succeed in between reset it
        return facts.now + backoff(facts.error.turns - MOST_LOST_TURNS + 1, facts.chance)
    return facts.now + backoff(facts.failures + 1, facts.chance)


def _after_rejection(facts: Facts) -> datetime:
    hint = facts.error.retry_after if facts.error else None
    return facts.now + max(timedelta(seconds=min(hint or 0, _LONGEST_HINT)), _LOGIN_RETRIES[facts.failures])


def _throttled_for(facts: Facts, error: Throttled) -> timedelta:
    """As long as the server asks for; else a minute, and then as long as the throttling has lasted."""
    if error.retry_after:
        return timedelta(seconds=min(error.retry_after, _LONGEST_HINT))
    since = facts.account.sync_state_since if facts.reason == "throttled" else None
    return _spread(max(timedelta(minutes=1), facts.now - since if since else timedelta()), facts.chance)


def backoff(failures: int, chance: float) -> timedelta:
    """30 s × 2ⁿ⁻¹ for the n-th failure, at most 30 min, ±25 % by `chance` in 0 … 1."""
    return _spread(timedelta(seconds=30.0 * 2.0 ** min(failures - 1, 10)), chance)


def _spread(wait: timedelta, chance: float) -> timedelta:
    return min(_LONGEST_BACKOFF, min(_LONGEST_BACKOFF, wait) * (0.75 + chance / 2))


def _next_turn(facts: Facts) -> datetime | None:
    """The time to continue a turn that mailsync ended early; None keeps the next tick."""
    if isinstance(facts.error, OutOfTokens):
        return facts.now + timedelta(seconds=facts.error.retry_after)
    return facts.now + timedelta(seconds=1) if facts.error else None
