"""The table of an account's states: its history, how a turn went, what is said of it (SPEC §12, §13)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailsync.config import Settings
from mailsync.errors import (
    AuthenticationFailed,
    CertificateRejected,
    KeyMismatch,
    MailsyncError,
    OutOfTokens,
    ProtocolError,
    ResetLimit,
    Stopped,
    Throttled,
    Transient,
    TurnOver,
)
from mailsync.health import Outcome, backoff, judge
from mailsync.model import Account, Endpoint, FolderState, Verdict

from .test_planning import HELD

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SETTINGS = Settings(sync_interval=60)


def ago(**by: float) -> datetime:
    return NOW - timedelta(**by)


def ahead(**by: float) -> datetime:
    return NOW + timedelta(**by)


ACCOUNT = Account(
    id=1, email="a@example.com", endpoint=Endpoint("imap.example.com", 993, "tls", "a"), sync_since=None,
    sync_window_days=None, paused_at=None, deleting_at=None, sync_state="healthy", sync_state_reason=None,
    sync_state_message=None, sync_state_since=ago(days=2), consecutive_failures=0, consecutive_successes=7,
    backoff_until=None, priority_synced_at=ago(minutes=1), overall_synced_at=ago(minutes=1),
    last_success_at=ago(minutes=1), created_at=ago(days=9), folder_rr_cursor=0,
    next_discovery_at=ahead(minutes=5), capabilities=(),
)  # fmt: skip
NEW: dict[str, Any] = {
    "sync_state": "initial_sync", "priority_synced_at": None, "overall_synced_at": None,
    "last_success_at": None, "created_at": ago(minutes=2), "consecutive_successes": 0,
}  # fmt: skip
INBOX = replace(HELD, last_reconciled_at=ago(hours=1), last_reconcile_clean=True)
LISTS = replace(INBOX, id=2, path="Lists", role=None, sync_priority=100)

FAILED_TWICE: dict[str, Any] = {
    "sync_state": "degraded", "sync_state_reason": "unreachable", "sync_state_message": "connection refused",
    "consecutive_failures": 2, "consecutive_successes": 0, "backoff_until": ago(seconds=1),
}  # fmt: skip


def rejected(times: int) -> dict[str, Any]:
    return {"sync_state": "degraded", "sync_state_reason": "auth_failed", "consecutive_failures": times}


@dataclass(frozen=True)
class Case:
    """One row: what differs from an account that is healthy, in a turn that compared everything."""

    name: str
    says: str
    before: dict[str, Any] = field(default_factory=dict)
    error: MailsyncError | None = None
    folders: tuple[FolderState, ...] = (INBOX, LISTS)
    priority_at: datetime | None = NOW
    overall_at: datetime | None = NOW


NOTHING: dict[str, Any] = {"priority_at": None, "overall_at": None}
"""The turn came to nothing that is proven."""

CASES = [
    # -- healthy: compared, recently, and equal -----------------------------------------------------------
    Case("everything compared and equal", "healthy"),
    Case("a success ends a time of failures", "healthy", FAILED_TWICE),
    Case("a success ends a time of rejected passwords", "healthy", rejected(2)),
    Case("an account without folders has nothing unequal", "healthy", folders=()),
    Case("an untracked folder does not count", "healthy",
         folders=(INBOX, replace(LISTS, tracked=False, status="pending", last_error="NO"))),
    Case("a folder in its grace does not count", "healthy",
         folders=(INBOX, replace(LISTS, missing_since=ago(hours=1), status="initial"))),
    Case("another folder may have been unequal when it was repaired", "healthy",
         folders=(INBOX, replace(LISTS, last_reconcile_clean=False))),

    # -- initial sync -------------------------------------------------------------------------------------
    Case("never complete yet", "initial_sync", NEW, folders=(replace(INBOX, status="initial"), LISTS)),
    Case("complete for the first time", "healthy", NEW),
    Case("complete, but the turn looked at a part of the folders only", "initial_sync", NEW, overall_at=None),
    Case("never complete yet, and it fails", "degraded: unreachable",
         NEW, error=Transient("refused"), **NOTHING),

    # -- degraded: works in part --------------------------------------------------------------------------
    Case("a new folder of an old account is being filled", "degraded: folder_backfill",
         folders=(INBOX, replace(LISTS, status="pending"))),
    Case("a folder is refused", "degraded: folder_error", folders=(INBOX, replace(LISTS, last_error="NO"))),
    Case("a refused folder weighs more than an unfinished one", "degraded: folder_error",
         folders=(replace(INBOX, status="initial"), replace(LISTS, last_error="NO"))),
    Case("the inbox was not compared in time", "degraded: priority_lag",
         {"priority_synced_at": ago(seconds=181)}, error=TurnOver("time"), **NOTHING),
    Case("the inbox was compared just in time", "healthy",
         {"priority_synced_at": ago(seconds=179)}, error=TurnOver("time"), **NOTHING),
    Case("some folder was not compared for 15 minutes", "degraded: overall_lag",
         {"overall_synced_at": ago(minutes=15, seconds=1)}, overall_at=None),
    Case("some folder was compared just in time", "healthy",
         {"overall_synced_at": ago(minutes=14, seconds=59)}, overall_at=None),
    Case("the inbox was never reconciled", "degraded: unreconciled",
         folders=(replace(INBOX, last_reconciled_at=None), LISTS)),
    Case("the inbox was not reconciled for a day", "degraded: unreconciled",
         folders=(replace(INBOX, last_reconciled_at=ago(hours=24, seconds=1)), LISTS)),
    Case("the inbox was not equal after its last reconcile", "degraded: unreconciled",
         folders=(replace(INBOX, last_reconcile_clean=False), LISTS)),
    Case("another folder was not reconciled for a week", "degraded: unreconciled",
         folders=(INBOX, replace(LISTS, last_reconciled_at=ago(days=7, seconds=1)))),
    Case("another folder was reconciled six days ago", "healthy",
         folders=(INBOX, replace(LISTS, last_reconciled_at=ago(days=6)))),

    # -- a turn that ended early says nothing new ---------------------------------------------------------
    Case("a turn that proves nothing does not end a time of failures", "degraded: unreachable",
         FAILED_TWICE, error=TurnOver("yielded"), **NOTHING),
    Case("a turn without tokens leaves a healthy account healthy", "healthy",
         error=OutOfTokens(7), **NOTHING),

    # -- failures -----------------------------------------------------------------------------------------
    Case("the server is out of reach", "degraded: unreachable", error=Transient("timed out"), **NOTHING),
    Case("its certificate does not verify", "degraded: tls", error=CertificateRejected("expired"), **NOTHING),
    Case("it talks nonsense", "degraded: protocol", error=ProtocolError("?"), **NOTHING),
    Case("something unforeseen", "degraded: error",
         error=MailsyncError("internal error: KeyError"), **NOTHING),
    Case("it asks us to slow down", "degraded: throttled", error=Throttled("[LIMIT]"), **NOTHING),
    Case("the password is rejected once", "degraded: auth_failed",
         error=AuthenticationFailed("no"), **NOTHING),

    # -- broken: needs a person ---------------------------------------------------------------------------
    Case("the password is rejected the second time", "degraded: auth_failed",
         rejected(1), AuthenticationFailed("no"), **NOTHING),
    Case("the password is rejected the third time", "broken: auth_failed",
         rejected(2), AuthenticationFailed("no"), **NOTHING),
    Case("rejections count in a row only", "degraded: auth_failed",
         FAILED_TWICE, AuthenticationFailed("no"), **NOTHING),
    Case("no key opens the password", "broken: key_mismatch", error=KeyMismatch("key"), **NOTHING),
    Case("UIDVALIDITY changed too often", "broken: uidvalidity_reset_limit",
         error=ResetLimit("often"), **NOTHING),
    Case("no success of inbox and sent for a day", "broken: stuck",
         FAILED_TWICE | {"priority_synced_at": ago(hours=24)}, Transient("refused"), **NOTHING),
    Case("not quite a day", "degraded: unreachable",
         FAILED_TWICE | {"priority_synced_at": ago(hours=23, minutes=59)}, Transient("refused"), **NOTHING),
    Case("never a success in the first day", "broken: stuck",
         NEW | {"created_at": ago(hours=25)}, Transient("refused"), **NOTHING),
    Case("a stuck account that works again", "healthy",
         {"sync_state": "broken", "sync_state_reason": "stuck", "consecutive_failures": 40,
          "priority_synced_at": ago(days=3)}),
]  # fmt: skip


def verdict(case: Case, chance: float = 0.5) -> Verdict:
    outcome = Outcome(case.error, case.folders, case.priority_at, case.overall_at)
    return judge(replace(ACCOUNT, **case.before), outcome, NOW, SETTINGS, chance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_state_of_an_account(case: Case) -> None:
    said = verdict(case)
    assert ": ".join(filter(None, (said.state, said.reason))) == case.says
    assert (said.healthy_until is not None) == (said.state == "healthy"), "only health is promised"
    if said.healthy_until:
        assert said.healthy_until >= NOW
    if said.state in ("degraded", "broken"):
        assert said.message, "a person is told what is wrong"
    if case.error is not None and not isinstance(case.error, TurnOver):
        assert said.message == str(case.error)
        assert said.successes == 0
        assert said.last_success_at is None, "a failure is no success"
        assert said.priority_synced_at is None


def test_a_proven_turn_counts_and_clears_the_backoff() -> None:
    said = verdict(Case("", "", FAILED_TWICE))
    assert (said.failures, said.successes, said.backoff_until) == (0, 1, None)
    assert (said.last_success_at, said.priority_synced_at, said.overall_synced_at) == (NOW, NOW, NOW)


def test_a_turn_that_proves_nothing_changes_no_counter() -> None:
    said = verdict(Case("", "", FAILED_TWICE, TurnOver("yielded"), **NOTHING))
    assert (said.failures, said.successes) == (2, 0)
    assert said.backoff_until == FAILED_TWICE["backoff_until"]
    assert said.last_success_at is None


# -- how long health is promised -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "folders", "overall_at", "until"),
    [
        pytest.param({}, (INBOX, LISTS), NOW, ahead(seconds=180), id="two ticks and a minute for the inbox"),
        pytest.param({"overall_synced_at": ago(minutes=14)}, (INBOX,), None, ahead(minutes=1),
                     id="15 minutes for all folders"),
        pytest.param({}, (replace(INBOX, last_reconciled_at=ago(hours=23, minutes=59)),), NOW,
                     ahead(minutes=1), id="a day for the inbox's reconcile"),
        pytest.param({}, (INBOX, replace(LISTS, last_reconciled_at=ago(days=7) + timedelta(minutes=1))), NOW,
                     ahead(minutes=1), id="a week for another folder's reconcile"),
    ],
)  # fmt: skip
def test_health_is_promised_until_the_first_promise_would_break(
    before: dict[str, Any], folders: tuple[FolderState, ...], overall_at: datetime | None, until: datetime
) -> None:
    assert verdict(Case("", "", before, folders=folders, overall_at=overall_at)).healthy_until == until


# -- backoff -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 30), (2, 60), (3, 120), (4, 240), (5, 480), (6, 960), (7, 1800), (10**6, 1800)],
)
def test_backoff_doubles_from_30_seconds_to_half_an_hour(failures: int, seconds: float) -> None:
    assert backoff(failures, 0.5) == timedelta(seconds=seconds)
    assert backoff(failures, 0.0) == timedelta(seconds=seconds * 0.75)
    assert backoff(failures, 1.0) == timedelta(seconds=min(1800.0, seconds * 1.25))


def test_each_failure_waits_longer() -> None:
    said = verdict(Case("", "", FAILED_TWICE, Transient("refused"), **NOTHING))
    assert said.failures == 3
    assert said.backoff_until == ahead(seconds=120)


@pytest.mark.parametrize(("before", "minutes"), [({}, 1), (rejected(1), 5)])
def test_a_rejected_password_is_tried_after_one_and_after_five_minutes(
    before: dict[str, Any], minutes: int
) -> None:
    said = verdict(Case("", "", before, AuthenticationFailed("no"), **NOTHING))
    assert said.backoff_until == ahead(minutes=minutes)


def test_a_stuck_account_is_tried_hourly() -> None:
    said = verdict(Case("", "", {"priority_synced_at": ago(days=2)}, Transient("refused"), **NOTHING))
    assert said.backoff_until == ahead(hours=1)


@pytest.mark.parametrize(("hint", "seconds"), [(5.0, 5), (None, 60), (86_400.0, 86_400)])
def test_throttling_waits_as_hinted_and_is_no_failure_of_the_account(
    hint: float | None, seconds: int
) -> None:
    said = verdict(Case("", "", {}, Throttled("slow down", retry_after=hint), **NOTHING))
    assert said.backoff_until == ahead(seconds=seconds)
    assert said.failures == 0


# -- when the account is due again -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        pytest.param(TurnOver("yielded"), 1, id="yielded or out of time: in a second"),
        pytest.param(Stopped("asked to stop"), 1, id="stopped: for another worker, in a second"),
        pytest.param(OutOfTokens(7), 7, id="out of tokens: when there are some"),
        pytest.param(None, None, id="done: at its next tick, which was set before the work"),
        pytest.param(Transient("refused"), None, id="failed: at its next tick, behind the backoff"),
    ],
)
def test_when_the_account_is_due_again(error: MailsyncError | None, seconds: int | None) -> None:
    said = verdict(Case("", "", {}, error, **({} if error is None else NOTHING)))
    assert said.next_sync_at == (None if seconds is None else ahead(seconds=seconds))
