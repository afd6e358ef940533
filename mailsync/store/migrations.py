"""Migrations: plain SQL files that record themselves, applied in order, each in one transaction.

A migration ends by inserting its name and the SHA-256 of all that stands above that line into
``schema_migrations``; so ``psql -f`` and ``mailsync migrate`` leave the same trace, and an edited file shows.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg import sql

from mailsync.config import Settings
from mailsync.errors import DatabaseUnavailable, RowsLocked, SchemaError
from mailsync.store.db import Connection
from mailsync.store.statements import outdated, run, translated

log = logging.getLogger(__name__)

_RECORD = "insert into schema_migrations"
_OLDEST_POSTGRES = 15
_RECORDS = "schema_migrations"
_ACCOUNTS = ("accounts", "account_credentials")
_LIMIT = "select pg_catalog.set_config(%s, %s, false)"
_WAIT = "10s"
"""How long a migration waits for a busy table, and how often the holder of the lock is looked up."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``sql/migrations``: its name without ``.sql``, its text and its checksum."""

    name: str
    text: str
    checksum: str


def migrations() -> list[Migration]:
    """All migrations that this program ships, in order."""
    found = []
    for file in sorted(files("mailsync.sql").joinpath("migrations").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            text = file.read_text("utf-8")
            found.append(Migration(file.name.removesuffix(".sql"), text, checksum(text)))
    return found


def checksum(text: str) -> str:
    """The SHA-256 of a migration without the statement that records it."""
    return hashlib.sha256(text.rpartition(_RECORD)[0].encode()).hexdigest()


def applied(conn: Connection) -> dict[str, str]:
    """Name → checksum of what is recorded in this schema; empty before the first migration."""
    if not _has_tables(conn, _RECORDS):
        return {}
    return {row[0]: row[1] for row in run(conn, "applied_migrations")}


def _has_tables(conn: Connection, *tables: str) -> bool:
    found = run(conn, "find_tables", schema=_first_schema(conn), tables=list(tables)).fetchall()
    return len(found) == len(tables)


def pending(conn: Connection) -> list[Migration]:
    """What is not applied yet, in order.

    Raises SchemaError, by name, when an applied migration was edited or is unknown to this program, when the
    tables exist but no migration is recorded, and when this role may not see what is there.
    """
    known, done = migrations(), applied(conn)
    if not done:
        _refuse_hidden(conn)
    # a table `accounts` alone may belong to another program
    if not done and _has_tables(conn, *_ACCOUNTS):
        raise SchemaError(
            "the tables are there, but schema_migrations is missing or empty, as after half a restore;"
            " restore its rows, or the whole dump into an empty database"
        )
    for name in sorted(done.keys() - {migration.name for migration in known}):
        raise SchemaError(
            f"migration {name} is applied but unknown here: this mailsync is older than the schema"
        )
    for migration in known:
        if done.get(migration.name, migration.checksum) != migration.checksum:
            raise SchemaError(f"migration {migration.name} was edited after it was applied; restore its text")
    return [migration for migration in known if migration.name not in done]


def migrate(conn: Connection, settings: Settings) -> list[str]:
    """Create the schema if it is missing, apply the pending migrations and return their names.

    An advisory lock makes concurrent callers take turns; a WARNING names the session that this one waits for.
    Afterwards the session has no statement_timeout. Raises SchemaError as :func:`pending` does, and if other
    roles may create in the schema, because a migration could then call their functions.
    """
    refuse_old_server(conn.info.server_version)
    schema = settings.database_schema
    try:
        # a migration may take as long as it needs, but does not wait long for a busy table
        conn.execute(_LIMIT, ["statement_timeout", "0"])
        conn.execute(_LIMIT, ["lock_timeout", _WAIT])
        _acquire_lock(conn, schema)
        try:
            _create_schema(conn, schema)
            todo = pending(conn)
            if todo:
                _refuse_creators(conn)
            for migration in todo:
                with conn.transaction():
                    conn.execute(migration.text.encode())
        finally:
            run(conn, "unlock_migrations", schema=schema)
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseUnavailable(
            f"a migration waited {_WAIT} for a table that another transaction keeps locked, and was undone;"
            " run `mailsync migrate` again"
        ) from error
    except psycopg.Error as error:
        raise translated(error) from error
    return [migration.name for migration in todo]


def _acquire_lock(conn: Connection, schema: str) -> None:
    """Wait for the lock for as long as it takes, and log each session that holds it meanwhile."""
    row = run(conn, "try_migration_lock", schema=schema).fetchone()
    named = 0
    while not (row and row[0]):
        holder = run(conn, "migration_lock_holder", schema=schema).fetchone()
        if holder and holder[0] != named:
            named, session = holder
            log.warning(
                "Waiting for %s, which holds the migration lock; if it should not, end it with:"
                " select pg_terminate_backend(%d)",
                session,
                named,
                extra={"action": "migrate", "backend_pid": named},
            )
        try:
            row = run(conn, "queue_for_migration_lock", schema=schema).fetchone()
        except RowsLocked:
            # the queue outlasted lock_timeout: look who holds the lock now, and queue again
            continue


def check(conn: Connection) -> None:
    """Raise SchemaError unless the schema is exactly the one that this program expects."""
    refuse_old_server(conn.info.server_version)
    missing = pending(conn)
    if missing:
        names = ", ".join(migration.name for migration in missing)
        raise SchemaError(outdated(f"it lacks migration {names}"))


def refuse_old_server(version: int) -> None:
    """Raise SchemaError for a Postgres that lacks what views and keys need; `version` as 150004."""
    if version // 10_000 < _OLDEST_POSTGRES:
        raise SchemaError(
            f"Postgres {version // 10_000} is too old; mailsync needs {_OLDEST_POSTGRES} or newer"
        )


def _refuse_hidden(conn: Connection) -> None:
    """Tell a schema that this role may not see from one that is not there."""
    first = _first_schema(conn)
    row = run(conn, "find_hidden", schema=first).fetchone()
    role, is_closed, has_hidden_rows = row or ("", False, False)
    if is_closed:
        raise SchemaError(
            f"schema {first} is there, but role {role} may not use it; connect as its owner, or"
            f" grant usage on schema {first} to {role}"
        )
    if has_hidden_rows:
        raise SchemaError(
            f"row level security hides the rows of schema {first} from role {role}; connect as the owner of"
            " its tables, or as a role with bypassrls"
        )


def creators(conn: Connection) -> list[str]:
    """The roles, quoted for SQL, that may create in the schema beside its owner, superusers and this role."""
    return [str(row[0]) for row in run(conn, "find_creators", schema=_first_schema(conn))]


def _refuse_creators(conn: Connection) -> None:
    others = ", ".join(creators(conn))
    if others:
        row = run(conn, "quoted_schema").fetchone()
        schema = row[0] if row else ""
        raise SchemaError(
            f"{others} may create in schema {schema}, so that a migration could run functions of others;"
            f" revoke create on schema {schema} from {others}; then run `mailsync migrate` again"
        )


def _first_schema(conn: Connection) -> str:
    # a search_path in the URL wins, so the schema that is meant is the first that search_path names
    try:
        path = conn.execute("select pg_catalog.current_setting('search_path')").fetchone()
    except psycopg.Error as error:
        raise translated(error) from error
    return str(path[0]).split(",")[0].strip().strip('"') if path else ""


def _create_schema(conn: Connection, schema: str) -> None:
    wanted = _first_schema(conn) or schema
    # not "if not exists": that asks for the right to create even where nothing is to be made
    there = conn.execute("select 1 from pg_namespace where nspname = %s", [wanted]).fetchone()
    if there is None:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(wanted)))
