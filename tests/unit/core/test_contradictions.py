"""A server that contradicts itself: which of its answers counts, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailsync.core import contradictions
from mailsync.core.contradictions import UidValidity, ViewVerdict
from mailsync.model import FolderState, MailboxStatus
from mailsync.uidset import LARGEST_UID, UidSet
from tests.unit.core.test_planning import FOLDER

SIZED = replace(FOLDER, status="active", server_messages=10, view_limit=None)
WINDOW = replace(SIZED, view_limit=10)
NO_ROWS, OLDEST, MIXED = UidSet(), UidSet.parse("3:5"), UidSet.parse("3:5,20")


@pytest.mark.parametrize(
    ("unanswered", "others", "exists", "phantoms"),
    [
        ("11", 10, 10, "11"),
        ("11", 12, 10, "11"),
        ("11", 10, 11, ""),
        ("11,15", 10, 11, ""),
        ("11,15", 10, 10, "11,15"),
        ("11", 10, None, ""),
        ("7", 0, 0, "7"),
        ("", 10, 10, ""),
    ],
    ids=[
        "no room",
        "less than no room",
        "room for it",
        "room for one of two",
        "no room for two",
        "EXISTS unknown",
        "an empty folder",
        "all answered",
    ],
)
def test_a_uid_without_an_answer_is_no_message_if_exists_has_no_room(
    unanswered: str, others: int, exists: int | None, phantoms: str
) -> None:
    assert contradictions.phantoms(UidSet.parse(unanswered), others, exists) == UidSet.parse(phantoms)


def test_search_agrees_with_exists_or_names_too_few_or_too_many() -> None:
    verdicts = [contradictions.judge_view(found, 10) for found in (9, 10, 11)]
    assert verdicts == [ViewVerdict.TOO_FEW, ViewVerdict.AGREES, ViewVerdict.TOO_MANY]


@pytest.mark.parametrize(
    ("folder", "exists", "announced", "gone", "size"),
    [
        (SIZED, 10, None, OLDEST, None),
        (SIZED, 10_000, None, NO_ROWS, None),
        (SIZED, 10, 10, NO_ROWS, 10),
        (SIZED, 11, 10, NO_ROWS, None),
        (SIZED, 9, 10, OLDEST, None),
        (SIZED, 10_000, 1000, NO_ROWS, 10_000),
        (SIZED, 10_000, 0, NO_ROWS, 10_000),
        (SIZED, 10, 0, NO_ROWS, None),
        (SIZED, 10, 0, OLDEST, 10),
        (SIZED, 10, 1000, OLDEST, 10),
        (SIZED, 10, 1000, MIXED, None),
        (SIZED, 12, 1000, OLDEST, None),
        (replace(SIZED, status="initial"), 10, 1000, OLDEST, None),
        (WINDOW, 10, 1000, NO_ROWS, 10),
        (WINDOW, 14, 1000, NO_ROWS, 10),
        (WINDOW, 9, 1000, NO_ROWS, None),
        (WINDOW, 5000, 1000, NO_ROWS, None),
        (WINDOW, 10, None, NO_ROWS, None),
    ],
    ids=[
        "nothing announced: the oldest are deleted",
        "nothing announced, 10,000 messages",
        "as many as announced",
        "more than announced",
        "fewer than announced",
        "10,000, another limit announced",
        "10,000, UIDONLY",
        "UIDONLY alone",
        "UIDONLY, and as many left as arrived",
        "a limit, and as many left as arrived",
        "others are gone, too",
        "EXISTS has grown",
        "in a first sync",
        "was a window before",
        "was one, mail has just arrived",
        "was one, now all is shown",
        "was taken for one, and grows",
        "was one, no longer announced",
    ],
)
def test_a_view_that_slides_is_known_by_limits_that_the_server_announces(
    folder: FolderState, exists: int, announced: int | None, gone: UidSet, size: int | None
) -> None:
    assert contradictions.window_size(folder, exists, announced, gone, lowest=6) == size


def test_a_view_that_begins_with_the_first_uid_is_of_the_whole_folder() -> None:
    assert contradictions.window_size(SIZED, 10, 10, NO_ROWS, lowest=1) is None
    assert contradictions.window_size(WINDOW, 0, 10, MIXED, lowest=0) is None


def test_only_rows_below_the_view_are_out_of_view() -> None:
    assert contradictions.out_of_view(10, MIXED, 6) == OLDEST
    assert contradictions.out_of_view(None, MIXED, 6) == NO_ROWS


@pytest.mark.parametrize(
    ("folder", "exists", "windowed", "needed"),
    [
        (replace(SIZED, live_count=10), 10, False, False),
        (replace(SIZED, live_count=10), 9, False, True),
        (replace(WINDOW, live_count=13), 10, False, False),
        (replace(SIZED, live_count=13), 10, True, False),
    ],
    ids=["equal", "a row too many", "a view that slides", "a window"],
)
def test_live_rows_are_counted_against_exists_where_both_are_of_the_whole_folder(
    folder: FolderState, exists: int, windowed: bool, needed: bool
) -> None:
    folder = replace(folder, uidnext=50, last_uid=40)
    status = MailboxStatus(messages=10, uidnext=50)
    assert contradictions.needs_reconcile(folder, folder, status, exists=exists, windowed=windowed) is needed


@pytest.mark.parametrize(
    ("last_uid", "uidnext", "promised"),
    [
        (10, 13, "11:12"),
        (10, 11, ""),
        (10, 10, None),
        (10, 1, None),
        (10, 4_000_000_000, None),
        (10, None, None),
        (LARGEST_UID, 5, ""),
    ],
)
def test_uidnext_is_believed_for_less_than_a_batch(
    last_uid: int, uidnext: int | None, promised: str | None
) -> None:
    uids = contradictions.promised_uids(last_uid, uidnext, 500)
    assert uids == (None if promised is None else UidSet.parse(promised))


@pytest.mark.parametrize(
    ("stored", "examined", "verdict"),
    [
        (7, MailboxStatus(uidvalidity=7), UidValidity.SAME),
        (7, MailboxStatus(uidvalidity=0), UidValidity.SAME),
        (7, MailboxStatus(), UidValidity.SAME),
        (7, MailboxStatus(uidvalidity=6), UidValidity.RESET),
        (0, MailboxStatus(uidvalidity=6), UidValidity.ADOPT),
        (7, MailboxStatus(uidvalidity=6, uids_not_sticky=True), UidValidity.MEANINGLESS),
        (0, MailboxStatus(uidvalidity=6, uids_not_sticky=True), UidValidity.ADOPT),
    ],
)
def test_uidvalidity_is_believed_from_examine(
    stored: int, examined: MailboxStatus, verdict: UidValidity
) -> None:
    assert contradictions.judge_uidvalidity(replace(FOLDER, uidvalidity=stored), examined) is verdict


@pytest.mark.parametrize(
    ("gone", "live", "is_large"), [(100, 100, False), (101, 202, False), (101, 201, True)]
)
def test_more_than_half_of_a_folder_is_not_believed_at_once(gone: int, live: int, is_large: bool) -> None:
    assert contradictions.is_large_deletion(gone, live) is is_large
