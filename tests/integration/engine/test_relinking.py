"""Messages that reappear get their old rows back, and no row is ever used for another message (SPEC §11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mailsync.model import FolderState
from mailsync.store import attempts, db, folders, messages
from mailsync.store.db import Connection
from mailsync.uidset import UidSet
from tests.support.reappearing import REASONS, bodies, fetch_body, ids, letter, restarted, told
from tests.support.stored import (
    ATTACHMENT,
    DATE,
    NO_HEADERS,
    UIDVALIDITY,
    assert_counts_are_true,
    new_account,
    new_folder,
    settings_for,
    store,
)


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    with db.connect(settings_for(database_url), "test") as conn:
        yield conn


@pytest.fixture
def folder(conn: Connection, database_url: str) -> FolderState:
    return new_folder(conn, new_account(conn, settings_for(database_url)))


# -- under another key --------------------------------------------------------------------------------------


@pytest.mark.parametrize("announce", [True, False], ids=["new mail", "backfill"])
def test_a_message_takes_its_old_row_back_with_body_and_history(
    conn: Connection, folder: FolderState, announce: bool
) -> None:
    image = ATTACHMENT._replace(part="3", filename="b.png")
    had = {"attachments": (ATTACHMENT, image), "has_attachments": True, "mime_structure": "{}"}
    store(conn, folder, letter(1, "a", "\\Seen"), letter(2, "b", **had), letter(3, "c"))
    before = ids(conn, folder)
    created = conn.execute("select created_at from messages where uid = 2").fetchone()
    fetch_body(conn, folder, before[2])

    again = restarted(conn, folder, UIDVALIDITY + 1)
    assert ids(conn, again) == {}
    has = {"attachments": (image,), "has_attachments": True, "mime_structure": "{}"}
    new = store(conn, again, letter(7, "b", "\\Seen", **has), letter(8, "d"), announce=announce)

    assert new == 1
    after = ids(conn, again)
    assert after[7] == before[2] and after[8] not in before.values()
    kept = "select created_at from messages where uid = 7 and is_seen and body_fetched_at is not null"
    assert conn.execute(kept).fetchone() == created
    assert bodies(conn) == [before[2]]
    # a body that was read whole knows the attachments better than BODYSTRUCTURE
    kept = conn.execute("select message_pk, part from attachments order by part").fetchall()
    assert kept == [(before[2], "2"), (before[2], "3")]
    expected = [("message.restored", after[7]), ("message.created", after[8])]
    assert told(conn) == (expected if announce else [])
    assert_counts_are_true(conn, folder)


@pytest.mark.parametrize("reason", REASONS)
def test_a_tombstone_is_restored_whatever_its_reason(
    conn: Connection, folder: FolderState, reason: str
) -> None:
    store(conn, folder, letter(1, "a"), letter(2, "b"))
    before = ids(conn, folder)
    messages.tombstone(conn, folder, UidSet([(1, 1)]), reason)
    # moved away and back: a new UID under the same UIDVALIDITY
    sent = messages.SentBatch(conn, folder, [letter(3, "a")], lambda: None, announce=True)
    assert sent.wait() == 0
    assert ids(conn, folder) == {2: before[2], 3: before[1]}
    assert told(conn) == [("message.restored", before[1])]
    assert_counts_are_true(conn, folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"message_id": "other@example.com"},
        {"message_id": None},
        {"internal_date": DATE},
        {"internal_date": None},
        {"size_bytes": 5},
        {"size_bytes": None},
        {"parse_errors": ("unfetchable",), "headers": NO_HEADERS},
    ],
    ids=lambda changes: "-".join(map(str, changes)),
)
def test_a_value_that_differs_or_is_unknown_makes_another_message(
    conn: Connection, folder: FolderState, changes: dict[str, Any]
) -> None:
    store(conn, folder, letter(1, "a"))
    before = ids(conn, folder)
    again = restarted(conn, folder, UIDVALIDITY + 1)
    assert store(conn, again, letter(1, "a")._replace(uid=4, **fields(changes))) == 1
    assert ids(conn, again)[4] != before[1]
    assert_counts_are_true(conn, folder)


def fields(changes: dict[str, Any]) -> dict[str, Any]:
    """Apply `changes` to a message that has the headers of letter a."""
    if "message_id" not in changes:
        return changes
    return {"headers": letter(1, "a").headers._replace(**changes)}


def test_messages_without_message_id_are_never_found_again(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, letter(1, "a", message_id=None))
    again = restarted(conn, folder, UIDVALIDITY + 1)
    assert store(conn, again, letter(1, "a", message_id=None)) == 1


def test_without_an_internal_date_the_date_of_the_header_counts(
    conn: Connection, folder: FolderState
) -> None:
    undated = {"internal_date": None, "parse_errors": ("internal_date",)}
    store(conn, folder, letter(1, "a", sent_at=DATE, **undated), letter(2, "b", **undated))
    before = ids(conn, folder)
    again = restarted(conn, folder, UIDVALIDITY + 1)
    # without a date the row has the time when it was first seen, which no other message shares
    assert store(conn, again, letter(1, "a", sent_at=DATE, **undated), letter(2, "b", **undated)) == 1
    after = ids(conn, again)
    assert after[1] == before[1] and after[2] != before[2]


def test_copies_of_a_message_are_interchangeable(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, letter(1, "a"), letter(2, "a"), letter(3, "b"))
    before = ids(conn, folder)
    again = restarted(conn, folder, UIDVALIDITY + 1)
    # two rows for one message, and one row for two
    assert store(conn, again, letter(5, "a"), letter(6, "b"), letter(7, "b")) == 3
    assert not set(ids(conn, again).values()) & set(before.values())
    assert conn.execute("select count(*) from messages where deleted_at is not null").fetchone() == (3,)
    assert_counts_are_true(conn, folder)


def test_live_rows_and_other_folders_keep_what_they_have(conn: Connection, folder: FolderState) -> None:
    other = new_folder(conn, folder.account_id, "Other")
    store(conn, folder, letter(1, "a"))
    store(conn, other, letter(1, "a"), letter(2, "b"))
    before, others = ids(conn, folder), ids(conn, other)
    messages.tombstone(conn, other, UidSet([(2, 2)]), "expunged")
    assert store(conn, folder, letter(2, "a"), letter(3, "b")) == 2
    assert ids(conn, folder)[1] == before[1]
    assert ids(conn, other) == {1: others[1]}
    buried = "select id, uid from messages where deleted_at is not null"
    assert conn.execute(buried).fetchall() == [(others[2], 2)]
    assert_counts_are_true(conn, folder)
    assert_counts_are_true(conn, other)


def test_a_message_id_that_stands_everywhere_names_nothing(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, *[letter(n, "a", size_bytes=n) for n in range(1, 102)])
    again = restarted(conn, folder, UIDVALIDITY + 1)
    assert store(conn, again, *[letter(n, "a", size_bytes=n) for n in range(1, 102)]) == 101


# -- under its own key --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", REASONS)
def test_a_tombstone_of_another_message_leaves_its_key(
    conn: Connection, folder: FolderState, reason: str
) -> None:
    store(conn, folder, letter(1, "a"), letter(2, "b", message_id=None))
    before = ids(conn, folder)
    fetch_body(conn, folder, before[1])
    messages.tombstone(conn, folder, UidSet([(1, 2)]), reason)
    assert store(conn, folder, letter(1, "x"), letter(2, "b", message_id=None), announce=True) == 1
    after = ids(conn, folder)
    assert after[1] not in before.values() and after[2] == before[2]
    assert bodies(conn) == []
    assert told(conn) == [("message.created", after[1]), ("message.restored", after[2])]
    assert conn.execute("select count(*) from messages").fetchone() == (2,)
    assert_counts_are_true(conn, folder)


@pytest.mark.parametrize(
    ("was", "comes"),
    [
        ({}, {"internal_date": None, "parse_errors": ("internal_date",)}),
        ({}, {"size_bytes": None, "parse_errors": ("size",)}),
        ({}, {"headers": NO_HEADERS, "parse_errors": ("headers",)}),
        ({"internal_date": None, "parse_errors": ("internal_date",)}, {}),
        ({"size_bytes": None, "parse_errors": ("size",)}, {}),
        ({"headers": NO_HEADERS, "parse_errors": ("headers",)}, {}),
        ({"headers": NO_HEADERS, "internal_date": None, "parse_errors": ("unfetchable",)}, {}),
    ],
)
def test_what_is_not_known_is_not_held_against_a_row(
    conn: Connection, folder: FolderState, was: dict[str, Any], comes: dict[str, Any]
) -> None:
    store(conn, folder, letter(1, "a")._replace(**was))
    before = ids(conn, folder)
    messages.tombstone(conn, folder, UidSet([(1, 1)]), "expunged")
    assert store(conn, folder, letter(1, "a")._replace(**comes)) == 0
    assert ids(conn, folder) == before


def test_a_stub_brings_a_row_back_as_it_was(conn: Connection, folder: FolderState) -> None:
    stub = letter(1, "a", headers=NO_HEADERS, flags=None, size_bytes=None, internal_date=None)
    stub = stub._replace(parse_errors=("unfetchable",))
    store(conn, folder, letter(1, "a", "\\Seen"), letter(2, "b"))
    before = ids(conn, folder)
    messages.tombstone(conn, folder, UidSet([(1, 2)]), "expunged")
    sent = messages.SentBatch(conn, folder, [stub, stub._replace(uid=3)], lambda: None, announce=True)
    assert sent.wait() == 1
    assert set(ids(conn, folder)) == {1, 3}
    row = conn.execute("select id, subject, flags, parse_errors from messages where uid = 1").fetchone()
    assert row == (before[1], "a", ["\\Seen"], ["unfetchable"])
    assert attempts.count_without_content(conn, folder.account_id) == 2
    assert told(conn)[0] == ("message.restored", before[1])
    assert_counts_are_true(conn, folder)

    assert store(conn, folder, letter(1, "a", "\\Seen")) == 0
    assert conn.execute("select id, parse_errors from messages where uid = 1").fetchone() == (before[1], [])


def test_what_has_a_row_under_its_key_takes_no_other(conn: Connection, folder: FolderState) -> None:
    unread = {"headers": NO_HEADERS, "parse_errors": ("headers",)}
    store(conn, folder, letter(1, "a"), letter(2, "b"), letter(3, "c")._replace(**unread), letter(4, "d"))
    store(conn, folder, letter(5, "c"), letter(6, "e"))
    before = ids(conn, folder)
    messages.tombstone(conn, folder, UidSet([(2, 5)]), "expunged")
    # 1 is live, 3 may be c as well as 5, and 4 may be d as well as 9
    batch = [letter(1, "b"), letter(3, "c"), letter(4, "d")._replace(**unread), letter(9, "d")]
    assert store(conn, folder, *batch) == 1
    after = ids(conn, folder)
    assert {uid: after[uid] for uid in (1, 3, 4, 6)} == {uid: before[uid] for uid in (1, 3, 4, 6)}
    assert after[9] not in before.values()
    assert_counts_are_true(conn, folder)


def test_rows_change_places_within_a_batch(conn: Connection, folder: FolderState) -> None:
    """Return to an old UIDVALIDITY with other numbers: a row in the way is itself needed elsewhere."""
    store(conn, folder, letter(1, "a"), letter(2, "b"), letter(3, "c"), letter(4, "d"))
    before = ids(conn, folder)
    again = restarted(conn, restarted(conn, folder, UIDVALIDITY + 1), UIDVALIDITY)
    assert store(conn, again, letter(1, "b"), letter(2, "c"), letter(3, "a"), letter(4, "x")) == 1
    after = ids(conn, again)
    assert [after[uid] for uid in (1, 2, 3)] == [before[2], before[3], before[1]]
    assert after[4] not in before.values()
    assert conn.execute("select count(*) from messages").fetchone() == (4,)
    assert_counts_are_true(conn, folder)


def test_a_batch_that_is_refused_leaves_every_row_in_its_place(conn: Connection, folder: FolderState) -> None:
    store(conn, folder, letter(1, "a"), letter(2, "b"))
    again = restarted(conn, folder, UIDVALIDITY + 1)
    keys = "select id, uidvalidity, uid, deleted_reason from messages order by id"
    before = conn.execute(keys).fetchall()

    def fault() -> None:
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError):
        messages.SentBatch(conn, again, [letter(8, "a"), letter(9, "b")], fault, announce=False)
    assert conn.execute(keys).fetchall() == before
    assert_counts_are_true(conn, folder)


# -- unknown becomes known ----------------------------------------------------------------------------------


def test_rows_of_an_unknown_uidvalidity_are_rekeyed_even_over_rows_with_the_new_key(
    conn: Connection, folder: FolderState
) -> None:
    unknown = new_folder(conn, folder.account_id, "Lists", uidvalidity=0)
    store(conn, unknown, letter(1, "a"), letter(2, "b"), letter(3, "c"))
    before = ids(conn, unknown)
    messages.tombstone(conn, unknown, UidSet([(3, 3)]), "expunged")
    conn.execute(
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, deleted_at,"
        " deleted_reason) values (%s, %s, 77, 2, now(), now(), 'uidvalidity_reset')",
        [unknown.account_id, unknown.id],
    )
    # more than a chunk: all or nothing
    conn.execute(
        "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date)"
        " select %s, %s, 0, n, now() from generate_series(4, 6000) n",
        [unknown.account_id, unknown.id],
    )
    folders.adopt_uidvalidity(conn, unknown, 77)
    (known,) = folders.load(conn, unknown.account_id, unknown.id)
    after = ids(conn, known)
    assert (known.uidvalidity, len(after)) == (77, 5999)
    assert (after[1], after[2]) == (before[1], before[2])
    assert conn.execute("select distinct uidvalidity from messages").fetchall() == [(77,)]
    assert conn.execute("select id from messages where deleted_at is not null").fetchone() == (before[3],)
