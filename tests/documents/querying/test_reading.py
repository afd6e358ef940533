"""Recipes that read the mirror as it is, and the SQL of README.rst."""

from __future__ import annotations

import pytest

from tests.documents.querying import sample
from tests.documents.querying.asking import PUSH, QUERYING, README, Database, one, subjects
from tests.documents.querying.sample import LETTERS, OTHER, OWNER
from tests.documents.running import Recipe


@QUERYING.of("Before you begin")
def test_what_is_ones_own_stands_in_a_schema_of_its_own(recipe: Recipe, conn: Database) -> None:
    recipe.run(0)
    assert one(conn, "select count(*) from pg_namespace where nspname = 'app'") == 1


@QUERYING.of("Unread mail, newest first")
def test_unread_mail(recipe: Recipe, conn: Database) -> None:
    unread = sorted((x for x in LETTERS if "Seen" not in x.flags), key=lambda x: x.days)
    rows = recipe.rows(0)
    assert [(row["path"], row["subject"]) for row in rows] == [(x.folder, x.subject) for x in unread]
    assert rows[0]["from_email"] == "robot@ci.example"
    assert one(conn, "select sum(live_unseen) from mailsync.folders where account_id = 1") == len(unread)
    sample.in_bulk(conn)
    assert "messages_newest" in recipe.plan(0)


@QUERYING.of("Threads")
def test_threads(recipe: Recipe, conn: Database) -> None:
    rows = {row["thread"]: row for row in recipe.rows(0)}
    quote = rows["quote-1@customer.example"]
    assert (quote["messages"], quote["subject"]) == (3, "Quote for 40 sensors")
    assert quote["people"] == ["ada@customer.example", OWNER]
    # a reply to a reply without References begins a new thread, as the text says
    assert rows["delivery-1@supplier.example"]["messages"] == 2
    assert rows["delivery-2@example.com"]["messages"] == 1
    latest = [row["latest"] for row in rows.values()]
    assert latest == sorted(latest, reverse=True)

    assert [(row["provider_thread_id"], row["messages"]) for row in recipe.rows(2)] == [("T1", 2), ("T2", 1)]

    recipe.run(1)
    sample.in_bulk(conn)
    lookup = (
        "explain select id from mailsync.messages where account_id = 1 and deleted_at is null"
        " and coalesce(reference_ids[1], in_reply_to, message_id, id::text) = 'quote-1@customer.example'"
    )
    assert "messages_thread" in str(conn.execute(lookup).fetchall())


@QUERYING.of("Mail that waits for an answer")
def test_what_waits_for_an_answer(recipe: Recipe, conn: Database) -> None:
    waiting = recipe.rows(0)
    # excludes mail that was answered (by flag or by a message), automatic mail, and other folders
    assert [(row["from_email"], row["subject"]) for row in waiting] == [
        ("dora@partner.example", "Calibration day"),
        ("ada@customer.example", "Prüfprotokoll für Charge 12"),
        ("ben@supplier.example", "Re: Delivery date"),
        ("ada@customer.example", "Re: Quote for 40 sensors"),
    ]
    recipe.borrow("Threads", 1)
    sample.in_bulk(conn)
    assert "messages_thread" in recipe.plan(0)


@QUERYING.of("One whole conversation")
def test_one_whole_conversation(recipe: Recipe, conn: Database) -> None:
    said = ["Quote for 40 sensors", "Re: Quote for 40 sensors", "Re: Quote for 40 sensors"]
    rows = recipe.rows(0)
    assert subjects(rows) == said
    assert [row["path"] for row in rows] == ["INBOX", "Sent", "INBOX"]
    text = recipe.blocks[0].text
    for member in ("delivery-1@supplier.example", "delivery-3@supplier.example"):
        asked = conn.execute(text.replace("quote-1@customer.example", member))
        assert [row["path"] for row in asked] == ["Archive", "Sent", "INBOX"]
    recipe.run(1)
    sample.in_bulk(conn)
    plan = recipe.plan(0)
    assert "messages_links" in plan and "messages_message_id" in plan
    assert subjects(recipe.rows(0)) == said


@QUERYING.of("Attachments of a kind and size")
def test_attachments(recipe: Recipe, conn: Database) -> None:
    (row,) = recipe.rows(0)
    assert (row["filename"], row["content_type"], row["from_email"]) == (
        "Order 4711.pdf", "application/pdf", "ada@customer.example",
    )  # fmt: skip
    assert row["size_bytes"] > 100_000 and row["part"] == "2"
    recipe.run(1)
    sample.in_bulk(conn)
    assert "attachments_size" in recipe.plan(0)


@QUERYING.of("Top correspondents and their domains")
def test_top_correspondents(recipe: Recipe) -> None:
    assert [(row["from_email"], row["name"], row["messages"]) for row in recipe.rows(0)] == [
        ("ada@customer.example", "Ada Berg", 4),
        ("dora@partner.example", "Dora", 3),  # one of them twice
        ("ben@supplier.example", "Ben Ito", 2),
    ]
    domains = {row["domain"]: (row["people"], row["messages"]) for row in recipe.rows(1)}
    assert domains["customer.example"] == (1, 4)
    assert domains["letters.example"] == (1, 2)
    assert domains["partner.example"] == (2, 4)


@QUERYING.of("Response times")
def test_response_times(recipe: Recipe) -> None:
    rows = recipe.rows(0)
    assert [(row["from_email"], row["answers"]) for row in rows] == [
        ("ben@supplier.example", 1), ("ada@customer.example", 1), ("dora@partner.example", 1),
    ]  # fmt: skip
    hours = [row["median"].total_seconds() / 3600 for row in rows]
    assert hours == pytest.approx([24, 2.4, 1.2], abs=0.1)


@QUERYING.of("Sent mail without an answer")
def test_sent_mail_without_an_answer(recipe: Recipe, conn: Database) -> None:
    # excludes what Ada and Ben answered, and what was sent yesterday
    rows = recipe.rows(0)
    assert [(row["subject"], row["to_emails"]) for row in rows] == [
        ("Offer for your warehouse", ["cora@prospect.example"])
    ]
    recipe.borrow("One whole conversation", 1)
    sample.in_bulk(conn)
    assert "messages_links" in recipe.plan(0)


@QUERYING.of("Newsletters and automatic mail")
def test_newsletters(recipe: Recipe) -> None:
    assert [(row["list"], row["messages"], row["percent_read"]) for row in recipe.rows(0)] == [
        ("weekly.letters.example", 2, 50), ("away@partner.example", 1, 100), ("robot@ci.example", 1, 0),
    ]  # fmt: skip


@QUERYING.of("Copies in several folders")
def test_copies(recipe: Recipe) -> None:
    (row,) = recipe.rows(0)
    assert row == {
        "message_id": "minutes@partner.example", "subject": "Minutes of the meeting", "copies": 2,
        "folders": ["INBOX", "Projects"],
    }  # fmt: skip


@QUERYING.of("Mail per day")
def test_mail_a_day(recipe: Recipe, conn: Database) -> None:
    with conn.transaction():  # so that now() is the same
        rows = recipe.rows(0)
        expected = conn.execute(
            "select (internal_date at time zone 'Europe/Berlin')::date as day, count(*) as messages,"
            " count(*) filter (where not is_seen) as unread from mailsync.messages"
            " where account_id = 1 and deleted_at is null group by 1"
        ).fetchall()
        today = one(conn, "select (now() at time zone 'Europe/Berlin')::date")
    assert len(rows) == 14 and rows[-1]["day"] == today
    assert [row for row in rows if row["messages"]] == sorted(expected, key=lambda row: row["day"])
    assert sum(row["messages"] for row in rows) == len(LETTERS) - 1


@README.of("SQL to try")
def test_the_sql_of_the_first_page(recipe: Recipe) -> None:
    unread, waiting, attachments, trust = recipe.run(0)
    assert subjects(unread) == [
        x.subject for x in sorted(LETTERS, key=lambda x: x.days) if "Seen" not in x.flags
    ]
    assert {row["from_email"] for row in waiting} == {
        "ada@customer.example", "ben@supplier.example", "dora@partner.example",
    }  # fmt: skip
    assert [(row["from_email"], row["filename"]) for row in attachments] == [
        ("ada@customer.example", "Order 4711.pdf")
    ]
    assert {row["email"]: row["messages"] for row in trust} == {OWNER: len(LETTERS) - 1, OTHER: 3}


@PUSH.of("See whether it works")
def test_how_accounts_are_told(recipe: Recipe, conn: Database) -> None:
    conn.execute("update mailsync.accounts set parked_kind = 'idle' where id = 1")
    conn.execute("insert into mailsync.sync_runs (account_id, trigger, worker) values (1, 'push', 'a')")
    accounts, wakes = recipe.run(0)
    assert {row["email"]: row["push"] for row in accounts} == {OWNER: "idle", OTHER: "none"}
    assert [row["account_id"] for row in wakes] == [1]
