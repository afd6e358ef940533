"""Connections to Postgres: keepalives, session settings, and the databases that are refused."""

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
from mailsync.store.statements import finish_pipeline, translated
from mailsync.store.waking import WakeableConnection

Connection = WakeableConnection

_KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def started_by(role: str) -> str:
    """``host:pid:role``: the name of this process in ``accounts.sync_started_by`` and in ``workers``."""
    return f"{socket.gethostname()}:{os.getpid()}:{role}"


def connect(settings: Settings, role: str, *, statement_timeout: float | None = None) -> Connection:
    """Open an autocommit connection whose ``search_path`` is the mirror's schema and ``pg_temp``.

    `role` becomes the ``application_name`` ``mailsync-<role>``, which identifies mailsync's sessions when a
    stale lock is broken. `statement_timeout`, in seconds, applies if it is shorter than
    ``STATEMENT_TIMEOUT``.

    Raises ConfigError if DATABASE_URL is missing or the database's encoding is not UTF8, and
    DatabaseUnavailable if Postgres cannot be reached.
    """
    if not settings.database_url:
        raise ConfigError(
            "DATABASE_URL is not set; set it to a URL such as postgresql://user:password@host:5432/name"
        )
    url = settings.database_url
    try:
        parameters = conninfo_to_dict(url)
        defaults = {name: value for name, value in _KEEPALIVE.items() if name not in parameters}
        conn: Connection = WakeableConnection.connect(
            url, autocommit=True, application_name=f"mailsync-{role}", client_encoding="UTF8", **defaults
        )
    except psycopg.Error as error:
        # the first line says where and why; the second only asks whether the server is running
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
            # a search_path in the URL takes precedence
            path_is_given="search_path" in str(parameters.get("options", "")),
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
    """Run the block in a transaction, rolled back on error. Driver errors are raised as mailsync's own."""
    finish_pipeline(conn)
    try:
        with conn.transaction():
            yield
    except psycopg.Error as error:
        raise translated(error) from error


def is_broken(conn: Connection) -> bool:
    """Whether the connection is known to be unusable; a killed backend is noticed only at its next use."""
    return conn.closed or conn.broken
