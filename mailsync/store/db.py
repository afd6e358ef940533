"""Connections to Postgres: where to, with which session settings, and what is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mailsync.config import Settings
from mailsync.errors import ConfigError, DatabaseUnavailable
from mailsync.store import cancelling, session_settings
from mailsync.store.statements import translated
from mailsync.store.waking import WakeableConnection

Connection = psycopg.Connection[Any]

_KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def started_by(role: str) -> str:
    """``host:pid:role``, which names this process in ``accounts.sync_started_by`` and in ``workers``."""
    return f"{socket.gethostname()}:{os.getpid()}:{role}"


def connect(settings: Settings, role: str, *, statement_timeout: float | None = None) -> Connection:
    """Open an autocommit session connection with the mirror's schema and ``pg_temp`` alone on its path.

    `role` becomes ``application_name`` ``mailsync-<role>``, by which stale-lock recovery knows its own.
    `statement_timeout`, in seconds, replaces a ``STATEMENT_TIMEOUT`` that is longer. Raises ConfigError
    without a usable DATABASE_URL and for a database of another encoding than UTF8, and DatabaseUnavailable
    when Postgres cannot be reached.
    """
    if not settings.database_url:
        raise ConfigError(
            "DATABASE_URL is not set; give a URL such as postgresql://user:password@host:5432/name"
        )
    url = settings.database_url
    try:
        given = conninfo_to_dict(url)
        defaults = {name: value for name, value in _KEEPALIVE.items() if name not in given}
        conn: Connection = WakeableConnection.connect(
            url, autocommit=True, application_name=f"mailsync-{role}", client_encoding="UTF8", **defaults
        )
    except psycopg.Error as error:
        # libpq's first line says where and why, a second one only asks whether the server runs
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        reason = reason.removeprefix("connection failed: ")
        raise DatabaseUnavailable(f"cannot connect to Postgres: {reason}") from error
    limit = settings.statement_timeout
    try:
        session_settings.refuse_encoding(conn)
        session_settings.configure(
            conn,
            name=f"mailsync-{role}",
            schema=settings.database_schema,
            # the first schema of a search_path in the URL wins
            path_is_given="search_path" in str(given.get("options", "")),
            statement_timeout=limit if statement_timeout is None else min(limit, statement_timeout),
        )
    except psycopg.Error as error:
        conn.close()
        raise translated(error) from error
    except ConfigError:
        conn.close()
        raise
    cancelling.register(conn)
    return conn


@contextmanager
def transaction(conn: Connection) -> Iterator[None]:
    """One transaction; commits at the end, rolls back on any error; driver errors are translated."""
    try:
        with conn.transaction():
            yield
    except psycopg.Error as error:
        raise translated(error) from error


def is_broken(conn: Connection) -> bool:
    """Whether the connection is known to be unusable (a killed backend shows only at its next use)."""
    return conn.closed or conn.broken
