"""Runs and the feed of events over HTTP: the promises to consumers that keep a cursor (SPEC §3.9, §19).

Any open transaction on the database server delays the feed, even one of another test, so the tests wait for
events.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from mailsync.store import db
from mailsync.web.http.cursors import Cursors
from tests.support.api import Api, assert_problem
from tests.support.run_directory import wait_until
from tests.support.sql_mirror import add_account
from tests.support.stored import settings_for

Database = psycopg.Connection[Any]


class Consumer:
    """A consumer that does exactly what the documentation says."""

    def __init__(self, api: Api, path: str = "/v1/events", limit: int = 7, after: str | None = None) -> None:
        self.api, self.path, self.limit, self.after = api, path, limit, after
        self.read: list[dict[str, Any]] = []

    def poll(self) -> bool:
        """Read a page; whether more can be had at once."""
        answer = self.api.call("GET", self.path, after=self.after, limit=self.limit)
        assert answer.status == 200, answer.body
        page = answer.json()
        self.read += page["data"]
        if page["data"]:
            assert page["next_cursor"] == page["data"][-1]["cursor"]
        elif self.after:
            assert page["next_cursor"] == self.after
        assert ("Link" in answer.headers) is page["has_more"]
        self.after = page["next_cursor"]
        return bool(page["has_more"])

    def types(self, count: int) -> list[str]:
        """Read until there are so many and nothing more; the types of all that was read."""
        wait_until(lambda: not self.poll() and len(self.read) >= count, f"{count} events")
        return [event["type"] for event in self.read]


@pytest.fixture
def accounts(database: Database) -> list[int]:
    return [add_account(database, f"{name}@example.com") for name in "abc"]


def emit(conn: Database, account_id: int, *types: str, xid: int | None = None) -> None:
    for type_ in types:
        conn.execute(
            "insert into sync_events (account_id, type, xid)"
            " values (%s, %s, coalesce(%s::text::xid8, pg_current_xact_id()))",
            [account_id, type_, None if xid is None else str(xid)],
        )


def test_each_event_comes_exactly_once_in_any_order_of_commits(
    start_api: Callable[..., Api], accounts: list[int], database_url: str
) -> None:
    api = start_api(WEB_CONCURRENCY="2")
    written: dict[int, set[str]] = {account: set() for account in accounts}
    settings = settings_for(database_url)

    def write(writer: int) -> None:
        chance = random.Random(writer)
        with db.connect(settings, f"writer-{writer}") as conn:
            for number in range(30):
                account = chance.choice(accounts)
                types = [f"{writer}.{number}.{n}" for n in range(chance.randint(1, 4))]
                with conn.transaction(force_rollback=chance.random() < 0.2) as ended:
                    for type_ in types:
                        emit(conn, account, type_)
                        conn.execute("select pg_sleep(%s)", [chance.random() / 100])
                if not ended.force_rollback:
                    written[account].update(types)

    everything = Consumer(api)
    each = {account: Consumer(api, f"/v1/accounts/{account}/events", limit=3) for account in accounts}
    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        everything.poll()
        for consumer in each.values():
            consumer.poll()
    wanted = set().union(*written.values())
    types = everything.types(len(wanted))
    assert len(types) == len(wanted) and set(types) == wanted
    for account, consumer in each.items():
        of_one = consumer.types(len(written[account]))
        assert len(of_one) == len(set(of_one)) and set(of_one) == written[account]
        assert {event["account_id"] for event in consumer.read} <= {account}
    # a consumer that starts now, or behind any event, sees the same order
    assert Consumer(api, limit=500).types(len(wanted)) == types
    behind = everything.read[len(types) // 2]["cursor"]
    assert Consumer(api, after=behind, limit=500).types(1) == types[len(types) // 2 + 1 :]


def test_latest_is_the_current_end_of_the_feed(api: Api, accounts: list[int], database: Database) -> None:
    emit(database, accounts[0], "before")
    # an event is in the past only when all earlier transactions have ended
    wait_until(lambda: len(api.call("GET", "/v1/events").json()["data"]) == 1, "the event")
    for path in ("/v1/events", f"/v1/accounts/{accounts[0]}/events"):
        answer = api.call("GET", path, after="latest")
        page = answer.json()
        assert (page["data"], page["has_more"], "Link" in answer.headers) == ([], False, False)
        assert api.call("GET", path, cursor="latest").json()["data"] == []
        consumer = Consumer(api, path, after=page["next_cursor"])
        emit(database, accounts[0], "after")
        assert consumer.types(1)[0] == "after"


def test_an_event_is_shown_with_its_data_and_its_cursor(
    api: Api, accounts: list[int], database: Database
) -> None:
    database.execute(
        "insert into sync_events (account_id, type, folder_id, message_pk, data, occurred_at, xid)"
        """ values (%s, 'message.flags_changed', 5, 7, '{"uid": 3, "new": ["\\\\Seen"]}',"""
        " '2026-01-01 12:00:00+02', '3')",
        [accounts[0]],
    )
    (event,) = api.call("GET", "/v1/events").json()["data"]
    assert len(event.pop("cursor")) == 36 and event.pop("seq") > 0
    assert event == {
        "account_id": accounts[0], "type": "message.flags_changed", "folder_id": 5, "message_pk": 7,
        "data": {"uid": 3, "new": ["\\Seen"]}, "occurred_at": "2026-01-01T10:00:00Z",
    }  # fmt: skip


def test_transaction_ids_are_sorted_as_numbers(api: Api, accounts: list[int], database: Database) -> None:
    """As text, 10 sorts before 9, and a reader would miss events."""
    order = [1, 2, 9, 10, 11, 99, 100, 101, 500]
    for xid in reversed(order):
        emit(database, accounts[0], f"xid {xid}", f"xid {xid} again", xid=xid)
    wanted = [name for xid in order for name in (f"xid {xid}", f"xid {xid} again")]
    for path in ("/v1/events", f"/v1/accounts/{accounts[0]}/events"):
        consumer = Consumer(api, path, limit=1)
        while consumer.poll():
            pass
        assert [event["type"] for event in consumer.read] == wanted


def test_cursor_and_after_are_aliases_that_exclude_each_other(
    api: Api, accounts: list[int], database: Database
) -> None:
    emit(database, accounts[0], "one", "two", "three", xid=5)
    first = api.call("GET", "/v1/events", limit=1)
    cursor = first.json()["next_cursor"]
    assert first.json()["has_more"] is True
    assert first.headers["Link"] == f'</v1/events?limit=1&cursor={cursor}>; rel="next"'
    pages = [api.call("GET", "/v1/events", limit=1, **{name: cursor}) for name in ("after", "cursor")]
    assert pages[0].json() == pages[1].json()
    assert [event["type"] for event in pages[0].json()["data"]] == ["two"]
    assert "after=" in pages[0].headers["Link"] and "cursor=" in pages[1].headers["Link"]
    for after in (cursor, "latest"):
        document = assert_problem(api.call("GET", "/v1/events", after=after, cursor=cursor), 422, "invalid")
        assert [error["parameter"] for error in document["errors"]] == ["after"]


def test_cursors_of_another_feed_and_invalid_ones_are_refused(
    api: Api, accounts: list[int], database: Database
) -> None:
    for account in accounts:
        emit(database, account, "one", "two", xid=5)
    feeds = ["/v1/events", *(f"/v1/accounts/{account}/events" for account in accounts[:2])]
    cursors = {path: api.call("GET", path, limit=1).json()["next_cursor"] for path in feeds}
    assert len(set(cursors.values())) == 3
    every = Cursors("events", None)
    forged = [
        every.write(-1, 0),
        every.write(-(1 << 63), 5),
        every.write(1 << 64, 0),
        every.write(0, 1 << 63),
    ]
    for path in feeds:
        for name in ("after", "cursor"):
            strange = [cursor for of, cursor in cursors.items() if of != path]
            cut = cursors[path][:-1]
            for given in (*strange, *forged, cut, cut + "!", cut + "*", "Latest", "0", "lates", "null"):
                answer = api.call("GET", path, **{name: given})
                document = assert_problem(answer, 422, "invalid")
                assert [error["parameter"] for error in document["errors"]] == [name], given
    # lists of runs accept neither these nor cursors of other lists
    runs = [f"/v1/accounts/{account}/runs" for account in accounts[:2]]
    for account in accounts[:2] * 2:
        database.execute(
            "insert into sync_runs (account_id, trigger, worker) values (%s, 'api', 'h:2:api')", [account]
        )
    own = [api.call("GET", path, limit=1).json()["next_cursor"] for path in runs]
    assert api.call("GET", runs[0], cursor=own[0]).status == 200
    assert_problem(api.call("GET", runs[0], cursor=own[1]), 422, "invalid")
    assert_problem(api.call("GET", runs[0], cursor=cursors[feeds[1]]), 422, "invalid")
    assert_problem(api.call("GET", runs[0], after=cursors[feeds[1]]), 422, "invalid")
    assert_problem(api.call("GET", feeds[1], after=own[0]), 422, "invalid")


def test_a_cursor_from_before_a_restore_is_refused(api: Api, accounts: list[int], database: Database) -> None:
    emit(database, accounts[0], "one", xid=5)
    every = Cursors("events", None)
    # also far beyond 32 bits, because transaction ids have 64
    for xid in (1 << 31, 1 << 40, (1 << 64) - 1):
        answer = api.call("GET", "/v1/events", after=every.write(xid, 3))
        assert "ahead of this database" in assert_problem(answer, 422, "invalid")["detail"]
    # a position without an event is valid too
    assert len(api.call("GET", "/v1/events", after=every.write(4, (1 << 63) - 1)).json()["data"]) == 1


def test_a_cursor_of_the_first_release_is_still_valid(
    api: Api, accounts: list[int], database: Database
) -> None:
    """Written by the first release; consumers may still hold them."""
    emit(database, accounts[0], "one", "two", xid=5)
    page = api.call("GET", "/v1/events", after="AQAAAAAAAAAABQAAAAAAAAAAAQqHyzdhM7dy").json()
    assert [event["type"] for event in page["data"]] == ["two"]


def test_runs_are_listed_once_each_and_newest_first(
    api: Api, accounts: list[int], database: Database
) -> None:
    database.execute(
        "insert into sync_runs (account_id, trigger, worker, status, started_at, finished_at, messages_new,"
        " error_code, error_message)"
        " select case when mod(n, 5) = 0 then %s else %s end, 'schedule', 'h:1:worker',"
        " case when mod(n, 2) = 0 then 'success' else 'failed' end, moment, moment + interval '1 second', n,"
        " 'unreachable', 'no route'"
        " from generate_series(1, 60) n,"
        " lateral (select timestamptz '2026-01-01 UTC' + mod(n * 17, 20) * interval '1 min' as moment) m",
        [accounts[1], accounts[0]],
    )
    wanted = [
        row[0]
        for row in database.execute(
            "select id from sync_runs where account_id = %s order by started_at desc, id desc", [accounts[0]]
        )
    ]
    path = f"/v1/accounts/{accounts[0]}/runs"
    for limit in (1, 7, 48, 500):
        read: list[dict[str, Any]] = []
        cursor = None
        while True:
            answer = api.call("GET", path, limit=limit, cursor=cursor)
            page = answer.json()
            read += page["data"]
            cursor = page["next_cursor"]
            assert ("Link" in answer.headers) is (cursor is not None)
            if cursor is None:
                break
            # runs added meanwhile are newer than all others
            database.execute(
                "insert into sync_runs (account_id, trigger, worker) values (%s, 'api', 'h:2:api')",
                [accounts[0]],
            )
        assert [run["id"] for run in read if run["trigger"] == "schedule"] == wanted
        assert len({run["id"] for run in read}) == len(read)
    shown = read[-1]
    assert (shown["started_at"][:17], shown["error_code"]) == ("2026-01-01T00:01:", "unreachable")
    assert list(shown) == [
        "id", "account_id", "trigger", "status", "worker", "started_at", "finished_at", "folders",
        "messages_new", "flags_changed", "messages_deleted", "imap_commands", "bytes_in", "error_code",
        "error_message",
    ]  # fmt: skip


def test_runs_and_events_of_a_missing_account_are_404(
    api: Api, accounts: list[int], database: Database
) -> None:
    leaving = add_account(database, "leaving@example.com", deleting_at=datetime.now(UTC))
    emit(database, leaving, "one", xid=5)
    for account in (leaving, 999_999, (1 << 63) - 1):
        for part in ("runs", "events", "events?after=latest", "runs?cursor=x"):
            answer = api.call("GET", f"/v1/accounts/{account}/{part}")
            assert f"account {account}" in assert_problem(answer, 404, "not_found")["detail"]
    # the common feed still reports the removal, for consumers with copies
    assert [event["account_id"] for event in api.call("GET", "/v1/events").json()["data"]] == [leaving]
    for query, parameter in (
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("type=x", "type"),
        ("after=", "after"),
    ):
        document = assert_problem(api.call("GET", f"/v1/events?{query}"), 422, "invalid")
        assert [error["parameter"] for error in document["errors"]] == [parameter]
