"""Recipes that follow changes, and that check whether the mirror is up to date."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.documents.querying import sample
from tests.documents.querying.asking import QUERYING, Database, one, subjects
from tests.documents.querying.sample import LETTERS, OTHER, OWNER, Box, Letter
from tests.documents.running import Recipe
from tests.support.api import StartApi
from tests.support.patience import PATIENCE
from tests.support.programs import Mailsync
from tests.support.run_directory import wait_until


@QUERYING.of("Messages that were moved")
def test_moved_messages(recipe: Recipe, conn: Database) -> None:
    (row,) = recipe.rows(0)
    assert (row["moved_from"], row["moved_to"], row["subject"]) == ("INBOX", "Archive", "Invoice 88")
    dead = "select deleted_at is not null from mailsync.messages where id = %s"
    assert one(conn, dead, row["old_id"]) is True and one(conn, dead, row["new_id"]) is False


@QUERYING.of("What was deleted, and when")
def test_deleted_messages(recipe: Recipe) -> None:
    (row,) = recipe.rows(0)
    assert (row["path"], row["from_email"], row["subject"]) == (
        "INBOX",
        "ben@supplier.example",
        "Spare parts",
    )


LIVE = (
    "select account_id, id, message_id, from_email, subject, flags from mailsync.messages"
    " where deleted_at is null order by account_id, id"
)
COPIED = "select * from app.mail order by account_id, id"


@QUERYING.of("With SQL")
def test_the_feed_keeps_a_table_of_ones_own_equal_to_the_mirror(
    recipe: Recipe, conn: Database, database_url: str, mailsync: Mailsync, box: Box
) -> None:
    recipe.run(0)
    conn.execute("insert into app.feed_cursor (consumer, xid, seq) values ('crm', '0', 0)")
    read = "select xid::text || ' ' || seq from app.feed_cursor"

    def equal() -> bool:
        recipe.run(2)
        return conn.execute(COPIED).fetchall() == conn.execute(LIVE).fetchall()

    # starting with the first event: batches of a first sync, arrivals, a move and a deletion
    wait_until(equal, "all of the feed")
    assert len(conn.execute(COPIED).fetchall()) == len(LETTERS) - 1 + 3

    # starting with a copy, then following changes
    recipe.run(1)
    assert conn.execute(COPIED).fetchall() == conn.execute(LIVE).fetchall()
    box.server.create(box.user, "Feed")
    for number in range(3):
        box.deliver(Letter("Feed", 0.1, f"feed-{number}@x.example", "x@x.example", OWNER, f"Feed {number}"))
    with psycopg.connect(database_url) as late:
        late.execute("insert into mailsync.sync_events (account_id, type) values (1, 'late')")
        sample.sync(mailsync, OWNER)
        before = one(conn, read)
        recipe.run(2)
        assert one(conn, read) == before, "what a running transaction could precede is held back"
    wait_until(equal, "the new folder")
    box.server.store(box.user, "Feed", "1", r"\Flagged")
    box.do("Feed", "feed-1@x.example", "EXPUNGE")
    box.do("Feed", "feed-2@x.example", "MOVE", "Archive")
    box.deliver(Letter("Feed", 0.1, "feed-3@x.example", "x@x.example", OWNER, "Feed 3"))
    sample.sync(mailsync, OWNER)
    wait_until(equal, "flags, a deletion, a move and a new message")
    assert one(conn, "select flags from app.mail where message_id = 'feed-0@x.example'") == [r"\Flagged"]
    assert one(conn, "select count(*) from app.mail where message_id = 'feed-1@x.example'") == 0

    # two consumers at once do the work of one
    sample.in_bulk(conn, 3_000)
    conn.execute(
        "insert into mailsync.sync_events (account_id, type, message_pk)"
        " select account_id, 'message.created', id from mailsync.messages where uid > 1000000"
    )
    page = recipe.blocks[2].text

    def consume() -> None:
        with psycopg.connect(database_url, autocommit=True) as mine:
            for _ in range(3):
                mine.execute(page)

    with ThreadPoolExecutor() as pool:
        for consumer in [pool.submit(consume) for _ in range(2)]:
            consumer.result()
    wait_until(equal, "many pages")

    # removing an account removes its mail
    assert mailsync("remove-account", OTHER, "--yes").returncode == 0
    wait_until(equal, "the removal")
    assert one(conn, "select count(*) from app.mail where account_id = 2") == 0

    # a restored dump: transaction numbers of another server, far ahead of this one's
    conn.execute("update mailsync.sync_events set xid = '999999999999'")
    assert one(conn, "select count(*) from mailsync.sync_events_settled") == 0
    recipe.run(3)
    wait_until(
        lambda: one(conn, "select count(*) from mailsync.sync_events_settled") > 0, "the feed to go on"
    )
    recipe.run(1)
    assert conn.execute(COPIED).fetchall() == conn.execute(LIVE).fetchall()
    box.deliver(Letter("Feed", 0.1, "feed-4@x.example", "x@x.example", OWNER, "Feed 4"))
    sample.sync(mailsync, OWNER)
    wait_until(equal, "what came after the restore")


def test_a_page_of_the_feed_is_read_from_its_index(
    recipe_of: Callable[[str], Recipe], conn: Database
) -> None:
    feed = recipe_of("With SQL")
    feed.run(0)
    conn.execute("insert into app.feed_cursor (consumer, xid, seq) values ('crm', '100', 0)")
    conn.execute(
        "insert into mailsync.sync_events (account_id, type, xid)"
        " select 1, 'message.created', (100 + n / 10)::text::xid8 from generate_series(1, 20000) n"
    )
    conn.execute("analyze mailsync.sync_events, app.feed_cursor")
    page = feed.blocks[2].text.split("on commit drop as\n")[1].split(";")[0]
    plan = str(conn.execute("explain " + page).fetchall())
    assert "sync_events_cursor" in plan and "Sort" not in plan


@QUERYING.of("Wake up on a change")
def test_the_doorbell_rings(recipe: Recipe, conn: Database, mailsync: Mailsync, box: Box) -> None:
    recipe.run(0)
    conn.execute("listen mail_changed")
    box.deliver(Letter("Projects", 0.1, "bell@x.example", "x@x.example", OWNER, "Bell"))
    sample.sync(mailsync, OWNER)
    assert {bell.channel for bell in conn.notifies(timeout=PATIENCE, stop_after=1)} == {"mail_changed"}
    assert one(conn, "select count(*) from mailsync.messages where message_id = 'bell@x.example'") == 1
    box.do("Projects", "bell@x.example", "EXPUNGE")


@QUERYING.of("Check that the mirror is up to date")
def test_trust(recipe: Recipe, conn: Database, mailsync: Mailsync) -> None:
    sample.sync(mailsync, OWNER)
    row = next(row for row in recipe.rows(0) if row["email"] == OWNER)
    assert row["sync_state"] == "healthy" and row["backfill_remaining"] == 0
    assert row["folders"] == row["folders_complete"] > 0
    assert 0 <= row["priority_sync_lag_seconds"] <= 300 and 0 <= row["overall_sync_lag_seconds"] <= 300

    recipe.run(1)
    assert recipe.rows(2) == [{"invoices": 1}]
    conn.execute(
        "update mailsync.accounts set healthy_until = now() - interval '1 minute'"
    )  # time has passed
    with pytest.raises(psycopg.errors.RaiseException, match=r"not up to date: degraded \(stale\)"):
        recipe.rows(2)
    conn.execute("update mailsync.accounts set healthy_until = now() + interval '1 hour'")
    conn.execute("update mailsync.accounts set overall_synced_at = now() - interval '10 minutes'")
    with pytest.raises(psycopg.errors.RaiseException, match=r"not up to date: healthy \(\), 6\d\d s behind"):
        recipe.rows(2)
    conn.execute("update mailsync.accounts set overall_synced_at = null")  # as before the first complete sync
    with pytest.raises(psycopg.errors.RaiseException, match="not up to date"):
        recipe.rows(2)
    with pytest.raises(psycopg.errors.RaiseException, match="there is no account 77"):
        conn.execute("select app.require_mirror(77)")

    example = one(conn, "select id from mailsync.messages where message_id = 'odd@example.org'")
    assert recipe.rows(3) == [{"error": "date", "messages": 1, "example": example}]


@QUERYING.of("Bodies that were not fetched yet")
def test_bodies_that_were_not_fetched(recipe: Recipe, conn: Database, start_api: StartApi) -> None:
    rows = recipe.rows(0)
    assert len(rows) == len([x for x in LETTERS if not x.headers.keys() & {"List-Id", "Auto-Submitted"}]) - 2
    assert "Delivery date" not in subjects(rows), "it was fetched when the mirror was made"
    (body,) = recipe.rows(1)
    assert body["body_text"].startswith("The calibration certificate") and body["truncated"] is False
    answer = start_api().call("GET", f"/v1/messages/{rows[0]['id']}/body")
    assert answer.status == 200, answer
    assert [row["id"] for row in recipe.rows(0)] == [row["id"] for row in rows[1:]]
    text = one(conn, "select body_text from mailsync.message_bodies where message_pk = %s", rows[0]["id"])
    assert text.startswith("Text of message")
    assert recipe.rows(2) == [], "the parser of this release made them"
    conn.execute("update mailsync.message_bodies set parser_version = parser_version - 1")
    old = [row["message_pk"] for row in recipe.rows(2)]
    assert rows[0]["id"] in old, "after an upgrade, all bodies are old ones"
