"""The store's lists: positions, how folders are named, and the ends of the feed (SPEC §19)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from mailsync.config import Settings
from mailsync.errors import NotFound
from mailsync.store import db, pages
from mailsync.store.db import Connection
from mailsync.store.pages import EventPosition, MessageFilter, Position
from mailsync.store.pool import Pool
from tests.support.run_directory import wait_until
from tests.support.stored import ATTACHMENT, DATE, message, new_account, new_folder, settings_for, store


@pytest.fixture
def settings(database_url: str) -> Settings:
    return settings_for(database_url)


@pytest.fixture
def conn(settings: Settings) -> Iterator[Connection]:
    """A connection as the API's views borrow it."""
    pool = Pool(settings, "api", size=1, statement_timeout=10)
    with pool.connection() as conn:
        yield conn
    pool.close()


def test_a_page_says_whether_more_rows_follow(conn: Connection, settings: Settings) -> None:
    folder = new_folder(conn, new_account(conn, settings))
    store(conn, folder, *[message(uid, internal_date=DATE + timedelta(hours=uid)) for uid in range(1, 5)])

    def uids(limit: int, behind: Position | None = None, **wanted: object) -> tuple[list[int], bool]:
        part = pages.messages(
            conn, folder.account_id, MessageFilter(**wanted), limit=limit, behind=behind  # type: ignore[arg-type]
        )  # fmt: skip
        return [row.uid for row in part.rows], part.more

    assert uids(3) == ([4, 3, 2], True)
    assert uids(4) == ([4, 3, 2, 1], False)
    # the earlier of the window's end and the position counts
    ends = DATE + timedelta(hours=3)
    assert uids(9, until=ends) == ([2, 1], False)
    assert uids(9, Position(DATE + timedelta(hours=4), 1 << 62), until=ends) == ([2, 1], False)
    assert uids(9, Position(DATE + timedelta(hours=2), 0), until=ends) == ([1], False)
    assert uids(1, Position(ends, 0), since=DATE + timedelta(hours=1)) == ([2], True)


def test_each_author_finds_a_message_once(conn: Connection, settings: Settings) -> None:
    folder = new_folder(conn, new_account(conn, settings))
    authors = [("a@x", "b@x"), ("b@x",), ("b@x", "a@x", "c@x"), ("a@x",), ("b@x", "b@x")]
    store(
        conn,
        folder,
        *[
            message(uid, internal_date=DATE + timedelta(hours=uid), from_email=emails[0], from_emails=emails)
            for uid, emails in enumerate(authors)
        ],
    )
    # a row that an older release wrote
    conn.execute("update messages set from_emails = '{}' where uid = 3")
    conn.execute("update messages set deleted_at = now(), deleted_reason = 'expunged' where uid = 2")

    def found(sender: str, *, include_deleted: bool = False) -> list[tuple[int, tuple[str, ...]]]:
        wanted = MessageFilter(sender=sender, include_deleted=include_deleted)
        rows = pages.messages(conn, folder.account_id, wanted, limit=9).rows
        return [(row.uid, row.from_emails) for row in rows]

    assert found("a@x") == [(3, authors[3]), (0, authors[0])]
    assert found("b@x") == [(4, authors[4]), (1, authors[1]), (0, authors[0])]
    assert found("c@x") == []
    assert found("c@x", include_deleted=True) == [(2, authors[2])]
    assert [uid for uid, _ in found("a@x", include_deleted=True)] == [3, 2, 0]


def test_a_message_has_what_was_stored_of_it(conn: Connection, settings: Settings) -> None:
    folder = new_folder(conn, new_account(conn, settings), "Work")
    store(
        conn,
        folder,
        message(7, "\\Seen", to_emails=("b@example.com",), to_names=(None,), attachments=(ATTACHMENT,)),
    )
    (row,) = pages.messages(conn, folder.account_id, MessageFilter(), limit=1).rows
    shown = pages.message(conn, folder.account_id, row.id)
    assert (shown.folder, shown.uid, shown.flags, shown.is_seen) == ("Work", 7, ("\\Seen",), True)
    assert (shown.to_emails, shown.to_names, shown.internal_date) == (("b@example.com",), (None,), DATE)
    assert shown.attachments == (ATTACHMENT,)
    with pytest.raises(NotFound, match=f"there is no message {row.id}"):
        pages.message(conn, folder.account_id + 1, row.id)
    conn.execute("update accounts set deleting_at = now()")
    with pytest.raises(NotFound, match=f"there is no message {row.id}"):
        pages.message(conn, folder.account_id, row.id)
    with pytest.raises(NotFound, match=f"there is no account {folder.account_id}"):
        pages.require_account(conn, folder.account_id)


def test_the_folder_that_is_meant(conn: Connection, settings: Settings) -> None:
    account, other = (new_account(conn, settings, f"{name}@example.com") for name in "ab")
    inbox, year, twin = (new_folder(conn, account, name) for name in ("INBOX", "2024", "Twin"))
    foreign = new_folder(conn, other, "Theirs")
    # two names of a server may decode to one path; the tracked folder is returned
    conn.execute(
        "insert into folders (account_id, wire_name, path, tracked) values (%s, 'twin', 'Twin', false)",
        [account],
    )
    conn.execute("update folders set tracked = not tracked where path = 'Twin'")
    assert pages.find_folder(conn, account, "Twin") > twin.id
    assert [pages.find_folder(conn, account, name) for name in ("INBOX", "inbox", "InBoX")] == [inbox.id] * 3
    assert pages.find_folder(conn, account, str(year.id)) == year.id
    for name in ("2024", str(foreign.id), "Theirs", "twin", "", "0", "9" * 40, "-1", "٣", "1.0"):
        with pytest.raises(NotFound, match=f"account {account} has no folder"):
            pages.find_folder(conn, account, name)


def test_the_horizon_waits_for_who_may_still_write(
    conn: Connection, settings: Settings, database: psycopg.Connection
) -> None:
    account = new_account(conn, settings)
    with db.connect(settings, "late") as late, late.transaction():
        late.execute("insert into sync_events (account_id, type) values (%s, 'late')", [account])
        row = late.execute("select pg_current_xact_id()::text").fetchone()
        assert row
        began = int(row[0])
        database.execute("insert into sync_events (account_id, type) values (%s, 'quick')", [account])
        now = pages.horizon(conn)
        assert now.settled.xid <= began < now.newest.xid
        assert now.settled.seq == 0
    read = [now.settled]

    def later() -> list[str]:
        part = pages.events(conn, now.settled, limit=10)
        read.extend(event.position for event in part.rows)
        return [event.type for event in part.rows if event.type in ("late", "quick")]

    wait_until(lambda: later() == ["late", "quick"], "both events")
    assert min(read[1:]) > EventPosition(now.settled.xid, 0)


def test_the_api_plans_for_the_values_that_are_given(conn: Connection, settings: Settings) -> None:
    assert conn.execute("show plan_cache_mode").fetchone() == ("force_custom_plan",)
    with db.connect(settings, "worker") as other:
        assert other.execute("show plan_cache_mode").fetchone() == ("force_generic_plan",)
