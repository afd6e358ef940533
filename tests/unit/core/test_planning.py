"""The planner's table of cases: a folder's row, the server's status, and the plan that follows from them.

Read it from top to bottom: each case is a sentence. Every case starts from :data:`FOLDER`, a complete inbox
of 100 messages that was equal to the server, and from :data:`STATUS`, the same status again, and names only
the differences.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mailsync.config import Settings
from mailsync.core.contradictions import arrivals_explain
from mailsync.core.planning import (
    FolderPlan,
    SafetyNets,
    expected_unseen,
    folders_to_poll,
    is_due,
    next_flag_scan,
    next_reconcile,
    plan_folder,
    safety_nets,
)
from mailsync.model import FolderState, MailboxStatus

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)

FOLDER = FolderState(
    id=1, account_id=1, wire_name=b"INBOX", path="INBOX", delimiter="/", mailbox_id=None, role="inbox",
    tracked=True, tracked_by_user=None, excluded_reason=None, sync_priority=1, status="active",
    uidvalidity=7, last_uid=100, uidnext=101, server_messages=100, server_unseen=10, server_modseq=5000,
    highest_modseq=5000, live_count=100, live_unseen=10, initial_target_uid=90, initial_oldest_uid=1,
    initial_done_at=PAST, last_synced_at=PAST, next_flag_scan_at=FUTURE, next_reconcile_at=FUTURE,
    last_reconciled_at=PAST, last_reconcile_clean=True, suspect_deletion=None, suspect_deletion_at=None,
    uidvalidity_resets=(), missing_since=None, last_error=None, retry_at=None,
)  # fmt: skip
STATUS = MailboxStatus(messages=100, uidnext=101, uidvalidity=7, unseen=10, modseq=5000)


@dataclass(frozen=True)
class Case:
    """One row of the table; ``folder`` and ``status`` are the differences from FOLDER and STATUS."""

    name: str
    plan: FolderPlan
    folder: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    condstore: bool = True
    windowed: bool = False
    scan_due: bool = False
    reconcile_due: bool = False
    full: bool = False


def visit(
    *reasons: str, new_mail: bool = False, flags: str | None = None, reconcile: bool = False
) -> FolderPlan:
    """A plan with these `reasons`."""
    return FolderPlan(new_mail, flags, reconcile, reasons)


NO_VISIT = FolderPlan()
WITHOUT_MODSEQ: dict[str, Any] = {"server_modseq": None, "highest_modseq": 0}

CASES = [
    # -- nothing to do ----------------------------------------------------------------------------------
    Case("nothing changed, so no command is sent", NO_VISIT),
    Case("nothing changed, without CONDSTORE", NO_VISIT, WITHOUT_MODSEQ, {"modseq": None}, condstore=False),
    Case("an untracked folder is ignored", NO_VISIT, {"tracked": False}, {"uidnext": 200}),
    Case("a folder that LIST no longer shows is ignored", NO_VISIT,
         {"missing_since": PAST}, {"uidnext": 200}),
    Case("a missing folder is ignored", NO_VISIT, {"status": "missing"}, {"uidnext": 200}),
    Case("a folder waits for its first sync to begin", NO_VISIT, {"status": "pending"}, {"uidnext": 200}),
    Case("not even a forced sync visits an untracked folder", NO_VISIT, {"tracked": False}, full=True),

    # -- UIDVALIDITY ------------------------------------------------------------------------------------
    Case("another UIDVALIDITY needs an EXAMINE",
         visit("uidvalidity", new_mail=True), {}, {"uidvalidity": 8}),
    Case("a UIDVALIDITY that went back is another one, too",
         visit("uidvalidity", new_mail=True), {}, {"uidvalidity": 6}),
    Case("EXAMINE may contradict, so all other changes are planned as usual",
         visit("uidvalidity", "flags_changes", "messages", "reconcile",
               new_mail=True, flags="changes", reconcile=True),
         {}, {"uidvalidity": 8, "messages": 99, "modseq": 5001},
         reconcile_due=True),
    Case("a status without UIDVALIDITY is no change", NO_VISIT, {}, {"uidvalidity": None}),
    Case("UIDVALIDITY 0 counts as missing", NO_VISIT, {}, {"uidvalidity": 0}),
    Case("a UIDVALIDITY that was unknown is no change", NO_VISIT, {"uidvalidity": 0}, {"uidvalidity": 7}),

    # -- new mail ---------------------------------------------------------------------------------------
    Case("UIDNEXT went up: new mail",
         visit("new_mail", new_mail=True), {}, {"uidnext": 102}),
    Case("UIDNEXT went back: search, though it proves nothing",
         visit("new_mail", new_mail=True), {}, {"uidnext": 90}),
    Case("UIDNEXT is missing: only a search can tell",
         visit("new_mail", new_mail=True), {}, {"uidnext": None}),
    Case("UIDNEXT was missing before: search as well",
         visit("new_mail", new_mail=True), {"uidnext": None}),
    Case("UIDNEXT is far ahead of our last UID, as it was when compared: no new mail",
         NO_VISIT, {"uidnext": 5000}, {"uidnext": 5000}),
    Case("new mail comes in during the first sync",
         visit("new_mail", new_mail=True), {"status": "initial", "live_count": 20}, {"uidnext": 102}),
    Case("a message came: UIDNEXT, MODSEQ and the count changed together",
         visit("new_mail", "flags_changes", "messages", new_mail=True, flags="changes"),
         {}, {"uidnext": 102, "messages": 101, "unseen": 11, "modseq": 5001}),

    # -- flags with CONDSTORE ---------------------------------------------------------------------------
    Case("HIGHESTMODSEQ went up: fetch the changes since",
         visit("flags_changes", flags="changes"), {}, {"modseq": 5001}),
    Case("HIGHESTMODSEQ was unknown: fetch the changes since",
         visit("flags_changes", flags="changes"), {"server_modseq": None}),
    Case("HIGHESTMODSEQ went below the cursor: the cursor is worthless, scan",
         visit("flags_all", "reconcile", flags="all", reconcile=True), {}, {"modseq": 4999}),
    Case("HIGHESTMODSEQ is below the cursor, as it was when compared: once is enough",
         NO_VISIT, {"server_modseq": 4000}, {"modseq": 4000}),
    Case("HIGHESTMODSEQ stays below the cursor: it shows nothing, flags are scanned when due",
         visit("flags_newest", flags="newest"), {"server_modseq": 4000}, {"modseq": 4000}, scan_due=True),
    Case("HIGHESTMODSEQ stays below the cursor: the safety net scans all flags",
         visit("flags_all", "reconcile", flags="all", reconcile=True),
         {"server_modseq": 4000}, {"modseq": 4000}, reconcile_due=True),
    Case("HIGHESTMODSEQ is missing: flags are scanned when due",
         visit("flags_newest", flags="newest"), {"server_modseq": None}, {"modseq": None}, scan_due=True),
    Case("HIGHESTMODSEQ differs from the compared one and there is no cursor yet",
         visit("flags_changes", flags="changes"), {"highest_modseq": 0}, {"modseq": 5001}),
    Case("UNSEEN changed and differs but HIGHESTMODSEQ did not change: the server contradicts itself, scan",
         visit("flags_unseen", flags="unseen"), {}, {"unseen": 3}),
    Case("with HIGHESTMODSEQ no scan is ever due", NO_VISIT, scan_due=True),
    Case("with HIGHESTMODSEQ a due reconcile fetches changes, in case it did not move",
         visit("flags_changes", "reconcile", flags="changes", reconcile=True), reconcile_due=True),
    Case("but not the first one, since changes were followed from the beginning",
         visit("reconcile", reconcile=True), {"last_reconcile_clean": None}, reconcile_due=True),
    Case("NOMODSEQ: this folder is scanned when it is due",
         visit("flags_newest", flags="newest"), {}, {"modseq": 0}, scan_due=True),
    Case("NOMODSEQ: until then nothing is done", NO_VISIT, {}, {"modseq": 0}),
    Case("flags are followed during the first sync",
         visit("flags_changes", flags="changes"), {"status": "initial"}, {"modseq": 5001}),

    # -- flags without CONDSTORE ------------------------------------------------------------------------
    Case("without CONDSTORE the newest messages of a priority folder are scanned when due",
         visit("flags_newest", flags="newest"), WITHOUT_MODSEQ, condstore=False, scan_due=True),
    Case("and all messages of another folder",
         visit("flags_all", flags="all"), WITHOUT_MODSEQ | {"sync_priority": 100},
         condstore=False, scan_due=True),
    Case("with a reconcile all flags are scanned, also in a priority folder",
         visit("flags_all", "reconcile", flags="all", reconcile=True), WITHOUT_MODSEQ,
         condstore=False, scan_due=True, reconcile_due=True),
    Case("with a reconcile all flags are scanned, even if no scan is due",
         visit("flags_all", "reconcile", flags="all", reconcile=True), WITHOUT_MODSEQ,
         condstore=False, reconcile_due=True),
    Case("a MODSEQ from a server without CONDSTORE is ignored",
         NO_VISIT, {}, {"modseq": 9999}, condstore=False),
    Case("UNSEEN differs from ours: mail was read, scan at once",
         visit("flags_unseen", flags="unseen"), WITHOUT_MODSEQ, {"unseen": 9}, condstore=False),
    Case("in a window UNSEEN changed: check whether new mail and deletions explain it",
         visit("flags_unseen", flags="unseen"), WITHOUT_MODSEQ, {"unseen": 9},
         condstore=False, windowed=True),
    Case("in a window UNSEEN was unknown before: it shows nothing",
         NO_VISIT, WITHOUT_MODSEQ | {"server_unseen": None}, {"unseen": 9},
         condstore=False, windowed=True),
    Case("in a window UNSEEN is not compared with the rows",
         NO_VISIT, WITHOUT_MODSEQ | {"live_unseen": 2}, condstore=False, windowed=True),
    Case("UNSEEN still differs from ours, as it did when compared: once is enough",
         NO_VISIT, WITHOUT_MODSEQ | {"server_unseen": 9}, {"unseen": 9}, condstore=False),
    Case("UNSEEN became equal to ours: nothing to do",
         NO_VISIT, WITHOUT_MODSEQ | {"server_unseen": 9}, condstore=False),
    Case("UNSEEN is missing: no scan", NO_VISIT, WITHOUT_MODSEQ, {"unseen": None}, condstore=False),
    Case("in a first sync UNSEEN cannot be compared",
         NO_VISIT, WITHOUT_MODSEQ | {"status": "initial", "live_unseen": 2}, {"unseen": 9}, condstore=False),

    # -- counts -----------------------------------------------------------------------------------------
    Case("MESSAGES went down: something was deleted, compare",
         visit("messages"), {}, {"messages": 99}),
    Case("MESSAGES differs, as it did when compared: not every tick",
         NO_VISIT, {"server_messages": 99}, {"messages": 99}),
    Case("MESSAGES differs, and the status changed since: compare again",
         visit("new_mail", "messages", new_mail=True),
         {"server_messages": 99}, {"messages": 99, "uidnext": 105}),
    Case("MESSAGES became equal to ours: nothing to do", NO_VISIT, {"server_messages": 99}),
    Case("in a first sync MESSAGES is compared with its last value",
         visit("messages"), {"status": "initial", "live_count": 20}, {"messages": 99}),
    Case("in a first sync MESSAGES is not compared with the rows",
         NO_VISIT, {"status": "initial", "live_count": 20}),
    Case("in a window MESSAGES is compared with its last value",
         visit("messages"), {"live_count": 20}, {"messages": 99}, windowed=True),
    Case("in a window MESSAGES is not compared with the rows", NO_VISIT, {"live_count": 20}, windowed=True),
    Case("MESSAGES is missing: nothing to compare", NO_VISIT, {}, {"messages": None}),

    # -- the safety net ---------------------------------------------------------------------------------
    Case("a reconcile is due", visit("flags_changes", "reconcile", flags="changes", reconcile=True),
         reconcile_due=True),
    Case("a forced sync scans all flags and reconciles",
         visit("flags_all", "reconcile", flags="all", reconcile=True), full=True),
    Case("a forced sync prefers the scan to the changes",
         visit("flags_all", "reconcile", flags="all", reconcile=True), {}, {"modseq": 5001}, full=True),

    # -- a folder that failed ---------------------------------------------------------------------------
    Case("a folder that failed is tried again at its retry time",
         visit("retry"), {"last_error": "NO", "retry_at": PAST}),
    Case("a folder that failed is left alone until then", NO_VISIT, {"last_error": "NO", "retry_at": FUTURE}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_of_a_visit(case: Case) -> None:
    folder, status = replace(FOLDER, **case.folder), replace(STATUS, **case.status)
    nets = SafetyNets(
        frozenset({folder.id} if case.scan_due else ()), frozenset({folder.id} if case.reconcile_due else ())
    )
    plan = plan_folder(
        folder, status, NOW, condstore=case.condstore, windowed=case.windowed, nets=nets, full=case.full
    )
    assert plan == case.plan
    assert bool(plan) == bool(case.plan.reasons), "a visit is made exactly when there is a reason"


def test_case_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


# -- the safety nets of a turn ---------------------------------------------------------------------------


def due(folder_id: int, minutes_ago: float, **changes: Any) -> FolderState:
    at = NOW - timedelta(minutes=minutes_ago)
    return replace(FOLDER, id=folder_id, next_flag_scan_at=at, next_reconcile_at=at, **changes)


def test_the_longest_due_come_first_up_to_the_limit() -> None:
    folders = [due(n, minutes_ago=n) for n in (1, 2, 3, 4)]
    settings = Settings(max_flag_scans_per_cycle=2, max_reconciles_per_cycle=1)
    assert safety_nets(folders, NOW, settings, condstore=False) == SafetyNets(
        frozenset({3, 4}), frozenset({4})
    )


def test_no_scan_is_due_where_modseq_shows_changes() -> None:
    folders = [due(1, 5), due(2, 1, server_modseq=0), due(3, 1, server_modseq=4999)]
    assert safety_nets(folders, NOW, Settings(), condstore=True).scans == {2, 3}


def test_reconciles_of_folders_never_compared_or_not_clean_are_not_limited() -> None:
    folders = [
        due(1, 1),
        due(2, 9),
        due(3, 0, last_reconcile_clean=None),
        due(4, 0, last_reconcile_clean=False),
    ]
    assert safety_nets(folders, NOW, Settings(), condstore=True).reconciles == {2, 3, 4}


@pytest.mark.parametrize(
    ("ahead", "is_due"),
    [
        pytest.param(timedelta(0), True, id="the very moment"),
        pytest.param(timedelta(microseconds=1), False, id="not a moment before"),
        pytest.param(timedelta(minutes=61), False, id="as far ahead as interval and jitter reach"),
        pytest.param(timedelta(minutes=62), True, id="further ahead than that: the clock has jumped back"),
    ],
)
def test_a_reconcile_is_due_by_the_clock(ahead: timedelta, is_due: bool) -> None:
    settings = Settings(reconcile_interval=3600, reconcile_jitter=60)
    folders = [replace(FOLDER, next_reconcile_at=NOW + ahead)]
    assert bool(safety_nets(folders, NOW, settings, condstore=True).reconciles) is is_due


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_change_to_summer_time_makes_nothing_due(zone: str) -> None:
    settings = Settings(reconcile_interval=3600, reconcile_jitter=0)
    folders = [replace(FOLDER, next_reconcile_at=NOW)]
    for minutes in range(0, 60 * 24 * 365, 60 * 7 + 1):
        now = (NOW + timedelta(minutes=minutes)).astimezone(ZoneInfo(zone))
        soon = replace(FOLDER, next_reconcile_at=now.astimezone(UTC) + timedelta(minutes=30))
        assert not safety_nets([soon], now, settings, condstore=True).reconciles
        assert safety_nets(folders, now, settings, condstore=True).reconciles


# -- differences that new mail explains, where rows cannot be counted ----------------------------------


@pytest.mark.parametrize(
    ("messages", "uidnext", "explained"),
    [
        pytest.param(100, 101, True, id="nothing changed"),
        pytest.param(103, 104, True, id="three arrived"),
        pytest.param(99, 101, False, id="one was deleted"),
        pytest.param(100, 102, False, id="one arrived, one was deleted"),
        pytest.param(100, 150, False, id="UIDNEXT jumped: a search is cheap"),
        pytest.param(None, 101, False, id="no longer sent"),
    ],
)
def test_arrivals_explain_as_many_messages_as_uids(
    messages: int | None, uidnext: int, explained: bool
) -> None:
    assert arrivals_explain(FOLDER, MailboxStatus(messages, uidnext)) is explained


@pytest.mark.parametrize(
    ("messages", "uidnext", "explained"),
    [
        pytest.param(98, 101, True, id="two were deleted"),
        pytest.param(99, 102, True, id="two were deleted, one arrived"),
        pytest.param(95, 101, True, id="more were deleted, also outside of the rows"),
        pytest.param(99, 101, False, id="only one is gone: VANISHED named too many"),
        pytest.param(100, 101, False, id="none is gone"),
    ],
)
def test_two_vanished_rows_explain_two_missing_messages(messages: int, uidnext: int, explained: bool) -> None:
    assert arrivals_explain(FOLDER, MailboxStatus(messages, uidnext), vanished=2) is explained


# -- folders to query if the server has no LIST-STATUS -----------------------------------------------------

INBOX, SENT = replace(FOLDER, id=4), replace(FOLDER, id=9, role="sent", sync_priority=5)
OTHERS = [replace(FOLDER, id=n, role=None, sync_priority=100) for n in (1, 2, 3, 5, 6, 7, 8)]
ALL = [INBOX, SENT, *OTHERS]


@pytest.mark.parametrize(
    ("cursor", "chosen", "next_cursor"),
    [
        pytest.param(0, [4, 9, 1, 2, 3], 3, id="the first round begins with the smallest id"),
        pytest.param(3, [4, 9, 5, 6, 7], 7, id="the next goes on behind the cursor"),
        pytest.param(7, [4, 9, 8], 0, id="the last is shorter and completes the round"),
        pytest.param(5, [4, 9, 6, 7, 8], 0, id="a round that just fits is complete"),
        pytest.param(99, [4, 9, 1, 2, 3], 3, id="folders that are gone end the round, and the next begins"),
    ],
)
def test_priority_folders_are_polled_every_time_and_the_others_in_turn(
    cursor: int, chosen: list[int], next_cursor: int
) -> None:
    settings = Settings(sync_rr_folders=3)
    polled, moved = folders_to_poll(ALL, cursor, settings)
    assert ([f.id for f in polled], moved) == (chosen, next_cursor)


def test_priority_folders_beyond_the_limit_take_turns_like_the_others() -> None:
    settings = Settings(sync_priority_folders=1, sync_rr_folders=1_000)
    polled, moved = folders_to_poll(ALL, 0, settings)
    assert [f.id for f in polled] == [4, 1, 2, 3, 5, 6, 7, 8, 9]
    assert moved == 0


def test_every_folder_is_polled_within_one_round() -> None:
    settings, cursor, seen = Settings(sync_rr_folders=2), 0, set()
    for _ in range(4):
        polled, cursor = folders_to_poll(ALL, cursor, settings)
        seen |= {f.id for f in polled}
    assert cursor == 0
    assert seen == {f.id for f in ALL}


def test_an_account_without_folders_polls_nothing() -> None:
    assert folders_to_poll([], 5, Settings()) == ([], 0)


@pytest.mark.parametrize(
    ("folder", "windowed", "expected"),
    [
        pytest.param({"live_unseen": 3}, False, 8, id="without a window the number of the server"),
        pytest.param({"live_unseen": 3}, True, 1, id="in a window two fewer, as on the server"),
        pytest.param({"live_unseen": 3, "server_unseen": None}, True, 8, id="unless it was unknown before"),
    ],
)
def test_how_many_unread_messages_are_expected(folder: dict[str, Any], windowed: bool, expected: int) -> None:
    assert expected_unseen(replace(FOLDER, **folder), MailboxStatus(unseen=8), windowed=windowed) == expected


# -- the next scan and reconcile ------------------------------------------------------------------------


def test_flags_of_priority_folders_are_scanned_more_often() -> None:
    settings = Settings(sync_interval=60, flag_scan_priority_interval=120, flag_scan_interval=21_600)
    half_a_tick = timedelta(seconds=30)
    assert next_flag_scan(INBOX, NOW, settings) == NOW + timedelta(minutes=2) - half_a_tick
    assert next_flag_scan(OTHERS[0], NOW, settings) == NOW + timedelta(hours=6) - half_a_tick


@pytest.mark.parametrize(("chance", "minutes"), [(0.0, 360), (0.5, 367.5), (1.0, 375)])
def test_reconciles_are_spread_over_the_jitter(chance: float, minutes: float) -> None:
    settings = Settings(reconcile_interval=6 * 3600, reconcile_jitter=900)
    assert next_reconcile(NOW, settings, chance) == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize(
    ("ahead", "due"), [(-86_400, True), (0, True), (1, False), (900, False), (901, True), (10_800, True)]
)
def test_a_time_too_far_ahead_is_due_in_every_zone(zone: str, ahead: int, due: bool) -> None:
    for change in (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), NOW):
        for minutes in (-31, -1, 0, 1, 31):
            now = change + timedelta(minutes=minutes)
            moment = now + timedelta(seconds=ahead)
            assert is_due(moment.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)), 900) is due
