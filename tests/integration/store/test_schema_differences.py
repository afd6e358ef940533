"""The schema of a database compared with that of the migrations, on both releases of Postgres."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from mailsync.errors import SchemaError
from mailsync.store import catalogue, db, messages, migrations, schema_diff
from mailsync.store.db import Connection
from tests import ROOT
from tests.support.stored import message, new_account, new_folder, settings_for


@pytest.fixture(params=["database_url", "debian_database_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def conn(url: str) -> Iterator[Connection]:
    with db.connect(settings_for(url), "test") as conn:
        yield conn


class Damage(NamedTuple):
    """A change of the schema, the reported difference, and whether services refuse to start."""

    done: str
    what: str
    is_harmful: bool = True
    repaired: bool = True


DAMAGES = (
    Damage("drop index messages_newest", "index messages_newest is missing", False),
    Damage(
        "drop index messages_newest; create index messages_newest on messages (account_id)",
        "index messages_newest is btree (account_id) of messages",
        False,
    ),
    Damage(
        "update pg_index set indisvalid = false where indexrelid = 'messages_id'::regclass",
        "index messages_id is not valid",
        False,
    ),
    Damage(
        "drop index messages_id; create unique index messages_id on messages (id)",
        "index messages_id is unique btree (id) of messages",
    ),
    Damage("alter table messages drop column in_reply_to", "column messages.in_reply_to is missing"),
    Damage("alter table messages drop column is_seen", "column messages.is_seen is missing"),
    Damage(
        "alter table accounts alter imap_port type bigint",
        "column accounts.imap_port is bigint not null, not integer not null",
    ),
    Damage(
        "alter table messages alter is_automated drop default, alter is_automated drop not null",
        "column messages.is_automated is boolean, not boolean default false not null",
    ),
    Damage(
        "alter table folders alter delimiter set not null",
        "column folders.delimiter is text not null, not text",
    ),
    Damage(
        "alter table messages alter id drop identity",
        "column messages.id is bigint not null, not bigint generated always as identity not null",
    ),
    Damage(
        "alter table messages alter is_draft drop expression",
        "column messages.is_draft is boolean not null, not boolean generated always as"
        " (('\\Draft'::text = ANY (flags))) stored not null",
    ),
    Damage(
        "alter table attachments drop constraint attachments_account_id_message_pk_fkey",
        "constraint attachments_account_id_message_pk_fkey of attachments is missing",
    ),
    Damage(
        "alter table attachments drop constraint attachments_account_id_message_pk_fkey,"
        " add constraint attachments_account_id_message_pk_fkey foreign key (account_id, message_pk)"
        " references messages (account_id, id) on delete cascade not valid",
        "constraint attachments_account_id_message_pk_fkey of attachments is not valid",
    ),
    Damage(
        "alter table sync_events drop constraint sync_events_pkey,"
        " add constraint sync_events_pkey unique (seq)",
        "constraint sync_events_pkey of sync_events is UNIQUE (seq), not PRIMARY KEY (account_id, seq)",
    ),
    Damage("drop view sync_events_settled", "view sync_events_settled is missing"),
    Damage(
        "drop view sync_events_settled; create view sync_events_settled with (security_invoker = true) as"
        " select account_id, seq, xid, type, folder_id, message_pk, occurred_at from sync_events",
        "view sync_events_settled lacks data jsonb",
    ),
    Damage(
        "create or replace view sync_events_settled with (security_invoker = true) as"
        " select * from sync_events",
        "view sync_events_settled has another definition",
    ),
    Damage(
        "alter view account_status reset (security_invoker)",
        "view account_status is not security_invoker: it shows its owner's rows to everybody",
        False,
    ),
    Damage(
        "create or replace function account_lock_class() returns integer stable language sql return 1",
        "function account_lock_class() has another definition",
    ),
    Damage(
        "grant execute on function account_lock_class() to public",
        "everybody may execute function account_lock_class()",
        False,
    ),
    Damage("alter table folders disable row level security", "row level security of folders is off", False),
    Damage("grant insert, truncate on messages to public", "public may insert, truncate on messages", False),
    Damage("grant select on account_credentials to anon", "anon may select on account_credentials", False),
    Damage(
        "grant create on schema mailsync to public",
        "public may create in schema mailsync, where statements of mailsync look for functions",
        False,
    ),
    Damage(
        "grant usage, create on schema mailsync to anon",
        "anon may create in schema mailsync, where statements of mailsync look for functions",
        False,
    ),
    Damage("drop table upkeep", "table upkeep is missing", repaired=False),
)


def test_each_difference_is_named_and_its_remedy_ends_it(conn: Connection) -> None:
    conn.execute(
        "do $$ begin create role anon; exception when duplicate_object or unique_violation then end $$"
    )
    assert schema_diff.differences(conn) == []
    for damage in DAMAGES:
        conn.execute(damage.done.encode())
        found = schema_diff.differences(conn)
        assert damage.what in [each.what for each in found], damage
        if len(found) > 1:  # dropping a column drops its dependents
            assert "drop column" in damage.done, found
        assert all(each.is_harmful for each in found) == damage.is_harmful or len(found) > 1, damage
        if damage.is_harmful:
            with pytest.raises(SchemaError, match="`mailsync preflight` says what to do about each"):
                schema_diff.check(conn)
        else:
            assert schema_diff.check(conn) == found
        if damage.repaired:
            for difference in found:
                put_right(conn, difference.remedy)
            assert schema_diff.differences(conn) == [], damage


def put_right(conn: Connection, remedy: str) -> None:
    """Apply the remedy of a difference, as a person would in psql."""
    for step in remedy.removeprefix("restore it from a dump, or add it, empty: ").split("; "):
        run = re.fullmatch(
            r"with mailsync first on search_path run its `create (\w+)` in (\S+)"
            r"( as `create or replace \w+`)?",
            step,
        )
        conn.execute((made_by(*run.groups()) if run else step).encode())


def made_by(kind: str, file: str, replace: str | None) -> str:
    """A statement of a migration. One object of each kind is damaged here."""
    name = {"view": "sync_events_settled", "function": "account_lock_class"}[kind]
    found = re.search(rf"^create {kind} {name}\b.*?;\n", (ROOT / file).read_text(), re.M | re.S)
    assert found
    return found[0].replace("create ", "create or replace ", 1) if replace else found[0]


def test_what_people_add_is_no_difference(conn: Connection) -> None:
    conn.execute("""
        create index own on messages (subject);
        alter table messages add column own text not null default '' check (own <> 'x');
        create view own_view as select id, own from messages;
        create table own_table (id bigint primary key references accounts (id));
        create function own_function() returns trigger language plpgsql as 'begin return null; end';
        create trigger own_trigger after insert on sync_events
            for each statement execute function own_function();
        create policy own_policy on messages for select using (true);
        grant select on messages to public;
        alter index messages_newest set (fillfactor = 70);
        alter table messages set (autovacuum_vacuum_scale_factor = 0.01);
        alter table messages alter subject set statistics 500;
        comment on column messages.subject is 'ours';
    """)
    assert schema_diff.differences(conn) == []


def test_what_a_session_sets_makes_no_difference(conn: Connection) -> None:
    conn.execute("""
        set quote_all_identifiers = on; set standard_conforming_strings = off; set datestyle = 'German';
        set intervalstyle = 'iso_8601'; set timezone = 'Asia/Kathmandu'; set bytea_output = 'escape'
    """)
    assert schema_diff.differences(conn) == []
    assert conn.execute("show datestyle").fetchone() == ("German, DMY",)


def test_on_a_newer_postgres_no_service_ends_for_other_words() -> None:
    missing = schema_diff.Difference("table accounts is missing", "")
    worded = schema_diff.Difference("constraint accounts_check of accounts is CHECK (a), not CHECK ((a))", "")
    newest = catalogue.newest_release()
    assert schema_diff.tolerant([missing, worded], newest) == [missing, worded]
    assert [each.is_harmful for each in schema_diff.tolerant([missing, worded], newest + 1)] == [True, False]


def test_many_differences_are_one_line_for_a_service(conn: Connection) -> None:
    conn.execute("drop table messages, upkeep, workers, metric_counters cascade")
    with pytest.raises(SchemaError) as caught:
        schema_diff.check(conn)
    assert str(caught.value) == (
        "the database's schema is not the one that the migrations make (table messages is missing,"
        " table metric_counters is missing, table upkeep is missing and 3 more);"
        " `mailsync preflight` says what to do about each"
    )


def test_rows_that_were_copied_without_their_numbers_being_taken_are_found(url: str) -> None:
    settings = settings_for(url)
    with db.connect(settings, "test") as conn:
        folder = new_folder(conn, new_account(conn, settings))
        with db.transaction(conn):
            messages.store_batch(conn, folder, [message(uid) for uid in range(1, 11)], announce=True)
        conn.execute(
            "insert into sync_runs (account_id, trigger, worker) values (%s, 'cli', 'w')", [folder.account_id]
        )
        assert schema_diff.differences(conn) == []
        identities = [name for name, each in catalogue.expected()["column"].items() if "identity" in each]
        for name in identities:
            table, _, column = name.partition(".")
            conn.execute(f"alter table {table} alter {column} restart".encode())
        found = schema_diff.check(conn)
        assert sorted(each.what.split()[0] for each in found) == sorted(identities)
        for difference in found:
            assert re.fullmatch(
                r"\S+ is behind: its sequence has not reached \d+, which is in use", difference.what
            )
            put_right(conn, difference.remedy)
        assert schema_diff.differences(conn) == []


@pytest.mark.parametrize("lost", ["drop table schema_migrations", "delete from schema_migrations"])
def test_tables_without_a_record_of_their_migrations_are_half_a_restore(database_url: str, lost: str) -> None:
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        conn.execute(lost.encode())
        for act in (lambda: migrations.check(conn), lambda: migrations.migrate(conn, settings)):
            with pytest.raises(SchemaError, match="missing or empty, as after an incomplete restore"):
                act()


def test_a_schema_of_another_name_is_compared_the_same_way(empty_database_url: str) -> None:
    settings = settings_for(empty_database_url, database_schema="order")
    with db.connect(settings, "test") as conn:
        migrations.migrate(conn, settings)
        assert schema_diff.differences(conn) == []
        conn.execute("drop index messages_id")
        (found,) = schema_diff.differences(conn)
        assert found.remedy == 'create index concurrently messages_id on "order".messages using btree (id)'
        conn.execute(found.remedy.encode())
        assert schema_diff.differences(conn) == []
