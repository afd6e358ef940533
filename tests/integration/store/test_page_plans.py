"""The plans with which the API's lists read a million messages, and how much they read (SPEC §19)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any, cast

import psycopg
import pytest

from mailsync.store import pages
from mailsync.store.db import Connection
from mailsync.store.pages import EventPosition, MessageFilter, Position
from mailsync.store.pool import Pool
from tests.support import million
from tests.support.stored import settings_for

LIMIT = 50
PAGE = LIMIT + 1
"""The rows of a page, and one more to know whether others follow; an incremental sort reads another."""

# pages of 8 KiB, of 44,000 in the table; 404 and 1,763 were measured
MOST = {False: 1_000, True: 4_000}


class Explaining:
    """Wraps a connection and explains each statement, with its values, before running it."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.plans: list[dict[str, Any]] = []

    def execute(self, statement: psycopg.sql.SQL, params: dict[str, Any]) -> Any:
        explain = psycopg.sql.SQL("explain (analyze, buffers, timing off, format json) ") + statement
        row = self.conn.execute(explain, params, prepare=False).fetchone()
        assert row
        self.plans.append(row[0][0]["Plan"])
        return self.conn.execute(statement, params)

    def last(self) -> dict[str, Any]:
        return self.plans[-1]


@pytest.fixture
def explaining(database: psycopg.Connection, database_url: str) -> Iterator[Explaining]:
    million.fill(database)
    pool = Pool(settings_for(database_url), "api", size=1, statement_timeout=60)
    with pool.connection() as conn:
        yield Explaining(conn)
    pool.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def objections(plan: dict[str, Any], table: str, most: int) -> list[str]:
    """The faults of a plan for a page."""
    found = []
    for node in nodes(plan):
        kind, rows = node["Node Type"], node["Actual Rows"] * node["Actual Loops"]
        if node.get("Relation Name") == table and kind not in ("Index Scan", "Index Only Scan"):
            found.append(f"{kind} of {table}")
        if node.get("Relation Name") == table and rows > PAGE + 1:
            found.append(f"{rows} rows of {table} are read")
        if node.get("Relation Name") == table and node.get("Rows Removed by Filter", 0) > PAGE:
            found.append(f"{node['Rows Removed by Filter']} rows of {table} are read in vain")
        if kind == "Sort" and rows > 2 * PAGE:
            found.append(f"{rows} rows are sorted")
    touched = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return [*found, f"{touched} pages are touched"] if touched > most else found


@pytest.mark.long
def test_a_page_of_a_list_is_read_by_its_index_whatever_is_asked_for(explaining: Explaining) -> None:
    conn = cast(Connection, explaining)
    wrong = [*of_messages(conn, explaining), *of_runs(conn, explaining), *of_events(conn, explaining)]
    assert not wrong, "\n".join(wrong)
    # the examined plans are those in use, since no generic plan is made
    prepared = explaining.conn.execute(
        "select generic_plans, custom_plans from pg_prepared_statements"
        " where statement like '%from messages%'"
    ).fetchall()
    assert prepared
    assert all(generic == 0 for generic, _ in prepared)
    assert max(custom for _, custom in prepared) > 10


def of_messages(conn: Connection, explaining: Explaining) -> Iterator[str]:
    folders = [None, *(pages.find_folder(conn, 1, path) for path in ("INBOX", "Archive", "Rare"))]
    senders = [
        None,
        "robot@example.com",
        "s0@example.com",
        "s3000@example.com",
        "nobody@example.com",
        "second1@example.com",
    ]
    since, until = datetime(2018, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)
    deep = [
        None,
        Position(datetime(2012, 6, 1, tzinfo=UTC), 500),
        Position(datetime(2021, 1, 1, tzinfo=UTC), 500),
    ]
    for folder, sender, begins, ends, deleted, behind in product(
        folders, senders, (None, since), (None, until), (False, True), deep
    ):
        wanted = MessageFilter(folder, begins, ends, sender, include_deleted=deleted)
        pages.messages(conn, 1, wanted, limit=LIMIT, behind=behind)
        for objection in objections(explaining.last(), "messages", MOST[deleted]):
            yield f"{wanted} behind {behind}: {objection}"


def of_runs(conn: Connection, explaining: Explaining) -> Iterator[str]:
    for behind in (None, Position(datetime(2025, 2, 1, tzinfo=UTC), 1000)):
        assert pages.runs(conn, 1, limit=LIMIT, behind=behind).more
        for objection in objections(explaining.last(), "sync_runs", 20):
            yield f"runs behind {behind}: {objection}"


def of_events(conn: Connection, explaining: Explaining) -> Iterator[str]:
    # no event follows of the first account, which has been quiet, and none at all after the end
    for account_id, after, more in (
        (None, EventPosition(0, 0), True),
        (None, EventPosition(150, 75_123), True),
        (None, EventPosition(200, 1 << 40), False),
        (1, EventPosition(0, 0), True),
        (1, EventPosition(50, 25_123), True),
        (1, EventPosition(99, 49_999), False),
        (2, EventPosition(150, 75_123), True),
    ):
        assert pages.events(conn, after, limit=LIMIT, account_id=account_id).more is more
        for objection in objections(explaining.last(), "sync_events", 20):
            yield f"events of {account_id} after {after}: {objection}"
