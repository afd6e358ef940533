"""The states of an account: the table of cases, and backoffs, promises and clocks (SPEC §12, §13)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mailsync.config import Settings
from mailsync.core.health import RULES, Outcome, backoff, judge, overall_allowance
from mailsync.core.health_facts import gather
from mailsync.errors import (
    AuthenticationFailed,
    CertificateRejected,
    ClientRejected,
    GrantRejected,
    KeyMismatch,
    MailsyncError,
    NotConnected,
    OutOfTokens,
    PoisonousServer,
    ProtocolError,
    ResetLimit,
    Stopped,
    Throttled,
    Transient,
    TurnOver,
)
from mailsync.model import Account, Endpoint, FolderState, Verdict
from tests.unit.core.test_planning import FOLDER

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
    next_discovery_at=ahead(minutes=5), capabilities=("LIST-STATUS",), last_sync_finished_at=ago(minutes=1),
)  # fmt: skip
NEW: dict[str, Any] = {
    "sync_state": "initial_sync", "priority_synced_at": None, "overall_synced_at": None,
    "last_success_at": None, "created_at": ago(minutes=2), "consecutive_successes": 0,
}  # fmt: skip
INBOX = replace(FOLDER, last_reconciled_at=ago(hours=1), last_reconcile_clean=True)
LISTS = replace(INBOX, id=2, path="Lists", role=None, sync_priority=100)

FAILED_TWICE: dict[str, Any] = {
    "sync_state": "degraded", "sync_state_reason": "unreachable", "sync_state_message": "connection refused",
    "consecutive_failures": 2, "consecutive_successes": 0, "backoff_until": ago(seconds=1),
    "failing_since": ago(minutes=3),
}  # fmt: skip
STUCK: dict[str, Any] = {
    "sync_state": "broken", "sync_state_reason": "stuck", "sync_state_message": "connection refused",
    "consecutive_failures": 40, "failing_since": ago(days=3), "priority_synced_at": ago(days=3),
    "last_sync_finished_at": ago(hours=1),
}  # fmt: skip


CLOSED: dict[str, Any] = {
    "sync_state": "degraded", "sync_state_reason": "not_connected", "sync_state_message": "not connected",
    "consecutive_failures": 7, "failing_since": ago(minutes=60), "sync_state_since": ago(minutes=60),
}  # fmt: skip
CLOSED_FOR_GOOD = CLOSED | {"sync_state": "broken", "sync_state_since": ago(minutes=5)}


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
    progress: bool = False
    without_content: int = 0


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
    Case("a missing folder without rows has nothing unequal", "healthy",
         folders=(INBOX, replace(LISTS, missing_since=ago(hours=1), status="initial", live_count=0))),
    Case("a missing folder that was emptied after its grace", "healthy",
         folders=(INBOX, replace(LISTS, missing_since=ago(days=8), status="missing", live_count=0))),
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
    Case("the inbox is refused: nothing is claimed of it", "degraded: folder_error",
         folders=(replace(INBOX, last_error="NO"), LISTS), **NOTHING),
    Case("the inbox is refused, after a time of failures", "degraded: folder_error", FAILED_TWICE,
         folders=(replace(INBOX, last_error="NO"), LISTS), **NOTHING),
    Case("more folders than are mirrored", "degraded: too_many_folders",
         folders=(INBOX, replace(LISTS, tracked=False, excluded_reason="too_many_folders"))),
    Case("of too many folders the user chose this one", "healthy",
         folders=(INBOX, replace(LISTS, excluded_reason="too_many_folders", tracked_by_user=True))),
    Case("too many folders need a person, unfinished ones only time", "degraded: too_many_folders",
         folders=(INBOX, replace(LISTS, status="initial"),
                  replace(LISTS, id=3, tracked=False, excluded_reason="too_many_folders"))),
    Case("a late inbox weighs more than too many folders", "degraded: priority_lag",
         {"priority_synced_at": ago(seconds=181)}, error=TurnOver("time"), priority_at=None, overall_at=None,
         folders=(INBOX, replace(LISTS, tracked=False, excluded_reason="too_many_folders"))),
    Case("too many folders, and the others never complete yet", "initial_sync", NEW,
         folders=(replace(INBOX, status="initial"),
                  replace(LISTS, tracked=False, excluded_reason="too_many_folders"))),
    Case("the server shows a part of a folder", "degraded: partial_view",
         folders=(replace(INBOX, limitation="partial_view", limitation_message="INBOX: 10 of 25"), LISTS)),
    Case("the server shows a part of a folder that is not mirrored", "healthy",
         folders=(INBOX, replace(LISTS, tracked=False, limitation="partial_view"))),
    Case("a part of a folder needs a person, an unfinished one only time", "degraded: partial_view",
         folders=(replace(INBOX, limitation="partial_view"), replace(LISTS, status="initial"))),
    Case("UIDs that are new in each session", "degraded: uids_not_sticky",
         folders=(INBOX, replace(LISTS, limitation="uids_not_sticky"))),
    Case("a folder in its grace has rows that nothing is compared with", "degraded: folder_missing",
         folders=(INBOX, replace(LISTS, missing_since=ago(hours=1)))),
    Case("messages without content", "degraded: unreadable_messages", without_content=3),
    Case("they weigh more than a folder in its grace", "degraded: unreadable_messages", without_content=1,
         folders=(INBOX, replace(LISTS, missing_since=ago(hours=1)))),
    Case("a folder that is not complete weighs more", "degraded: folder_backfill", without_content=1,
         folders=(INBOX, replace(LISTS, status="initial"))),
    Case("what is late weighs more", "degraded: overall_lag",
         {"overall_synced_at": ago(minutes=15, seconds=1)}, overall_at=None, without_content=1),
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
    Case("the inbox was reconciled when the clock was far ahead", "degraded: unreconciled",
         folders=(replace(INBOX, last_reconciled_at=ahead(days=400)), LISTS)),
    Case("the inbox was not equal after its last reconcile", "degraded: unreconciled",
         folders=(replace(INBOX, last_reconcile_clean=False), LISTS)),
    Case("the inbox is filled again", "degraded: folder_backfill", {"priority_synced_at": ago(hours=1)},
         folders=(replace(INBOX, status="pending"), LISTS), **NOTHING),
    Case("the inbox was compared in a future that the clock was set back from", "degraded: priority_lag",
         {"priority_synced_at": ahead(hours=3)}, error=TurnOver("time"), **NOTHING),
    Case("all folders were compared in such a future", "degraded: overall_lag",
         {"overall_synced_at": ahead(hours=3)}, overall_at=None),
    Case("and are compared again", "healthy",
         {"overall_synced_at": ahead(hours=3), "priority_synced_at": ahead(hours=3)}),
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

    Case("it accepts the login and opens no mailbox", "degraded: not_connected",
         error=NotConnected("BAD"), **NOTHING),
    Case("and does so for almost an hour", "degraded: not_connected",
         CLOSED | {"sync_state_since": ago(minutes=59)}, NotConnected("BAD"), **NOTHING),
    Case("a login that is accepted ends a time of rejections", "degraded: not_connected",
         rejected(2), NotConnected("BAD"), **NOTHING),
    Case("an hour of another reason is none of this one", "degraded: not_connected",
         FAILED_TWICE | {"sync_state_since": ago(hours=2)}, NotConnected("BAD"), **NOTHING),
    Case("out of reach in between", "degraded: unreachable", CLOSED, Transient("bye"), **NOTHING),
    Case("the mailbox opens", "healthy", CLOSED),
    Case("the authorization server does not know our client", "degraded: oauth_client",
         error=ClientRejected("invalid_client"), **NOTHING),

    # -- broken: needs a person ---------------------------------------------------------------------------
    Case("the refresh token is rejected, once", "broken: auth_failed",
         error=GrantRejected("invalid_grant"), **NOTHING),
    Case("no mailbox is opened for an hour", "broken: not_connected", CLOSED, NotConnected("BAD"), **NOTHING),
    Case("no mailbox is opened, and it goes on", "broken: not_connected",
         CLOSED_FOR_GOOD, NotConnected("BAD"), **NOTHING),
    Case("no mailbox is opened for a day", "broken: not_connected",
         CLOSED_FOR_GOOD | {"failing_since": ago(hours=25)}, NotConnected("BAD"), **NOTHING),
    Case("no mailbox is opened, and then out of reach", "broken: not_connected",
         CLOSED_FOR_GOOD, Transient("bye"), **NOTHING),
    Case("the mailbox opens after a day", "healthy", CLOSED_FOR_GOOD),
    Case("the password is rejected the second time", "degraded: auth_failed",
         rejected(1), AuthenticationFailed("no"), **NOTHING),
    Case("the password is rejected the third time", "broken: auth_failed",
         rejected(2), AuthenticationFailed("no"), **NOTHING),
    Case("rejections count in a row only", "degraded: auth_failed",
         FAILED_TWICE, AuthenticationFailed("no"), **NOTHING),
    Case("no key opens the password", "broken: key_mismatch", error=KeyMismatch("key"), **NOTHING),
    Case("UIDVALIDITY changed too often", "broken: uidvalidity_reset_limit",
         error=ResetLimit("often"), **NOTHING),
    Case("rejected, out of reach, rejected, throttled, rejected", "broken: auth_failed",
         rejected(2), AuthenticationFailed("no"), **NOTHING),
    Case("out of reach after a rejection", "degraded: auth_failed", rejected(1), Transient("bye"), **NOTHING),
    Case("throttled after a rejection", "degraded: auth_failed", rejected(1), Throttled("slow"), **NOTHING),
    Case("out of reach for a day after a rejection", "degraded: auth_failed",
         rejected(1) | {"failing_since": ago(days=2)}, Transient("refused"), **NOTHING),
    Case("whatever a person's attempt comes to, what is broken stays so", "broken: uidvalidity_reset_limit",
         {"sync_state": "broken", "sync_state_reason": "uidvalidity_reset_limit", "sync_state_message": "of"},
         Throttled("slow"), **NOTHING),
    Case("a turn that compares nothing leaves a broken account broken", "broken: auth_failed",
         rejected(3) | {"sync_state": "broken", "sync_state_message": "wrong"}, **NOTHING),
    Case("turns that ended with their process", "degraded: poisonous_server",
         error=PoisonousServer("the last 3", turns=3), **NOTHING),
    Case("a day of turns that ended with their process", "broken: stuck",
         FAILED_TWICE | {"failing_since": ago(hours=24)}, PoisonousServer("the last 48", turns=48),
         **NOTHING),
    Case("a day of failures", "broken: stuck",
         FAILED_TWICE | {"failing_since": ago(hours=24)}, Transient("refused"), **NOTHING),
    Case("not quite a day", "degraded: unreachable",
         FAILED_TWICE | {"failing_since": ago(hours=23, minutes=59)}, Transient("refused"), **NOTHING),
    Case("a day of failures from the first turn on", "broken: stuck",
         NEW | {"failing_since": ago(hours=25)}, Transient("refused"), **NOTHING),
    Case("a day of throttling is a day without inbox and sent mail too", "broken: stuck",
         {"failing_since": ago(hours=25)}, Throttled("slow"), **NOTHING),
    Case("the first failure after a week without a worker", "degraded: unreachable",
         {"priority_synced_at": ago(days=7), "last_sync_finished_at": ago(days=7)}, Transient("refused"),
         **NOTHING),
    Case("a failure, a week without a worker, a failure", "degraded: unreachable",
         FAILED_TWICE | {"failing_since": ago(days=7), "last_sync_finished_at": ago(days=7)},
         Transient("refused"), **NOTHING),
    Case("a day of turns that end too early and bring nothing", "broken: stuck",
         {"failing_since": ago(hours=24), "priority_synced_at": ago(hours=25)}, TurnOver("time"), **NOTHING),
    Case("a day of turns that end early, but each brings mail", "degraded: priority_lag",
         {"failing_since": ago(hours=24), "priority_synced_at": ago(hours=25)}, TurnOver("time"),
         progress=True, **NOTHING),
    Case("stuck, and it goes on", "broken: stuck", STUCK, Transient("refused"), **NOTHING),
    Case("stuck, and asked to slow down", "broken: stuck", STUCK, Throttled("slow"), **NOTHING),
    Case("stuck, and then no worker for a day", "broken: stuck",
         STUCK | {"last_sync_finished_at": ago(days=1)}, Transient("refused"), **NOTHING),
    Case("a stuck account that works again", "healthy", STUCK),
    Case("stuck, and a folder fails after inbox and sent mail were compared", "degraded: unreachable",
         STUCK, Transient("refused"), overall_at=None),
]  # fmt: skip


def _outcome(case: Case) -> Outcome:
    return Outcome(
        case.error, case.folders, case.priority_at, case.overall_at, case.progress, case.without_content
    )


def judged(case: Case, chance: float = 0.5) -> Verdict:
    outcome = _outcome(case)
    return judge(replace(ACCOUNT, **case.before), outcome, NOW, SETTINGS, chance)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_state_of_an_account(case: Case) -> None:
    verdict = judged(case)
    assert ": ".join(filter(None, (verdict.state, verdict.reason))) == case.says
    assert (verdict.healthy_until is not None) == (verdict.state == "healthy"), "only health is promised"
    if verdict.healthy_until:
        assert verdict.healthy_until >= NOW
    if verdict.state in ("degraded", "broken"):
        assert verdict.message, "the message says what is wrong"
    kept = verdict.state == "broken" and verdict.reason == case.before.get("sync_state_reason") != "stuck"
    if case.error is not None and not isinstance(case.error, TurnOver):
        kept = kept and not isinstance(case.error, AuthenticationFailed | NotConnected)
        message = case.before.get("sync_state_message") if kept else str(case.error)
        assert verdict.message is not None
        assert verdict.message.partition("; the server accepts the login and opens no mailbox")[0] == message
        assert verdict.successes == 0
        assert verdict.last_success_at is None, "a failure is no success"
        assert verdict.priority_synced_at == case.priority_at


@pytest.mark.parametrize(
    ("others", "ending"), [(0, "10 of 25"), (1, "(and 1 more such folder)"), (2, "(and 2 more such folders)")]
)
def test_other_folders_with_the_same_limitation_are_counted(others: int, ending: str) -> None:
    part = replace(INBOX, limitation="partial_view", limitation_message="INBOX: 10 of 25")
    verdict = judged(Case("", "", folders=(part, *(replace(part, id=n + 2) for n in range(others)))))
    assert verdict.message
    assert verdict.message.endswith(ending)


def test_every_rule_decides_a_case() -> None:
    decided = set()
    for case in CASES:
        facts = gather(replace(ACCOUNT, **case.before), _outcome(case), NOW, SETTINGS, 0.5)
        decided.add(next(place for place, rule in enumerate(RULES) if rule.applies(facts)))
    assert decided == set(range(len(RULES)))


def test_a_proven_turn_counts_and_clears_the_backoff() -> None:
    verdict = judged(Case("", "", FAILED_TWICE))
    assert (verdict.failures, verdict.successes, verdict.backoff_until) == (0, 1, None)
    assert (verdict.last_success_at, verdict.priority_synced_at, verdict.overall_synced_at) == (NOW, NOW, NOW)


def test_a_turn_that_proves_nothing_changes_no_counter() -> None:
    verdict = judged(Case("", "", FAILED_TWICE, TurnOver("yielded"), **NOTHING))
    assert (verdict.failures, verdict.successes) == (2, 0)
    assert verdict.backoff_until == FAILED_TWICE["backoff_until"]
    assert verdict.last_success_at is None


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
    assert judged(Case("", "", before, folders=folders, overall_at=overall_at)).healthy_until == until


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
    verdict = judged(Case("", "", FAILED_TWICE, Transient("refused"), **NOTHING))
    assert verdict.failures == 3
    assert verdict.backoff_until == ahead(seconds=120)


@pytest.mark.parametrize(("before", "minutes"), [({}, 1), (rejected(1), 5)])
def test_a_rejected_password_is_tried_after_one_and_after_five_minutes(
    before: dict[str, Any], minutes: int
) -> None:
    verdict = judged(Case("", "", before, AuthenticationFailed("no"), **NOTHING))
    assert verdict.backoff_until == ahead(minutes=minutes)


@pytest.mark.parametrize(("hint", "minutes"), [(None, 1), (30.0, 1), (900.0, 15), (86_400.0, 60)])
def test_a_rejection_waits_as_long_as_the_server_asks(hint: float | None, minutes: int) -> None:
    verdict = judged(Case("", "", {}, AuthenticationFailed("no", retry_after=hint), **NOTHING))
    assert verdict.backoff_until == ahead(minutes=minutes)


@pytest.mark.parametrize("error", [Transient("refused"), Throttled("slow"), TurnOver("time used up")])
def test_a_stuck_account_is_tried_hourly(error: MailsyncError) -> None:
    verdict = judged(Case("", "", STUCK, error, **NOTHING))
    assert verdict.backoff_until == ahead(hours=1)


@pytest.mark.parametrize("before", [CLOSED, CLOSED_FOR_GOOD])
def test_an_account_whose_mailbox_is_not_opened_is_tried_hourly(before: dict[str, Any]) -> None:
    verdict = judged(Case("", "", before, NotConnected("BAD"), **NOTHING))
    assert verdict.backoff_until == ahead(hours=1)
    assert verdict.message
    assert "licence" in verdict.message


@pytest.mark.parametrize(("turns", "seconds"), [(3, 30), (4, 60), (8, 960), (9, 1800), (200, 1800)])
def test_lost_turns_double_the_wait_even_if_other_turns_succeed(turns: int, seconds: int) -> None:
    verdict = judged(Case("", "", {}, PoisonousServer("the last ones", turns=turns), **NOTHING))
    assert verdict.backoff_until == ahead(seconds=seconds)
    assert verdict.failures == 1


@pytest.mark.parametrize(
    ("hint", "seconds"), [(5.0, 5), (0.25, 0.25), (None, 60), (3600.0, 3600), (86_400.0, 3600)]
)
def test_throttling_waits_as_the_server_asks_up_to_an_hour_and_is_no_failure(
    hint: float | None, seconds: float
) -> None:
    verdict = judged(Case("", "", {}, Throttled("slow down", retry_after=hint), **NOTHING))
    assert verdict.backoff_until == ahead(seconds=seconds)
    assert verdict.failures == 0


@pytest.mark.parametrize(("lasts", "seconds"), [(0, 60), (50, 60), (300, 300), (3000, 1800), (-900, 60)])
def test_throttling_without_a_hint_waits_as_long_as_it_has_lasted(lasts: int, seconds: int) -> None:
    before = {
        "sync_state": "degraded",
        "sync_state_reason": "throttled",
        "sync_state_since": ago(seconds=lasts),
    }
    verdict = judged(Case("", "", before, Throttled("slow down"), **NOTHING))
    assert verdict.backoff_until == ahead(seconds=seconds)


def test_a_backoff_is_cleared_when_inbox_and_sent_mail_were_compared_and_not_before() -> None:
    waiting = FAILED_TWICE | {"backoff_until": ahead(minutes=5)}
    assert judged(Case("", "", waiting)).backoff_until is None
    for error in (None, TurnOver("time used up"), OutOfTokens(7)):
        verdict = judged(Case("", "", waiting, error, **NOTHING))
        assert (verdict.failures, verdict.backoff_until) == (2, ahead(minutes=5))


# -- since when it fails ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "since"),
    [
        (Case("a success", "", FAILED_TWICE), None),
        (Case("the first failure", "", {}, Transient("x"), **NOTHING), NOW),
        (Case("another failure", "", FAILED_TWICE, Transient("x"), **NOTHING), ago(minutes=3)),
        (Case("inbox and sent mail, and then a failure", "", FAILED_TWICE, Transient("x")), None),
        (Case("a turn that ends too early", "", {}, TurnOver("time"), **NOTHING), NOW),
        (Case("and one that brings mail", "", FAILED_TWICE, TurnOver("x"), progress=True, **NOTHING), None),
        (Case("asked to stop", "", {}, Stopped("stop"), **NOTHING), None),
        (Case("asked to stop, after a failure", "", FAILED_TWICE, Stopped("x"), **NOTHING), ago(minutes=3)),
        (Case("a backfill", "", {}, **NOTHING), None),
        (Case("after a pause of two hours and two ticks", "",
              FAILED_TWICE | {"last_sync_finished_at": ago(minutes=122, seconds=1)}, Transient("x"),
              **NOTHING), NOW),
        (Case("after a pause just not so long", "",
              FAILED_TWICE | {"last_sync_finished_at": ago(minutes=122)}, Transient("x"), **NOTHING),
         ago(minutes=3)),
        (Case("since a future that the clock was set back from", "",
              FAILED_TWICE | {"failing_since": ahead(hours=3)}, Transient("x"), **NOTHING), NOW),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "",
)  # fmt: skip
def test_since_when_turns_fail(case: Case, since: datetime | None) -> None:
    assert judged(case).failing_since == since


# -- how late the last folder may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("others", "interval", "capabilities", "minutes"),
    [
        (0, 60, (), 15),
        (65, 60, (), 15),
        (70, 60, (), 16),
        (100, 60, (), 22),
        (500, 60, ("LIST-STATUS",), 15),
        (100, 10, (), 15),
        (0, 3600, ("LIST-STATUS",), 121),
        (10, 3600, (), 181),
    ],
)
def test_how_late_the_last_folder_may_be(
    others: int, interval: int, capabilities: tuple[str, ...], minutes: int
) -> None:
    tracked = [INBOX, *(replace(LISTS, id=2 + n) for n in range(others))]
    account = replace(ACCOUNT, capabilities=capabilities)
    settings = Settings(sync_interval=interval)
    tick = timedelta(seconds=interval)
    assert overall_allowance(account, tracked, settings, tick) == timedelta(minutes=minutes)
    late = replace(account, overall_synced_at=ago(minutes=minutes))
    for behind, state in ((timedelta(), "healthy"), (timedelta(seconds=1), "degraded")):
        outcome = Outcome(None, tracked, NOW)
        verdict = judge(late, outcome, NOW + behind, settings, 0.5)
        assert verdict.state == state


# -- an account with its own tick ---------------------------------------------------------------------------

NOTIFIED = replace(ACCOUNT, parked_by="w1", tick_seconds=300.0)
"""Its server reports all folders by NOTIFY, and it was last compared as its tick of five minutes allows."""


@pytest.mark.parametrize(
    ("account", "decided", "seconds"),
    [
        pytest.param(ACCOUNT, None, 180, id="ordinary tick"),
        pytest.param(ACCOUNT, 300.0, 660, id="parked by this turn"),
        pytest.param(NOTIFIED, 300.0, 660, id="parked again"),
        pytest.param(NOTIFIED, None, 660, id="returns to the ordinary tick"),
        pytest.param(NOTIFIED, 10.0, 80, id="the setting was lowered"),
    ],
)
def test_inbox_and_sent_mail_are_promised_by_the_accounts_own_tick(
    account: Account, decided: float | None, seconds: int
) -> None:
    verdict = judge(account, Outcome(None, [INBOX], NOW, NOW, tick_seconds=decided), NOW, SETTINGS, 0.5)
    assert (verdict.state, verdict.healthy_until) == ("healthy", ahead(seconds=seconds))


def test_all_folders_are_promised_by_the_accounts_own_tick() -> None:
    account = replace(ACCOUNT, overall_synced_at=ago(minutes=121))
    outcome = Outcome(None, [INBOX, LISTS], NOW, tick_seconds=3600.0)
    assert judge(account, outcome, NOW, SETTINGS, 0.5).state == "healthy"
    late = judge(account, outcome, ahead(seconds=1), SETTINGS, 0.5)
    assert (late.state, late.reason) == ("degraded", "overall_lag")
    assert late.message == "some folder has not been compared for 121 minutes"


@pytest.mark.parametrize(("seconds", "state"), [(660, "healthy"), (661, "degraded")])
def test_an_account_is_late_by_its_own_tick(seconds: int, state: str) -> None:
    account = replace(
        NOTIFIED, priority_synced_at=ago(seconds=seconds), overall_synced_at=ago(seconds=seconds)
    )
    for decided in (300.0, None):
        outcome = Outcome(None, [INBOX], tick_seconds=decided)
        assert judge(account, outcome, NOW, SETTINGS, 0.5).state == state


def test_failures_of_an_account_with_a_long_tick_are_one_series() -> None:
    account = replace(
        NOTIFIED, tick_seconds=3600.0, failing_since=ago(hours=20), last_sync_finished_at=ago(hours=3)
    )
    assert judge(account, Outcome(Transient("x"), [INBOX]), NOW, SETTINGS, 0.5).failing_since == ago(hours=20)


def test_the_longest_tick_promises_less_than_the_view_believes() -> None:
    """The view calls a promise of more than three hours stale, as a clock that was set back left it."""
    account = replace(ACCOUNT, capabilities=())
    tracked = [INBOX, *(replace(LISTS, id=2 + n) for n in range(100))]
    for settings, decided in ((Settings(sync_interval=3600), None), (SETTINGS, 3600.0)):
        soon = ahead(seconds=59)
        outcome = Outcome(None, tracked, soon, soon, tick_seconds=decided)
        verdict = judge(account, outcome, NOW, settings, 0.5)
        assert verdict.healthy_until is not None
        assert timedelta(hours=2) < verdict.healthy_until - NOW < timedelta(hours=3)


@pytest.mark.parametrize("error", [None, TurnOver("yielded")], ids=["complete", "ended early"])
def test_a_turn_over_some_folders_takes_nothing_from_a_healthy_account(error: MailsyncError | None) -> None:
    """A wake turn visits the pushed folders only."""
    account = replace(NOTIFIED, priority_synced_at=ago(minutes=4), overall_synced_at=ago(minutes=4))
    verdict = judge(account, Outcome(error, [INBOX, LISTS], tick_seconds=300.0), NOW, SETTINGS, 0.5)
    assert (verdict.state, verdict.reason, verdict.healthy_until) == ("healthy", None, ahead(minutes=7))
    assert (verdict.failures, verdict.successes, verdict.last_success_at) == (0, 7, None)
    assert (verdict.priority_synced_at, verdict.overall_synced_at) == (ago(minutes=4), ago(minutes=4))


def test_a_turn_over_some_folders_keeps_the_failures_of_a_degraded_account() -> None:
    verdict = judge(replace(NOTIFIED, **FAILED_TWICE), Outcome(None, [INBOX]), NOW, SETTINGS, 0.5)
    assert (verdict.state, verdict.reason, verdict.failures) == ("degraded", "unreachable", 2)
    assert verdict.backoff_until == FAILED_TWICE["backoff_until"]


# -- clocks -------------------------------------------------------------------------------------------------

CHANGES_OF_THE_CLOCK = [
    ("Europe/Berlin", datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, 0, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, 0, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, 0, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, 0, tzinfo=UTC)),
]


@pytest.mark.parametrize("minutes", [-61, -1, 0, 1, 59, 121])
@pytest.mark.parametrize(("zone", "change"), CHANGES_OF_THE_CLOCK)
def test_a_change_to_or_from_summer_time_changes_no_verdict(
    zone: str, change: datetime, minutes: int
) -> None:
    moved = change + timedelta(minutes=minutes) - NOW
    for case in CASES:
        there = judge(*_moved(case, moved, ZoneInfo(zone)), SETTINGS, 0.5)
        assert there == judge(*_moved(case, moved, UTC), SETTINGS, 0.5), case.name
        assert there.backoff_until == _at(judged(case).backoff_until, moved, UTC), case.name


def _moved(case: Case, by: timedelta, zone: Any) -> tuple[Account, Outcome, datetime]:
    def all_times(record: Any) -> Any:
        names = type(record).__dataclass_fields__
        times = {name: getattr(record, name) for name in names if isinstance(getattr(record, name), datetime)}
        return replace(record, **{name: _at(at, by, zone) for name, at in times.items()})

    outcome = _outcome(case)
    outcome = replace(all_times(outcome), folders=tuple(all_times(folder) for folder in case.folders))
    now = _at(NOW, by, zone)
    assert now
    return all_times(replace(ACCOUNT, **case.before)), outcome, now


def _at(moment: datetime | None, by: timedelta, zone: Any) -> datetime | None:
    return (moment + by).astimezone(zone) if moment else None


@pytest.mark.parametrize("jump", [timedelta(hours=3), timedelta(days=400), -timedelta(hours=3)])
def test_after_a_jump_of_the_clock_one_good_turn_makes_everything_true_again(jump: timedelta) -> None:
    for case in CASES:
        if case.error is not None or case.priority_at is None or case.overall_at is None:
            continue
        account, outcome, _ = _moved(case, timedelta(), UTC)
        then = NOW + jump
        compared = [
            replace(f, last_reconciled_at=f.last_reconciled_at and f.last_reconciled_at + jump)
            for f in outcome.folders
        ]
        outcome = Outcome(None, compared, then, then, without_content=case.without_content)
        verdict = judge(account, outcome, then, SETTINGS, 0.5)
        assert (verdict.state, verdict.reason) == (judged(case).state, judged(case).reason), case.name
        assert verdict.priority_synced_at == then
        if verdict.healthy_until:
            assert verdict.healthy_until <= then + timedelta(minutes=3)


FAR = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("error", [None, Throttled("slow", retry_after=1e18), Transient("refused")])
@pytest.mark.parametrize("at", [FAR, datetime.min.replace(tzinfo=UTC)])
def test_times_at_the_end_of_the_calendar_raise_nothing(at: datetime, error: MailsyncError | None) -> None:
    before = {
        "priority_synced_at": at,
        "overall_synced_at": at,
        "failing_since": at,
        "last_sync_finished_at": at,
    }
    folders = (replace(INBOX, last_reconciled_at=at), replace(LISTS, missing_since=at, live_count=1))
    for state in ("healthy", "degraded", "broken"):
        verdict = judged(Case("", "", before | {"sync_state": state}, error, folders, **NOTHING))
        assert verdict.state != "healthy"
        assert verdict.backoff_until is None or verdict.backoff_until <= ahead(hours=1)


def test_a_request_to_wait_for_ages_is_followed_for_an_hour() -> None:
    for error in (Throttled("slow", retry_after=1e18), AuthenticationFailed("wrong", retry_after=1e18)):
        assert judged(Case("", "", {}, error, **NOTHING)).backoff_until == ahead(hours=1)


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
    verdict = judged(Case("", "", {}, error, **({} if error is None else NOTHING)))
    assert verdict.next_sync_at == (None if seconds is None else ahead(seconds=seconds))
