"""The named statements of ``sql/queries/*.sql``, and the one way to run them.

A block begins with ``-- name: the_name`` and ends where the next begins; the comment lines that follow the
name say what the statement is for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import psycopg
from psycopg import sql

from mailsync.errors import (
    DatabaseSlow,
    DatabaseUnavailable,
    MailsyncError,
    RowsLocked,
    RowsRefused,
    SchemaError,
)

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)

_REFUSED = (
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.CardinalityViolation,
)
_UNDEFINED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)
# states in which Postgres is up but cannot serve us: read-only after a failover, shut down, full
_UNAVAILABLE = frozenset({"25006", "57P01", "57P02", "57P03", "53100", "53200", "53300"})


@cache
def statements() -> Mapping[str, sql.SQL]:
    """Read all named statements; a name that stands twice is a SchemaError."""
    found: dict[str, sql.SQL] = {}
    for file in sorted(files("mailsync.sql").joinpath("queries").iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".sql"):
            continue
        blocks = _NAME.split(file.read_text("utf-8"))[1:]
        for name, text in zip(blocks[::2], blocks[1::2], strict=True):
            if name in found:
                raise SchemaError(f"the statement {name} stands twice in sql/queries")
            found[name] = sql.SQL(text.strip())
    return found


def run(conn: psycopg.Connection[Any], name: str, **params: object) -> psycopg.Cursor[Any]:
    """Execute the statement `name`; driver errors come out as mailsync's own (see :func:`translated`)."""
    try:
        return conn.execute(statements()[name], params)
    except psycopg.Error as error:
        raise translated(error, name) from error
    except UnicodeEncodeError as error:
        raise RowsRefused(f"a text holds what UTF-8 cannot: {error.reason}") from error


def translated(error: psycopg.Error, name: str = "a statement") -> MailsyncError:
    """Class a driver error by what the engine does next; `name` is what the statement is called.

    - the data does not fit, or stands twice in one batch: RowsRefused (the batch is halved);
    - a table, column or function is missing: SchemaError;
    - the statement took longer than it may: DatabaseSlow, or RowsLocked if it only waited for a lock;
    - all else: DatabaseUnavailable (reconnect with backoff).
    """
    said = _first_line(error)
    if isinstance(error, _REFUSED):
        return RowsRefused(said)
    if isinstance(error, _UNDEFINED):
        return SchemaError(f"{lacking(said)}; `mailsync preflight` names all that is missing")
    if isinstance(error, psycopg.errors.QueryCanceled):
        return DatabaseSlow(
            f"Postgres ended {name} ({said}); pg_stat_activity shows what else the database does,"
            " pg_stat_user_tables whether its tables were analysed"
        )
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return RowsLocked(
            f"{name} waited too long for what another transaction keeps locked ({said});"
            " pg_stat_activity shows which one is idle in transaction"
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or error.sqlstate in _UNAVAILABLE:
        return DatabaseUnavailable(said)
    return MailsyncError(f"Postgres: {said}")


def lacking(what: str) -> str:
    """The one wording for a schema that is not there, or not all there."""
    return f"the database's schema is missing or too old ({what}); run `mailsync migrate`"


def _first_line(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error) or type(error).__name__
    return text.strip().splitlines()[0]
