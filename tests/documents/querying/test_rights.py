"""Recipes that let others read: roles, Supabase's users, Realtime."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.documents.querying import sample
from tests.documents.querying.asking import QUERYING, Database, one, subjects
from tests.documents.querying.sample import OTHER
from tests.documents.running import Recipe
from tests.support.programs import Mailsync

READABLE = ("accounts", "folders", "messages", "attachments", "message_bodies", "sync_events",
            "account_status", "account_locks", "sync_events_settled")  # fmt: skip
CLOSED = (
    "account_credentials",
    "schema_migrations",
    "fetch_attempts",
    "workers",
    "metric_counters",
    "upkeep",
)


def refused(conn: Database, statement: str) -> bool:
    """Whether the statement fails because a right is missing."""
    with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        conn.execute(statement)
        return False
    return True


@QUERYING.of("A role that only reads")
def test_a_role_that_only_reads(recipe: Recipe, conn: Database, database_url: str) -> None:
    role = f"mail_reader_{conn.info.dbname}"  # roles are shared by all tests
    recipe.run(0, {"mail_reader": role})
    try:
        sample.in_bulk(conn)
        # after the rows: a pending list of the index would make it too expensive for the planner
        conn.execute("create index on mailsync.messages using gin (reference_ids)")
        login = {"user": role, "password": "a long random password"}
        # as \password does
        conn.execute(f"alter role {role} password 'a long random password'".encode())
        with psycopg.connect(database_url, autocommit=True, row_factory=dict_row, **login) as reader:
            everything = one(conn, "select count(*) from mailsync.messages")
            assert one(reader, "select count(*) from messages") == everything
            assert one(reader, "select count(*) from account_status where sync_state is not null") == 2
            for name in (*READABLE, "sync_runs"):
                assert one(reader, f"select count(*) from {name}") == one(
                    conn, f"select count(*) from mailsync.{name}"
                ), name
            plan = reader.execute("explain select id from messages where reference_ids @> array['7@bulk']")
            assert "messages_reference_ids_idx" in str(plan.fetchall())
            assert all(refused(reader, f"select * from {name}") for name in CLOSED)
            reader.execute("set default_transaction_read_only = off")
            assert refused(reader, "delete from messages")
            assert refused(reader, "update accounts set paused_at = now()")
            assert one(reader, "show statement_timeout") == "30s"
            reader.execute("set statement_timeout = '50ms'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                reader.execute("select pg_sleep(60)")
    finally:
        conn.execute(f"drop owned by {role}")
        conn.execute(f"drop role {role}")


ADA, EVE = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


def like_supabase(conn: Database) -> None:
    """Create a Supabase project's roles (shared by all tests, so they stay), auth.uid() and publication."""
    for role in ("anon", "authenticated"):
        conn.execute(
            f"do $$ begin create role {role}; exception when duplicate_object or unique_violation then end $$"
        )
    conn.execute(
        """
        create schema auth;
        create function auth.uid() returns uuid language sql stable return
            (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
        grant usage on schema auth to anon, authenticated;
        create publication supabase_realtime;
        """
    )


def as_user(conn: Database, user: str, role: str = "authenticated") -> None:
    """Continue as PostgREST does for a signed-in user."""
    conn.execute("select set_config('request.jwt.claims', %s, false)", [f'{{"sub": "{user}"}}'])
    conn.execute(f"set role {role}")


def key_of(table: str) -> str:
    """The column with the account of a row."""
    return "id" if table == "accounts" else "account_id"


@QUERYING.of("Supabase: each user sees their own mailboxes")
def test_each_user_sees_their_own_mailboxes(
    recipe: Recipe, conn: Database, database_url: str, mailsync: Mailsync
) -> None:
    like_supabase(conn)
    recipe.borrow("Search for words", 0)
    recipe.borrow("Search for words", 1)
    recipe.run(0)
    recipe.run(1)
    conn.execute("insert into app.mailbox_owners values (%s, 1), (%s, 2)", [ADA, EVE])
    sample.in_bulk(conn)
    totals = {
        name: {row["id"]: row["count"] for row in conn.execute(
            f"select {key_of(name)} as id, count(*) from mailsync.{name} group by 1"
        )}
        for name in READABLE if name != "account_locks"
    }  # fmt: skip
    for user, own in ((ADA, 1), (EVE, 2)):
        as_user(conn, user)
        for name, counts in totals.items():
            seen = conn.execute(f"select {key_of(name)} as id, count(*) from mailsync.{name} group by 1")
            assert {row["id"]: row["count"] for row in seen} == {
                k: n for k, n in counts.items() if k == own
            }, name
        assert all(refused(conn, f"select * from mailsync.{name}") for name in CLOSED)
        assert refused(conn, "delete from mailsync.messages")
        assert refused(conn, "insert into app.mailbox_owners values (gen_random_uuid(), 1)")
        assert [row["account_id"] for row in conn.execute("select * from app.mailbox_owners")] == [own]
        found = conn.execute("select * from app.search_mail('calibration')").fetchall()
        assert subjects(found) == (["Calibration day", "Calibration draft failed"] if own == 1 else [])
        if own == 1:
            newest = "select id from mailsync.messages where account_id = 1 and deleted_at is null"
            plan = conn.execute(f"explain {newest} order by internal_date desc, id desc limit 5").fetchall()
            assert "messages_newest" in str(plan)
        conn.execute("reset role")
    as_user(conn, "33333333-3333-3333-3333-333333333333")
    assert one(conn, "select count(*) from mailsync.messages") == 0
    search = (
        "explain select id from mailsync.messages where account_id = 1 and deleted_at is null and"
        " app.mail_words(subject, from_name, from_email, to_names, cc_names)"
        " @@ to_tsquery('simple', 'calibration')"
    )
    assert "messages_words" not in str(conn.execute(search).fetchall()), "as the text says"
    conn.execute("reset role")
    assert "messages_words" in str(conn.execute(search).fetchall())
    as_user(conn, ADA, "anon")
    assert all(refused(conn, f"select * from mailsync.{name}") for name in (*READABLE, *CLOSED))
    assert refused(conn, "select * from app.search_mail('calibration')")
    conn.execute("reset role")
    assert mailsync("remove-account", OTHER, "--yes").returncode == 0
    assert one(conn, "select count(*) from app.mailbox_owners") == 1


@QUERYING.of("Supabase: Realtime")
def test_realtime(recipe: Recipe, conn: Database) -> None:
    like_supabase(conn)
    recipe.run(0)
    published = conn.execute("select pubname, schemaname, tablename from pg_publication_tables").fetchall()
    assert [tuple(row.values()) for row in published] == [("supabase_realtime", "mailsync", "sync_events")]
    # events are never updated and contain no mail
    kinds = conn.execute("select distinct k from mailsync.sync_events, jsonb_object_keys(data) k").fetchall()
    assert not {row["k"] for row in kinds} & {"subject", "from_email", "body_text"}
