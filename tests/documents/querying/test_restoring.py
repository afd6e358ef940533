"""The documented backup, with every recipe of docs/howto in use: dumped, restored, and synced on.

It runs on Debian's Postgres, which has all the extensions that the recipes use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.documents import console, recipes
from tests.documents.console import Shell
from tests.documents.querying import sample
from tests.documents.querying.asking import QUERYING, Database, one
from tests.documents.querying.sample import OWNER, Box, Letter
from tests.documents.querying.test_rights import like_supabase
from tests.support import debian_postgres as debian_server
from tests.support import run_directory
from tests.support.dovecot import Dovecot
from tests.support.postgres import PostgresServer
from tests.support.programs import Mailsync

DOCUMENT = "docs/howto/back_up.rst"
URL = "postgresql://mailsync:password@db.example.com:5432/mailsync"

ADDED = """
    select 'index', indexname, indexdef from pg_indexes where schemaname in ('mailsync', 'app')
    union all
    select 'constraint', conname, pg_get_constraintdef(oid) from pg_constraint
    where connamespace in ('mailsync'::regnamespace, 'app'::regnamespace)
    union all
    select 'policy', tablename || '.' || policyname, concat_ws(' ', roles, cmd, qual) from pg_policies
    union all
    select 'trigger', tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
    union all
    select 'function', proname, pg_get_functiondef(oid) from pg_proc
    where pronamespace in ('mailsync'::regnamespace, 'app'::regnamespace)
    union all
    select 'relation', relname, concat_ws(' ', relkind, relrowsecurity, reloptions, array(
        select concat_ws(' ', x.grantee::regrole, x.privilege_type) from aclexplode(relacl) x
        where x.grantee <> relowner order by 1)) from pg_class
    where relnamespace in ('mailsync'::regnamespace, 'app'::regnamespace)
    order by 1, 2, 3
"""
PUBLISHED = "select pubname, schemaname, tablename from pg_publication_tables"


@pytest.fixture(scope="module")
def old(
    debian_postgres: PostgresServer, dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Box, str]]:
    """A mirror with every recipe in use: its URL, the mailbox, and the name of the role that reads."""
    with debian_postgres.new_database(template=None) as url, connected(url) as conn:
        debian_server.migrate(url)
        # roles belong to the server, which other tests use, too
        role = f"mail_reader_{conn.info.dbname}"
        program = Mailsync(tmp_path_factory.mktemp("old"), url)
        try:
            box = sample.build(dovecot, program)
            like_supabase(conn)
            for block in QUERYING.blocks:
                try:
                    conn.execute(re.sub(r"\bmail_reader\b", role, block.text).encode())
                except psycopg.Error as error:
                    error.add_note(block.place)
                    raise
            # events after the recipes have transaction numbers of the old server
            box.deliver(Letter("Projects", 0.2, "before@x.example", "x@x.example", OWNER, "Before the dump"))
            sample.sync(program, OWNER)
        finally:
            program.close()
        yield url, box, role
        conn.execute(f"drop owned by {role}; drop role {role}")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell with the programs of the server's own release."""
    home = tmp_path / "shell"
    home.mkdir()
    path = f"{debian_server.programs()}:{os.environ['PATH']}"
    with closing(
        Shell(home, {"PATH": path, "LANG": "C.UTF-8", run_directory.VARIABLE: str(run_directory.current())})
    ) as shell:
        yield shell


@pytest.fixture
def new_url(debian_postgres: PostgresServer, old: tuple[str, Box, str]) -> Iterator[str]:
    """An empty database for the restore."""
    with debian_postgres.new_database(template=None) as url:
        yield url
        with connected(url) as conn:
            conn.execute(f"drop owned by {old[2]}")


@pytest.fixture
def restored(tmp_path: Path, new_url: str) -> Iterator[Mailsync]:
    """The command line on the new database."""
    directory = tmp_path / "restored"
    directory.mkdir()
    program = Mailsync(directory, new_url)
    yield program
    program.close()


def connected(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


@pytest.fixture
def documented(shell: Shell, old: tuple[str, Box, str], new_url: str) -> Callable[[str], None]:
    """Run the commands of the page that match; each has to succeed with the documented output."""

    def run(pattern: str) -> None:
        found = [
            command
            for block in recipes.blocks(DOCUMENT, "console")
            for command in console.commands(block)
            if re.match(pattern, command.text)
        ]
        assert found, pattern
        for command in found:
            text = command.text.replace(f"{URL}_new", new_url).replace(URL, old[0])
            said = shell.run(f"{text}\necho exit $?")
            assert console.matches([*command.answer, "exit 0"], said), (command, said)

    shell.run(f"DATABASE_URL='{old[0]}'; NEW='{new_url}'")
    return run


def everything(conn: Database) -> list[Any]:
    return [tuple(row.values()) for row in conn.execute(ADDED)]


@pytest.mark.long
def test_a_restored_dump_is_whole_and_is_synced_on(
    old: tuple[str, Box, str], new_url: str, restored: Mailsync, documented: Callable[[str], None]
) -> None:
    box, role = old[1:]
    with connected(old[0]) as conn:
        before, published = everything(conn), conn.execute(PUBLISHED).fetchall()
        rows = one(conn, "select count(*) from mailsync.messages")
    assert published
    documented(r"\(umask 077; pg_dump|pg_dumpall")
    documented(r"pg_restore|psql")
    with connected(new_url) as conn:
        assert everything(conn) == before
        assert conn.execute(PUBLISHED).fetchall() == published
        assert one(conn, "select count(*) from mailsync.messages") == rows

        checked = restored("preflight", "--production")
        assert checked.returncode == 0, checked
        assert all(line.startswith("✓") for line in checked.stdout.splitlines())
        verified = restored("verify", OWNER)
        assert verified.returncode == 0, verified

        goes_on(conn, new_url, restored, box, role)


def goes_on(conn: Database, url: str, program: Mailsync, box: Box, role: str) -> None:
    """New mail and flags arrive with their events, the trigger notifies, and the role can read, as before."""
    last = one(conn, "select coalesce(max(seq), 0) from mailsync.sync_events_settled")
    assert last
    with connected(url) as bell:
        bell.execute("listen mail_changed")
        box.deliver(Letter("Projects", 0.1, "after@x.example", "x@x.example", OWNER, "After the restore"))
        box.server.store(box.user, "Projects", "1", r"\Flagged")
        sample.sync(program, OWNER)
        assert next(bell.notifies(timeout=run_directory.PATIENCE, stop_after=1)).channel == "mail_changed"
    found = "select is_flagged from mailsync.messages where deleted_at is null and %s"
    assert one(conn, found % "message_id = 'after@x.example'") is False
    assert one(
        conn,
        found % "folder_id = (select id from mailsync.folders where path = 'Projects') and uid = 1",
    )
    events = (
        f"select type from mailsync.sync_events_settled where xid > '0' and seq > {last} order by xid, seq"
    )
    run_directory.wait_until(
        lambda: {row["type"] for row in conn.execute(events)} >= {"message.created", "message.flags_changed"},
        "the events",
    )
    assert program("verify", OWNER).returncode == 0
    with psycopg.connect(url, user=role, password="a long random password") as reader:
        (messages,) = reader.execute("select count(*) from mailsync.messages").fetchone() or (0,)
        assert messages == one(conn, "select count(*) from mailsync.messages")


@pytest.mark.long
def test_a_dump_of_the_schemas_that_are_ones_own_goes_into_another_project(
    old: tuple[str, Box, str],
    new_url: str,
    restored: Mailsync,
    documented: Callable[[str], None],
    shell: Shell,
) -> None:
    with connected(old[0]) as conn:
        before = everything(conn)
    with connected(new_url) as conn:
        like_supabase(conn)
        conn.execute("create extension pg_trgm")
        documented(r"pg_dump .*--schema")
        shell.run("mv supabase.dump mailsync.dump")
        documented(r"pg_restore|psql")
        conn.execute("alter publication supabase_realtime add table mailsync.sync_events")
        assert everything(conn) == before
        checked = restored("preflight", "--production")
        assert checked.returncode == 0, checked
        goes_on(conn, new_url, restored, old[1], old[2])


KEYS = """
    select conname as name from pg_constraint
    where connamespace = 'mailsync'::regnamespace and contype in ('p', 'u', 'f')
"""
INDEXES = """
    select c.relname as name from pg_index i join pg_class c on c.oid = i.indexrelid
    where c.relnamespace = 'mailsync'::regnamespace
      and not exists (select from pg_constraint where conindid = i.indexrelid)
"""
OWN = {
    "messages_thread", "messages_links", "messages_words", "message_bodies_words", "attachments_size",
    "messages_subject_parts", "messages_recipients",
}  # fmt: skip


def named_in(conn: Database, query: str) -> set[str]:
    return {row["name"] for row in conn.execute(query)}


@pytest.mark.long
def test_each_thing_that_half_a_restore_lacks_is_named(
    old: tuple[str, Box, str], new_url: str, restored: Mailsync, shell: Shell
) -> None:
    shell.run(f"pg_dump --format=custom --schema=mailsync --file=mailsync.dump '{old[0]}'")
    said = shell.run(f"pg_restore --no-owner --exit-on-error --dbname='{new_url}' mailsync.dump")
    assert said[0].startswith("pg_restore: error: could not execute query")
    with connected(old[0]) as conn, connected(new_url) as half:
        keys, indexes = (named_in(conn, kind) - named_in(half, kind) for kind in (KEYS, INDEXES))
        tables = one(half, "select count(*) from pg_tables where schemaname = 'mailsync' and not rowsecurity")
    lost = indexes - OWN
    assert keys and lost and tables == 14
    checked = restored("preflight", "--production")
    failed = [line for line in checked.stdout.splitlines() if line.startswith("✗")]
    assert checked.returncode == 1
    named = {
        kind: {m[1] for line in failed if (m := re.match(rf"✗ Schema: {kind} (\w+)\b", line))}
        for kind in ("constraint", "index", "row level security of")
    }
    assert named["constraint"] == keys
    assert named["index"] == lost
    assert len(named["row level security of"]) == tables
    # rights come last in a dump
    rights = [line for line in failed if "everybody may execute function" in line]
    assert any("account_lock_class(); revoke execute" in line for line in rights)
    assert len(failed) == len(keys) + len(lost) + tables + len(rights)
