"""Migrations: plain SQL files that record themselves, applied in order, each in one transaction.

A migration ends by inserting its name and the SHA-256 of all text above that line into ``schema_migrations``.
Therefore ``psql -f`` and ``mailsync migrate`` have the same effect, and an edited file is noticed.
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
from mailsync.store.session_settings import LOCK_TIMEOUT
from mailsync.store.statements import outdated, run, translated

log = logging.getLogger(__name__)

_RECORD = "insert into schema_migrations"
_OLDEST_POSTGRES = 15
_RECORDS = "schema_migrations"
_ACCOUNTS = ("accounts", "account_credentials")
_LIMIT = "select pg_catalog.set_config(%s, %s, false)"


@dataclass(frozen=True, slots=True)
class Migration:
    """A file of ``sql/migrations``: its name without ``.sql``, its text and its checksum."""

    name: str
    text: str
    checksum: str


def migrations() -> list[Migration]:
    """All migrations of this version of mailsync, in order."""
    result = []
    for file in sorted(files("mailsync.sql").joinpath("migrations").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql"):
            text = file.read_text("utf-8")
            result.append(Migration(file.name.removesuffix(".sql"), text, checksum(text)))
    return result


def checksum(text: str) -> str:
    """The SHA-256 of a migration without the statement that records it."""
    return hashlib.sha256(text.rpartition(_RECORD)[0].encode()).hexdigest()


def applied(conn: Connection) -> dict[str, str]:
    """Name → checksum of the migrations that this schema records; empty before the first one."""
    if not _has_tables(conn, _RECORDS):
        return {}
    return {row[0]: row[1] for row in run(conn, "applied_migrations")}


def _has_tables(conn: Connection, *tables: str) -> bool:
    rows = run(conn, "find_tables", schema=_first_schema(conn), tables=list(tables)).fetchall()
    return len(rows) == len(tables)


def pending(conn: Connection) -> list[Migration]:
    """The migrations that are not applied yet, in order.

    Raises SchemaError if an applied migration was edited or is unknown to this version, if tables exist but
    no migration is recorded, and if this role may not see the schema.
    """
    known, done = migrations(), applied(conn)
    if not done:
        _refuse_hidden(conn)
    # both tables, since a table `accounts` may belong to another program
    if not done and _has_tables(conn, *_ACCOUNTS):
        raise SchemaError(
            "the tables exist, but schema_migrations is missing or empty, as after an incomplete restore;"
            " restore its rows, or restore the whole dump into an empty database"
        )
    for name in sorted(done.keys() - {migration.name for migration in known}):
        raise SchemaError(
            f"migration {name} is applied but unknown here: this mailsync is older than the schema;"
            " upgrade mailsync"
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
        conn.execute(_LIMIT, ["lock_timeout", LOCK_TIMEOUT])
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
            f"a migration waited {LOCK_TIMEOUT} for a table that another transaction keeps locked, and was"
            " undone; run `mailsync migrate` again"
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
    """Raise SchemaError unless exactly the migrations of this version are applied."""
    refuse_old_server(conn.info.server_version)
    missing = pending(conn)
    if missing:
        names = ", ".join(migration.name for migration in missing)
        raise SchemaError(outdated(f"it lacks migration {names}"))


def refuse_old_server(version: int) -> None:
    """Raise SchemaError if Postgres is too old; `version` is a number such as 150004."""
    if version // 10_000 < _OLDEST_POSTGRES:
        raise SchemaError(
            f"Postgres {version // 10_000} is too old; mailsync needs {_OLDEST_POSTGRES} or newer"
        )


def _refuse_hidden(conn: Connection) -> None:
    """Raise SchemaError if the schema exists, but this role may not use it or see its rows."""
    first = _first_schema(conn)
    row = run(conn, "find_hidden", schema=first).fetchone()
    role, is_closed, has_hidden_rows = row or ("", False, False)
    if is_closed:
        raise SchemaError(
            f"schema {first} exists, but role {role} may not use it; connect as its owner, or"
            f" grant usage on schema {first} to {role}"
        )
    if has_hidden_rows:
        raise SchemaError(
            f"row level security hides the rows of schema {first} from role {role}; connect as the owner of"
            " its tables, or as a role with bypassrls that may use its tables, sequences and functions"
        )


def creators(conn: Connection) -> list[str]:
    """The other roles, quoted for SQL, that may create in the schema. Superusers are left out."""
    return [str(row[0]) for row in run(conn, "find_creators", schema=_first_schema(conn))]


def _refuse_creators(conn: Connection) -> None:
    others = ", ".join(creators(conn))
    if others:
        row = run(conn, "quoted_schema").fetchone()
        schema = row[0] if row else ""
        raise SchemaError(
            f"{others} may create in schema {schema}, so a migration could run their functions;"
            f" revoke create on schema {schema} from {others}; then run `mailsync migrate` again"
        )


def _first_schema(conn: Connection) -> str:
    # the configured schema is the first of search_path, because a search_path in the URL takes precedence
    try:
        path = conn.execute("select pg_catalog.current_setting('search_path')").fetchone()
    except psycopg.Error as error:
        raise translated(error) from error
    return str(path[0]).split(",")[0].strip().strip('"') if path else ""


def _create_schema(conn: Connection, schema: str) -> None:
    name = _first_schema(conn) or schema
    # not "if not exists", which needs the right to create even if the schema exists
    if conn.execute("select 1 from pg_namespace where nspname = %s", [name]).fetchone() is None:
        conn.execute(sql.SQL("create schema {}").format(sql.Identifier(name)))
