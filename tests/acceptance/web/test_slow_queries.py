"""Slow statements: each is cancelled, and its connection serves the next request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import psycopg
import pytest

from mailsync.store import db
from mailsync.web import resources
from tests.support.api import StartApi, assert_problem
from tests.support.patience import Stopwatch
from tests.support.stored import KEY, message, new_account, new_folder, settings_for, store


@pytest.fixture
def slow_subjects(database_url: str) -> int:
    """The id of an account whose subjects take a minute to read."""
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        account = new_account(conn, settings)
        store(conn, new_folder(conn, account), message(1, subject="slow"))
        conn.execute(
            "create function slowly(text) returns text volatile language plpgsql as"
            " 'begin perform pg_sleep(60); return $1; end'"
        )
        row = conn.execute(
            "select string_agg(case column_name when 'subject' then 'slowly(subject) as subject'"
            " else column_name end, ', ' order by ordinal_position) from information_schema.columns"
            " where table_schema = current_schema() and table_name = 'messages'"
        ).fetchone()
        assert row
        conn.execute("alter table messages rename to all_messages")
        conn.execute(f"create view messages as select {row[0]} from all_messages")
    return account


@pytest.mark.long
def test_a_slow_filter_is_cancelled_and_its_connection_stays_usable(
    start_api: StartApi, slow_subjects: int, database: psycopg.Connection[Any]
) -> None:
    api = start_api(IMAP_ENCRYPTION_KEY=KEY)
    path = f"/v1/accounts/{slow_subjects}/messages"
    began = Stopwatch()
    problem = assert_problem(api.call("GET", path, subject="slow"), 504, "query_timeout")
    assert began.clock > 9
    assert began.stop() < 50
    assert problem["detail"].startswith("The query took too long")
    database.execute("drop view messages")
    database.execute("alter table all_messages rename to messages")
    backends = (
        "select pid from pg_stat_activity"
        " where datname = current_database() and application_name = 'mailsync-api' order by pid"
    )
    before = database.execute(backends).fetchall()
    assert len(api.call("GET", path, subject="slow").json()["data"]) == 1
    assert database.execute(backends).fetchall() == before


@pytest.mark.long
def test_slow_searches_leave_connections_for_other_requests(start_api: StartApi, slow_subjects: int) -> None:
    api = start_api(IMAP_ENCRYPTION_KEY=KEY, WEB_CONCURRENCY="1")
    path = f"/v1/accounts/{slow_subjects}/messages"
    with ThreadPoolExecutor(12) as clients:
        searches = [clients.submit(api.call, "GET", path, subject="slow") for _ in range(12)]
        while not all(search.done() for search in searches):
            assert api.get("/health/ready").status == 200
            assert len(api.call("GET", "/v1/accounts").json()["data"]) == 1
            wait(searches, timeout=0.5)
    statuses = sorted(search.result().status for search in searches)
    assert set(statuses) == {503, 504}
    assert statuses.count(504) >= resources.MAX_SEARCHES
    assert {s.result().json()["code"] for s in searches if s.result().status == 503} == {"busy"}
