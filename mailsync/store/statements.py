"""The named statements of ``sql/queries/*.sql``, and the one way to run them.

A block begins with ``-- name: the_name`` and ends where the next block begins. A block ``-- part: the_part``
is text that several statements share: ``{{the_part}}`` inserts it, and ``{{m.the_part}}`` inserts a list of
columns with ``m.`` before each.
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

_BLOCK = re.compile(r"^-- (name|part): (\w+)\n", re.MULTILINE)
_COMMENTS = re.compile(r"^ *--.*\n", re.MULTILINE)
_INSERTION = re.compile(r"\{\{(\w+\.)?(\w+)\}\}")

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
# Postgres is up but cannot serve us: read-only after a failover, shutting down, out of space or connections
_UNAVAILABLE = frozenset({"25006", "57P01", "57P02", "57P03", "53100", "53200", "53300"})


@cache
def statements() -> Mapping[str, sql.SQL]:
    """Read all named statements. Raises SchemaError if two have the same name."""
    texts: dict[str, dict[str, str]] = {"name": {}, "part": {}}
    for file in sorted(files("mailsync.sql").joinpath("queries").iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".sql"):
            continue
        blocks = _BLOCK.split(file.read_text("utf-8"))[1:]
        for kind, name, text in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
            if name in texts[kind]:
                raise SchemaError(f"sql/queries has two statements with the name {name}")
            texts[kind][name] = text.strip()
    return {name: sql.SQL(_expanded(text, texts["part"])) for name, text in texts["name"].items()}


def _expanded(text: str, parts: Mapping[str, str]) -> str:
    def part(match: re.Match[str]) -> str:
        inserted = _expanded(_COMMENTS.sub("", parts[match[2]]), parts)
        if not match[1]:
            return inserted
        return ", ".join(match[1] + column.strip() for column in inserted.split(","))

    return _INSERTION.sub(part, text)


def run(conn: psycopg.Connection[Any], name: str, **params: object) -> psycopg.Cursor[Any]:
    """Execute the statement `name`. Driver errors are raised as mailsync's own (see :func:`translated`)."""
    finish_pipeline(conn)
    try:
        return conn.execute(statements()[name], params)
    except psycopg.Error as error:
        raise translated(error, name) from error
    except UnicodeEncodeError as error:
        raise RowsRefused(f"a text cannot be encoded as UTF-8: {error.reason}") from error


def finish_pipeline(conn: psycopg.Connection[Any]) -> None:
    """Leave pipeline mode if a batch was sent ahead on this connection; the batch keeps its result."""
    if sent := getattr(conn, "sent_batch", None):
        sent.collect()


def translated(error: psycopg.Error, name: str = "a statement") -> MailsyncError:
    """The error of ours that tells the engine what to do next; `name` is the statement's.

    - A value does not fit, or a batch holds one key twice: RowsRefused. The engine halves the batch.
    - A table, column or function is missing: SchemaError.
    - The statement took too long: DatabaseSlow, or RowsLocked if it only waited for a lock.
    - Anything else: DatabaseUnavailable. The engine reconnects with a backoff.
    """
    message = _first_line(error)
    if isinstance(error, _REFUSED):
        return RowsRefused(message)
    if isinstance(error, _UNDEFINED):
        return SchemaError(f"{outdated(message)}; `mailsync preflight` lists everything that is missing")
    if isinstance(error, psycopg.errors.QueryCanceled):
        return DatabaseSlow(
            f"Postgres cancelled {name} ({message}); pg_stat_activity shows what else the database is doing,"
            " and pg_stat_user_tables when its tables were last analysed"
        )
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return RowsLocked(
            f"{name} waited too long for rows that another transaction has locked ({message});"
            " pg_stat_activity shows which one is idle in transaction"
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or error.sqlstate in _UNAVAILABLE:
        return DatabaseUnavailable(message)
    return MailsyncError(f"Postgres: {message}")


def outdated(what: str) -> str:
    """The message for a schema that is missing or incomplete; `what` says which part."""
    return f"the database's schema is missing or too old ({what}); run `mailsync migrate`"


def _first_line(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error) or type(error).__name__
    return text.strip().splitlines()[0]
