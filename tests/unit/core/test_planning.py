"""The planner's table of cases: what we hold, what the server says, and so what a visit has to do.

Read it from top to bottom: each case is a sentence. Every one begins from :data:`HELD`, a complete inbox of
100 messages that was equal to the server, and from :data:`SAID`, a server that says the same again; it names
only what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mailsync.config import Settings
from mailsync.core.planning import (
    arrivals_explain,
    expected_unseen,
    folders_to_poll,
    is_due,
    next_flag_scan,
    next_reconcile,
    plan_folder,
    safety_nets,
)
from mailsync.model import FolderPlan, FolderState, MailboxStatus, SafetyNets

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)

HELD = FolderState(
    id=1, account_id=1, wire_name=b"INBOX", path="INBOX", delimiter="/", mailbox_id=None, role="inbox",
    tracked=True, tracked_by_user=None, excluded_reason=None, sync_priority=1, status="active",
    uidvalidity=7, last_uid=100, uidnext=101, server_messages=100, server_unseen=10, server_modseq=5000,
    highest_modseq=5000, live_count=100, live_unseen=10, initial_target_uid=90, initial_oldest_uid=1,
    initial_done_at=PAST, last_synced_at=PAST, next_flag_scan_at=FUTURE, next_reconcile_at=FUTURE,
    last_reconciled_at=PAST, last_reconcile_clean=True, suspect_deletion=None, suspect_deletion_at=None,
    uidvalidity_resets=(), missing_since=None, last_error=None, retry_at=None,
)  # fmt: skip
SAID = MailboxStatus(messages=100, uidnext=101, uidvalidity=7, unseen=10, modseq=5000)


@dataclass(frozen=True)
class Case:
    """One row of the table; ``held`` and ``said`` name what differs from HELD and SAID."""

    name: str
    plan: FolderPlan
    held: dict[str, Any] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    condstore: bool = True
    windowed: bool = False
    scan_due: bool = False
    reconcile_due: bool = False
    full: bool = False


def visit(
    *reasons: str, new_mail: bool = False, flags: str | None = None, reconcile: bool = False
) -> FolderPlan:
    """A plan that is made for `reasons`."""
    return FolderPlan(new_mail, flags, reconcile, reasons)


NO_VISIT = FolderPlan()
WITHOUT_MODSEQ: dict[str, Any] = {"server_modseq": None, "highest_modseq": 0}

CASES = [
    # -- nothing to do ----------------------------------------------------------------------------------
    Case("nothing changed, so nothing is asked", NO_VISIT),
    Case("nothing changed, without CONDSTORE", NO_VISIT, WITHOUT_MODSEQ, {"modseq": None}, condstore=False),
    Case("an untracked folder is let alone", NO_VISIT, {"tracked": False}, {"uidnext": 200}),
    Case("a folder that LIST shows no more is let alone", NO_VISIT,
         {"missing_since": PAST}, {"uidnext": 200}),
    Case("a missing folder is let alone", NO_VISIT, {"status": "missing"}, {"uidnext": 200}),
    Case("a folder waits for its first sync to begin", NO_VISIT, {"status": "pending"}, {"uidnext": 200}),
    Case("not even a forced sync visits an untracked folder", NO_VISIT, {"tracked": False}, full=True),

    # -- UIDVALIDITY ------------------------------------------------------------------------------------
    Case("another UIDVALIDITY needs an EXAMINE",
         visit("uidvalidity", new_mail=True), {}, {"uidvalidity": 8}),
    Case("a UIDVALIDITY that went back is another one, too",
         visit("uidvalidity", new_mail=True), {}, {"uidvalidity": 6}),
    Case("EXAMINE may contradict, so what else STATUS shows is planned as ever",
         visit("uidvalidity", "flags_changes", "messages", "reconcile",
               new_mail=True, flags="changes", reconcile=True),
         {}, {"uidvalidity": 8, "messages": 99, "modseq": 5001},
         reconcile_due=True),
    Case("a server that leaves UIDVALIDITY out has changed nothing", NO_VISIT, {}, {"uidvalidity": None}),
    Case("UIDVALIDITY 0 is as good as left out", NO_VISIT, {}, {"uidvalidity": 0}),
    Case("a UIDVALIDITY that was unknown is no change", NO_VISIT, {"uidvalidity": 0}, {"uidvalidity": 7}),

    # -- new mail ---------------------------------------------------------------------------------------
    Case("UIDNEXT went up: new mail",
         visit("new_mail", new_mail=True), {}, {"uidnext": 102}),
    Case("UIDNEXT went back: worth a look, though it proves nothing",
         visit("new_mail", new_mail=True), {}, {"uidnext": 90}),
    Case("UIDNEXT is not said: only a look can tell",
         visit("new_mail", new_mail=True), {}, {"uidnext": None}),
    Case("UIDNEXT was not said before: a look as well",
         visit("new_mail", new_mail=True), {"uidnext": None}),
    Case("UIDNEXT is far ahead of our last UID, as it was when compared: no news",
         NO_VISIT, {"uidnext": 5000}, {"uidnext": 5000}),
    Case("new mail comes in during the first sync",
         visit("new_mail", new_mail=True), {"status": "initial", "live_count": 20}, {"uidnext": 102}),
    Case("a message came: UIDNEXT, MODSEQ and the count changed together",
         visit("new_mail", "flags_changes", "messages", new_mail=True, flags="changes"),
         {}, {"uidnext": 102, "messages": 101, "unseen": 11, "modseq": 5001}),

    # -- flags with CONDSTORE ---------------------------------------------------------------------------
    Case("HIGHESTMODSEQ went up: ask what changed since",
         visit("flags_changes", flags="changes"), {}, {"modseq": 5001}),
    Case("HIGHESTMODSEQ was not known: ask what changed since",
         visit("flags_changes", flags="changes"), {"server_modseq": None}),
    Case("HIGHESTMODSEQ went below the cursor: the cursor is worthless, scan",
         visit("flags_all", "reconcile", flags="all", reconcile=True), {}, {"modseq": 4999}),
    Case("HIGHESTMODSEQ is below the cursor, as it was when compared: once is enough",
         NO_VISIT, {"server_modseq": 4000}, {"modseq": 4000}),
    Case("HIGHESTMODSEQ stays below the cursor: it tells nothing, flags are scanned when that is due",
         visit("flags_newest", flags="newest"), {"server_modseq": 4000}, {"modseq": 4000}, scan_due=True),
    Case("HIGHESTMODSEQ stays below the cursor: the safety net scans all flags",
         visit("flags_all", "reconcile", flags="all", reconcile=True),
         {"server_modseq": 4000}, {"modseq": 4000}, reconcile_due=True),
    Case("HIGHESTMODSEQ is not said: flags are scanned when that is due",
         visit("flags_newest", flags="newest"), {"server_modseq": None}, {"modseq": None}, scan_due=True),
    Case("HIGHESTMODSEQ differs from the compared one and there is no cursor yet",
         visit("flags_changes", flags="changes"), {"highest_modseq": 0}, {"modseq": 5001}),
    Case("UNSEEN changed and differs though HIGHESTMODSEQ stands still: the server contradicts itself, scan",
         visit("flags_unseen", flags="unseen"), {}, {"unseen": 3}),
    Case("with HIGHESTMODSEQ no scan is ever due", NO_VISIT, scan_due=True),
    Case("with HIGHESTMODSEQ a due reconcile asks what changed, should it have stood still",
         visit("flags_changes", "reconcile", flags="changes", reconcile=True), reconcile_due=True),
    Case("but not the first one of a folder, which was followed from the beginning",
         visit("reconcile", reconcile=True), {"last_reconcile_clean": None}, reconcile_due=True),
    Case("NOMODSEQ: this folder is scanned when it is due",
         visit("flags_newest", flags="newest"), {}, {"modseq": 0}, scan_due=True),
    Case("NOMODSEQ: until then it rests", NO_VISIT, {}, {"modseq": 0}),
    Case("flags are followed during the first sync",
         visit("flags_changes", flags="changes"), {"status": "initial"}, {"modseq": 5001}),

    # -- flags without CONDSTORE ------------------------------------------------------------------------
    Case("without CONDSTORE the newest messages of a priority folder are scanned by the clock",
         visit("flags_newest", flags="newest"), WITHOUT_MODSEQ, condstore=False, scan_due=True),
    Case("and all messages of another folder",
         visit("flags_all", flags="all"), WITHOUT_MODSEQ | {"sync_priority": 100},
         condstore=False, scan_due=True),
    Case("with the safety net all flags are scanned, of a priority folder too",
         visit("flags_all", "reconcile", flags="all", reconcile=True), WITHOUT_MODSEQ,
         condstore=False, scan_due=True, reconcile_due=True),
    Case("with the safety net all flags are scanned, whether a scan is due or not",
         visit("flags_all", "reconcile", flags="all", reconcile=True), WITHOUT_MODSEQ,
         condstore=False, reconcile_due=True),
    Case("a MODSEQ from a server without CONDSTORE is not believed",
         NO_VISIT, {}, {"modseq": 9999}, condstore=False),
    Case("UNSEEN differs from ours: somebody read mail, scan at once",
         visit("flags_unseen", flags="unseen"), WITHOUT_MODSEQ, {"unseen": 9}, condstore=False),
    Case("in a window UNSEEN changed: look whether new mail and deletions explain it",
         visit("flags_unseen", flags="unseen"), WITHOUT_MODSEQ, {"unseen": 9},
         condstore=False, windowed=True),
    Case("in a window UNSEEN was not known before: nothing can be told from it",
         NO_VISIT, WITHOUT_MODSEQ | {"server_unseen": None}, {"unseen": 9},
         condstore=False, windowed=True),
    Case("in a window UNSEEN is not compared with the rows",
         NO_VISIT, WITHOUT_MODSEQ | {"live_unseen": 2}, condstore=False, windowed=True),
    Case("UNSEEN differs from ours still, as it did when compared: once is enough",
         NO_VISIT, WITHOUT_MODSEQ | {"server_unseen": 9}, {"unseen": 9}, condstore=False),
    Case("UNSEEN came to what we hold: nothing to do",
         NO_VISIT, WITHOUT_MODSEQ | {"server_unseen": 9}, condstore=False),
    Case("UNSEEN is not said: no scan for that", NO_VISIT, WITHOUT_MODSEQ, {"unseen": None}, condstore=False),
    Case("in a first sync UNSEEN cannot be compared",
         NO_VISIT, WITHOUT_MODSEQ | {"status": "initial", "live_unseen": 2}, {"unseen": 9}, condstore=False),

    # -- counts -----------------------------------------------------------------------------------------
    Case("MESSAGES went down: something was deleted, go and compare",
         visit("messages"), {}, {"messages": 99}),
    Case("MESSAGES differs, as it did when compared: not every tick",
         NO_VISIT, {"server_messages": 99}, {"messages": 99}),
    Case("MESSAGES differs, and the tuple changed since: look again",
         visit("new_mail", "messages", new_mail=True),
         {"server_messages": 99}, {"messages": 99, "uidnext": 105}),
    Case("MESSAGES came to what we hold: nothing to do", NO_VISIT, {"server_messages": 99}),
    Case("in a first sync MESSAGES is compared with what it was",
         visit("messages"), {"status": "initial", "live_count": 20}, {"messages": 99}),
    Case("in a first sync MESSAGES is not compared with the rows",
         NO_VISIT, {"status": "initial", "live_count": 20}),
    Case("in a window MESSAGES is compared with what it was",
         visit("messages"), {"live_count": 20}, {"messages": 99}, windowed=True),
    Case("in a window MESSAGES is not compared with the rows", NO_VISIT, {"live_count": 20}, windowed=True),
    Case("MESSAGES is not said: nothing to compare", NO_VISIT, {}, {"messages": None}),

    # -- the safety net ---------------------------------------------------------------------------------
    Case("a reconcile is due", visit("flags_changes", "reconcile", flags="changes", reconcile=True),
         reconcile_due=True),
    Case("a forced sync scans all flags and reconciles",
         visit("flags_all", "reconcile", flags="all", reconcile=True), full=True),
    Case("a forced sync prefers the scan to the changes",
         visit("flags_all", "reconcile", flags="all", reconcile=True), {}, {"modseq": 5001}, full=True),

    # -- a folder that failed ---------------------------------------------------------------------------
    Case("a folder that failed is tried again when its time has come",
         visit("retry"), {"last_error": "NO", "retry_at": PAST}),
    Case("a folder that failed rests until then", NO_VISIT, {"last_error": "NO", "retry_at": FUTURE}),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_of_a_visit(case: Case) -> None:
    held, said = replace(HELD, **case.held), replace(SAID, **case.said)
    nets = SafetyNets(
        frozenset({held.id} if case.scan_due else ()), frozenset({held.id} if case.reconcile_due else ())
    )
    plan = plan_folder(
        held, said, NOW, condstore=case.condstore, windowed=case.windowed, nets=nets, full=case.full
    )
    assert plan == case.plan
    assert bool(plan) == bool(case.plan.reasons), "a visit is made exactly when there is a reason"


def test_every_case_is_told_once() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


# -- the safety nets of a turn ---------------------------------------------------------------------------


def due(folder_id: int, minutes_ago: float, **changes: Any) -> FolderState:
    at = NOW - timedelta(minutes=minutes_ago)
    return replace(HELD, id=folder_id, next_flag_scan_at=at, next_reconcile_at=at, **changes)


def test_what_is_due_longest_comes_first_and_no_more_than_the_budget() -> None:
    held = [due(n, minutes_ago=n) for n in (1, 2, 3, 4)]
    settings = Settings(max_flag_scans_per_cycle=2, max_reconciles_per_cycle=1)
    assert safety_nets(held, NOW, settings, condstore=False) == SafetyNets(frozenset({3, 4}), frozenset({4}))


def test_a_scan_is_never_due_where_modseq_tells_what_changed() -> None:
    held = [due(1, 5), due(2, 1, server_modseq=0), due(3, 1, server_modseq=4999)]
    assert safety_nets(held, NOW, Settings(), condstore=True).scans == {2, 3}


def test_what_was_never_compared_or_not_found_clean_is_not_limited() -> None:
    held = [due(1, 1), due(2, 9), due(3, 0, last_reconcile_clean=None), due(4, 0, last_reconcile_clean=False)]
    assert safety_nets(held, NOW, Settings(), condstore=True).reconciles == {2, 3, 4}


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
    held = [replace(HELD, next_reconcile_at=NOW + ahead)]
    assert bool(safety_nets(held, NOW, settings, condstore=True).reconciles) is is_due


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_a_change_to_summer_time_makes_nothing_due(zone: str) -> None:
    settings = Settings(reconcile_interval=3600, reconcile_jitter=0)
    held = [replace(HELD, next_reconcile_at=NOW)]
    for minutes in range(0, 60 * 24 * 365, 60 * 7 + 1):
        now = (NOW + timedelta(minutes=minutes)).astimezone(ZoneInfo(zone))
        soon = replace(HELD, next_reconcile_at=now.astimezone(UTC) + timedelta(minutes=30))
        assert not safety_nets([soon], now, settings, condstore=True).reconciles
        assert safety_nets(held, now, settings, condstore=True).reconciles


# -- what arrivals explain, where rows cannot be counted -------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "uidnext", "explained"),
    [
        pytest.param(100, 101, True, id="nothing changed"),
        pytest.param(103, 104, True, id="three arrived"),
        pytest.param(99, 101, False, id="one went"),
        pytest.param(100, 102, False, id="one arrived, one went"),
        pytest.param(100, 150, False, id="UIDNEXT jumped: a search is cheap"),
        pytest.param(None, 101, False, id="not said any more"),
    ],
)
def test_arrivals_explain_as_many_messages_as_uids(
    messages: int | None, uidnext: int, explained: bool
) -> None:
    assert arrivals_explain(HELD, MailboxStatus(messages, uidnext)) is explained


@pytest.mark.parametrize(
    ("messages", "uidnext", "explained"),
    [
        pytest.param(98, 101, True, id="two went"),
        pytest.param(99, 102, True, id="two went, one arrived"),
        pytest.param(95, 101, True, id="more went, where no rows are"),
        pytest.param(99, 101, False, id="only one is lacking: VANISHED told too much"),
        pytest.param(100, 101, False, id="none is lacking"),
    ],
)
def test_two_rows_that_vanished_explain_two_messages_that_are_lacking(
    messages: int, uidnext: int, explained: bool
) -> None:
    assert arrivals_explain(HELD, MailboxStatus(messages, uidnext), vanished=2) is explained


# -- whom to ask where the server has no LIST-STATUS -----------------------------------------------------

INBOX, SENT = replace(HELD, id=4), replace(HELD, id=9, role="sent", sync_priority=5)
OTHERS = [replace(HELD, id=n, role=None, sync_priority=100) for n in (1, 2, 3, 5, 6, 7, 8)]
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
def test_priority_folders_are_asked_every_time_and_the_others_in_turn(
    cursor: int, chosen: list[int], next_cursor: int
) -> None:
    settings = Settings(sync_rr_folders=3)
    found, moved = folders_to_poll(ALL, cursor, settings)
    assert ([f.id for f in found], moved) == (chosen, next_cursor)


def test_priority_folders_beyond_the_limit_take_turns_like_the_others() -> None:
    settings = Settings(sync_priority_folders=1, sync_rr_folders=1_000)
    found, moved = folders_to_poll(ALL, 0, settings)
    assert [f.id for f in found] == [4, 1, 2, 3, 5, 6, 7, 8, 9]
    assert moved == 0


def test_every_folder_is_asked_within_one_round() -> None:
    settings, cursor, asked = Settings(sync_rr_folders=2), 0, set()
    for _ in range(4):
        found, cursor = folders_to_poll(ALL, cursor, settings)
        asked |= {f.id for f in found}
    assert cursor == 0
    assert asked == {f.id for f in ALL}


def test_an_account_without_folders_has_nothing_to_ask() -> None:
    assert folders_to_poll([], 5, Settings()) == ([], 0)


@pytest.mark.parametrize(
    ("held", "windowed", "expected"),
    [
        pytest.param({"live_unseen": 3}, False, 8, id="without a window as many as the server says"),
        pytest.param({"live_unseen": 3}, True, 1, id="in a window two fewer, as at the server"),
        pytest.param({"live_unseen": 3, "server_unseen": None}, True, 8, id="unless it was not known before"),
    ],
)
def test_how_many_unread_messages_are_expected(held: dict[str, Any], windowed: bool, expected: int) -> None:
    assert expected_unseen(replace(HELD, **held), MailboxStatus(unseen=8), windowed=windowed) == expected


# -- when to come back -----------------------------------------------------------------------------------


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
def test_what_a_wrong_clock_put_off_is_due_whatever_the_zone(zone: str, ahead: int, due: bool) -> None:
    for change in (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), NOW):
        for minutes in (-31, -1, 0, 1, 31):
            now = change + timedelta(minutes=minutes)
            moment = now + timedelta(seconds=ahead)
            assert is_due(moment.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)), 900) is due
