"""Recipes that search, and the indexes that they add."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.documents.querying import sample
from tests.documents.querying.asking import QUERYING, Database, one, subjects
from tests.documents.querying.sample import OWNER, Box, Letter
from tests.documents.running import Recipe
from tests.support.programs import Mailsync


@QUERYING.of("Search for words")
def test_full_text_search(recipe: Recipe, conn: Database) -> None:
    for number in (0, 1, 2):
        recipe.run(number)
    # one by its body, one by its subject; the draft is excluded by the minus
    found = ["Calibration day", "Delivery date"]
    assert subjects(recipe.rows(3)) == found
    search = recipe.blocks[3].text
    for words, subject in (("weiss", None), ("Weiß", "Prüfprotokoll für Charge 12"), ("prospect", None),
                           ("supplier", "Re: Delivery date")):  # fmt: skip
        asked = conn.execute(search.replace("calibration -draft", words)).fetchall()
        assert (subject in subjects(asked)) if subject else not asked, words
    sample.in_bulk(conn)
    assert "messages_words" in recipe.plan(3) and "message_bodies_words" in recipe.plan(3)
    assert subjects(recipe.rows(3)) == found


def test_no_text_is_too_long_for_the_index_of_words(
    recipe_of: Callable[[str], Recipe], conn: Database
) -> None:
    words = recipe_of("Search for words")
    for number in (0, 1, 2):
        words.run(number)
    message = one(conn, "select id from mailsync.messages where message_id = %s", sample.READ_BODY)
    several = (
        "".join(f"{chr(0x20000 + n)}-" for n in range(60_000)),
        "".join(f"{chr(0x4E00 + n % 20000)}{n} " for n in range(60_000)),
    )
    for text in (*several, "x.example/" * 60_000, "http://a" + "/b" * 100_000 + " c" * 100_000):
        conn.execute(
            "update mailsync.message_bodies set body_text = %s where message_pk = %s", [text, message]
        )
        conn.execute("update mailsync.messages set to_names = array[%s] where id = %s", [text, message])


@QUERYING.of("Search for parts of words")
def test_search_for_parts_of_words(recipe: Recipe, conn: Database) -> None:
    # without an index the answer is the same, only slower
    assert subjects(recipe.rows(2)) == ["Prüfprotokoll für Charge 12"]
    if not one(conn, "select count(*) from pg_available_extensions where name = 'pg_trgm'"):
        with pytest.raises(psycopg.errors.FeatureNotSupported):  # the embedded Postgres lacks pg_trgm
            recipe.run(0)
        for number, error in ((1, psycopg.errors.UndefinedObject), (3, psycopg.errors.UndefinedFunction)):
            with pytest.raises(error):
                recipe.run(number)
        return
    recipe.run(0)
    recipe.run(1)
    assert subjects(recipe.rows(3)) == ["Offer for your warehouse"]
    sample.in_bulk(conn)
    for number in (2, 3):
        assert "messages_subject_parts" in recipe.plan(number)


@QUERYING.of("Everything with one contact")
def test_everything_with_one_contact(recipe: Recipe, conn: Database) -> None:
    assert [(row["direction"], row["subject"]) for row in recipe.rows(0)] == [
        ("received", "Prüfprotokoll für Charge 12"),
        ("received", "Invoice 88"),
        ("sent", "Offer for your warehouse"),  # as a copy
        ("received", "Re: Quote for 40 sensors"),
        ("sent", "Re: Quote for 40 sensors"),
        ("received", "Quote for 40 sensors"),
    ]
    contacts = {row["contact"]: row for row in recipe.rows(2)}
    assert contacts.keys() == {
        "ada@customer.example", "ben@supplier.example", "cora@prospect.example", "dora@partner.example",
    }  # fmt: skip
    ada, cora = contacts["ada@customer.example"], contacts["cora@prospect.example"]
    dates = {
        row["message_id"]: row["internal_date"]
        for row in conn.execute(
            "select message_id, internal_date from mailsync.messages where deleted_at is null"
        )
    }
    assert ada["first_contact"] == dates["quote-1@customer.example"]
    assert ada["last_heard"] == ada["last_contact"] == dates["protocol@customer.example"]
    assert ada["last_written"] == dates["offer-1@example.com"]
    assert cora["last_heard"] is None and cora["last_written"] == dates["offer-2@example.com"]
    recipe.run(1)
    sample.in_bulk(conn)
    plan = recipe.plan(0)
    assert "messages_sender" in plan and "messages_recipients" in plan


INDEXES = (
    ("Threads", 1), ("One whole conversation", 1), ("Attachments of a kind and size", 1),
    ("Search for words", 0), ("Search for words", 1), ("Search for words", 2),
    ("Everything with one contact", 1),
)  # fmt: skip


def test_with_all_indexes_flags_change_in_place_mail_is_stored_and_migrate_leaves_them_alone(
    recipe_of: Callable[[str], Recipe], conn: Database, mailsync: Mailsync, box: Box
) -> None:
    for section, number in INDEXES:
        recipe_of(section).run(number)
    query = "select count(*) from pg_indexes where schemaname = 'mailsync'"
    before = one(conn, query)
    # dead rows of the sync, which another session may have kept from being pruned, could fill the page
    conn.execute("vacuum mailsync.messages")
    with conn.transaction():
        conn.execute(
            r"update mailsync.messages set flags = '{\\Flagged}', modseq = 9, updated_at = now(),"
            " body_fetched_at = now() where message_id = 'quote-3@customer.example'"
        )
        changed = "select pg_stat_get_xact_tuples_%s('mailsync.messages'::regclass)"
        assert one(conn, changed % "updated") == one(conn, changed % "hot_updated") == 1
    box.deliver(Letter("Projects", 0.1, "more@x.example", "x@x.example", OWNER, "More words"))
    sample.sync(mailsync, OWNER)
    assert one(conn, "select count(*) from mailsync.messages where message_id = 'more@x.example'") == 1
    box.do("Projects", "more@x.example", "EXPUNGE")
    assert mailsync("migrate").returncode == 0
    assert one(conn, query) == before
