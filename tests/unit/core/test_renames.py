"""Renamed folders: the table of cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailsync.core.renames import Rename, agree, displaced, propose, shows_any, to_identify
from mailsync.model import FolderState, Listing, MailboxStatus, MessageState
from tests.unit.core.test_planning import FOLDER

DATE = datetime(2025, 5, 17, 8, 30, tzinfo=UTC)
Before = dict[str, dict[str, Any]]
Now = dict[str, MailboxStatus | None]


def stored(folders: Before) -> list[FolderState]:
    """Stored folders by name, each with different mail; `n` sets all its numbers."""
    rows = []
    for number, (name, changes) in enumerate(folders.items(), 1):
        n = changes.pop("n", number)
        base: dict[str, Any] = {
            "id": number, "wire_name": name.encode(), "path": name, "uidvalidity": 100 + n,
            "uidnext": 10 + n, "server_messages": n, "live_count": n,
        }  # fmt: skip
        rows.append(replace(FOLDER, **base | changes))
    return rows


def has(n: int, mailbox_id: str | None = None, **changes: Any) -> MailboxStatus:
    """The server's status of the mailbox whose numbers are `n`."""
    status = MailboxStatus(messages=n, uidnext=10 + n, uidvalidity=100 + n, mailbox_id=mailbox_id)
    return replace(status, **changes)


def proposed(folders: list[FolderState], now: Now) -> set[tuple[str, str, bool]]:
    statuses = {name.encode(): status for name, status in now.items() if status}
    names = {name.encode() for name in now}
    return {
        (rename.folder.path, rename.wire_name.decode(), rename.certain)
        for rename in propose(folders, names, statuses)
    }


ONE, TWO = {"mailbox_id": "one"}, {"mailbox_id": "two"}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        # by MAILBOXID
        ({"A": {**ONE}}, {"B": has(1, "one")}, {("A", "B", True)}),
        ({"A": {**ONE}}, {"B": has(9, "one", messages=0)}, {("A", "B", True)}),
        ({"A": {**ONE}}, {"A": has(1, "one"), "B": has(2, "two")}, set()),
        ({"A": {**ONE}, "B": {**TWO}}, {"A": has(2, "two"), "B": has(1, "one")},
         {("A", "B", True), ("B", "A", True)}),
        ({"A": {**ONE}, "B": {**TWO}}, {"B": has(1, "one"), "C": has(2, "two")},
         {("A", "B", True), ("B", "C", True)}),
        ({"A": {**ONE}, "B": {**TWO}}, {"A": has(2, "two")}, {("B", "A", True)}),
        ({"A": {**ONE, "status": "missing", "live_count": 0, "uidnext": None}}, {"B": has(1, "one")},
         {("A", "B", True)}),
        ({"A": {**ONE, "live_count": 0, "tracked": False}}, {"B": has(1, "one")}, {("A", "B", True)}),
        # no proof if the MAILBOXID occurs twice, or the old name may still be the same mailbox
        ({"A": {**ONE}}, {"B": has(2, "one"), "C": has(3, "one")}, set()),
        ({"A": {**ONE}, "B": {**ONE}}, {"C": has(3, "one")}, set()),
        ({"A": {**ONE}}, {"A": None, "B": has(2, "one")}, set()),
        ({"A": {**ONE}}, {"A": has(1), "B": has(2, "one")}, set()),
        ({"A": {**ONE}, "B": {}}, {"B": has(2, "one")}, set()),
        # by numbers
        ({"A": {}}, {"B": has(1)}, {("A", "B", False)}),
        ({"A": {"status": "initial", "live_count": 7, "n": 50}}, {"B": has(50)}, {("A", "B", False)}),
        ({"A": {}, "B": {}}, {"C": has(2), "D": has(1)}, {("A", "D", False), ("B", "C", False)}),
        # a folder missing for longer may be the same mailbox under an older name
        ({"A": {"n": 5}, "B": {"n": 5, "missing_since": DATE}}, {"C": has(5)}, {("A", "C", False)}),
        ({"A": {"n": 5}, "B": {"n": 5}}, {"C": has(5)}, set()),
        ({"A": {}, "B": {}}, {"A": has(2), "B": has(1)}, {("A", "B", False), ("B", "A", False)}),
        ({"A": {}, "B": {}}, {"B": has(1), "C": has(2)}, {("A", "B", False), ("B", "C", False)}),
        ({"A": {"missing_since": DATE}}, {"B": has(1)}, {("A", "B", False)}),
        ({"A": {**ONE}}, {"B": has(1)}, {("A", "B", False)}),
        ({"A": {}}, {"B": has(1, "one")}, {("A", "B", False)}),
        ({"A": {**ONE}, "B": {}}, {"B": has(1, "one"), "C": has(2)},
         {("A", "B", True), ("B", "C", False)}),
        # only if all numbers are known and equal
        ({"A": {}}, {"B": has(1, uidvalidity=5)}, set()),
        ({"A": {}}, {"B": has(1, uidnext=99)}, set()),
        ({"A": {}}, {"B": has(1, messages=2)}, set()),
        ({"A": {}}, {"B": has(1, uidnext=None)}, set()),
        ({"A": {"server_messages": 0}}, {"B": has(1, messages=0)}, set()),
        ({"A": {"uidvalidity": 0}}, {"B": has(1, uidvalidity=0)}, set()),
        ({"A": {"uidnext": None, "server_messages": None}}, {"B": has(1)}, set()),
        ({"A": {"live_count": 0}}, {"B": has(1)}, set()),
        ({"A": {}}, {"B": None}, set()),
        ({"A": {**ONE}}, {"B": has(1, "two")}, set()),
        # and only if they occur once
        ({"A": {"n": 1}, "B": {"n": 1}}, {"C": has(1)}, set()),
        ({"A": {}}, {"B": has(1), "C": has(1)}, set()),
        # a folder that is listed under its name was not renamed
        ({"A": {}}, {"A": has(1), "B": has(1)}, set()),
        ({"A": {}}, {"A": None, "B": has(1)}, set()),
        ({"A": {}}, {"A": has(1, uidvalidity=0), "B": has(1)}, set()),
        ({"A": {}, "B": {}}, {"B": has(1)}, {("A", "B", False)}),
        ({"A": {}, "B": {}}, {"B": None}, set()),
        # INBOX stays where it is
        ({"INBOX": {**ONE}}, {"INBOX": has(2, "two"), "Old": has(1, "one")}, set()),
        ({"INBOX": {}}, {"INBOX": has(0), "Old": has(1)}, set()),
        ({"A": {**ONE}}, {"INBOX": has(1, "one")}, set()),
        ({"A": {}}, {"INBOX": has(1)}, set()),
    ],
)  # fmt: skip
def test_renames_follow_from_stored_and_listed_folders(
    before: Before, now: Now, expected: set[tuple[str, str, bool]]
) -> None:
    folders = stored({name: dict(changes) for name, changes in before.items()})
    assert proposed(folders, now) == expected


def test_a_folder_that_loses_its_name_and_gets_no_other_is_displaced() -> None:
    folders = stored({"A": {**ONE}, "B": {**TWO}, "C": {}})
    a, b, c = folders
    assert displaced(folders, [Rename(b, b"A", True)]) == [a]
    assert displaced(folders, [Rename(a, b"B", True), Rename(b, b"A", True)]) == []
    assert displaced(folders, [Rename(c, b"D", True)]) == []


def test_new_names_are_queried_only_if_a_recognisable_folder_is_gone() -> None:
    folders = stored({"INBOX": {}, "A": {}, "B": {"live_count": 0}, "C": {"live_count": 0, **ONE}})
    assert to_identify(folders, {b"INBOX", b"A", b"B", b"C", b"New"}) == []
    assert to_identify(folders, {b"INBOX", b"A", b"C", b"New"}) == []
    assert to_identify(folders, {b"INBOX", b"B", b"C", b"New", b"Also"}) == [b"Also", b"New"]
    assert to_identify(folders, {b"INBOX", b"A", b"B", b"New"}) == [b"New"]
    assert to_identify(folders, {b"A", b"B", b"C", b"New"}) == []


def test_likely_names_are_queried_first() -> None:
    folders = stored({"INBOX": {}, "Work/Old": {}, "Clients": {}})
    many = {b"Lists/%03d" % n for n in range(500)}
    likely = {b"Work/New", b"Archive/Old", b"Archive/Clients"}
    names = to_identify(folders, {b"INBOX", *many, *likely})
    assert set(names[:3]) == likely
    assert len(names) == 24


def test_list_status_alone_shows_a_swap_but_no_recreated_folder() -> None:
    folders = stored({"A": {}, "B": {}})

    def shown(now: Now) -> bool:
        statuses = {name.encode(): status for name, status in now.items() if status}
        return shows_any(folders, Listing(frozenset(statuses), statuses))

    assert not shown({"A": has(1), "B": has(2)})
    assert shown({"A": has(2), "B": has(1)})
    assert not shown({"A": has(5, messages=0), "B": has(2)})
    assert not shown({"A": has(1)})


def test_the_newest_messages_agree_only_if_each_is_there_with_its_size_and_date() -> None:
    def state(uid: int, size: int | None = 100, date: datetime | None = DATE) -> MessageState:
        return MessageState(uid, None, None, date, size)

    rows = [state(1), state(2)]
    same = {1: state(1), 2: state(2), 3: state(3)}
    assert agree(rows, same)
    assert not agree(rows, {1: state(1)})
    assert not agree(rows, same | {2: state(2, size=101)})
    assert not agree(rows, same | {2: state(2, date=DATE + timedelta(seconds=1))})
    assert not agree(rows, same | {2: state(2, date=None)})
    assert not agree([], same)
