"""The planner's statistics of our tables, which autovacuum may collect late or never."""

from __future__ import annotations

import psycopg
from psycopg import sql

from mailsync.store.db import Connection
from mailsync.store.statements import run, translated

TABLES = (
    "account_credentials",
    "accounts",
    "attachments",
    "fetch_attempts",
    "folders",
    "message_bodies",
    "messages",
    "metric_counters",
    "oauth_authorizations",
    "sync_events",
    "sync_runs",
    "upkeep",
    "workers",
)
"""All tables but ``schema_migrations``, whose statistics do not matter."""

_LONGEST = 10.0


def stale(conn: Connection) -> list[tuple[str, bool]]:
    """The tables whose statistics are too old, and for each whether our role may analyse it."""
    return [(row[0], row[1]) for row in run(conn, "tables_to_analyse", tables=list(TABLES))]


def analyse(conn: Connection, table: str, limit: float) -> None:
    """Collect the statistics of `table`, unless it is being altered, vacuumed or analysed.

    Raises DatabaseSlow after `limit` seconds, or 10 if that is less.
    """
    try:
        with conn.transaction():
            conn.execute(
                sql.SQL("select pg_catalog.set_config('statement_timeout', {}, true)").format(
                    str(int(1000 * min(limit, _LONGEST)))
                )
            )
            conn.execute(sql.SQL("analyze (skip_locked) {}").format(sql.Identifier(table)))
    except psycopg.Error as error:
        raise translated(error, f"analyze {table}") from error
