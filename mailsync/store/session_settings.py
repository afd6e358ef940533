"""The session settings that statements and the parsing of their results depend on (SPEC §8).

A database or a role may have other defaults, and libpq takes some from the environment. They are set by a
statement, because poolers reject startup parameters.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from mailsync.errors import ConfigError

LOCK_TIMEOUT = "10s"
"""How long a statement waits for a lock, unless it is meant to queue."""

# Not set: synchronous_commit and work_mem, the administrator's choice, and default_transaction_read_only,
# by which a failover is noticed.
_ALWAYS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    # return double precision without loss
    "extra_float_digits": "1",
    "quote_all_identifiers": "off",
    # code that waits for a lock and then reads needs a new snapshot for each statement
    "default_transaction_isolation": "read committed",
    # compiling takes longer than our statements, and is triggered by estimates
    "jit": "off",
    # an open transaction that locks an account's row must not block a turn indefinitely
    "lock_timeout": LOCK_TIMEOUT,
    "idle_in_transaction_session_timeout": "5min",
}
# Statistics may be older than an account, or be from an empty table; the planner then expects one row, and
# any index looks good. With these settings it uses the index that has the requested order, and sorts or scans
# only if there is none. Plans, including those of foreign keys, are made for any account.
_PLAN_BY_INDEX = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_incremental_sort": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
# a worker that listens may be idle for any time
_SINCE_14 = {"idle_session_timeout": "0"}
_SINCE_17 = {"transaction_timeout": "0"}
# ends the statements of a client that is gone; not supported by every operating system
_CHECK = {"client_connection_check_interval": "5s"}

_PATH = sql.SQL("pg_catalog.concat(pg_catalog.quote_ident({schema}), ', pg_temp')")
_PATH_OF_THE_SESSION = sql.SQL(
    "pg_catalog.concat(coalesce("
    "nullif(pg_catalog.btrim(pg_catalog.split_part(pg_catalog.current_setting('search_path'), ',', 1)), ''),"
    " pg_catalog.quote_ident({schema})), ', pg_temp')"
)


def configure(
    conn: psycopg.Connection[object],
    *,
    name: str,
    schema: str,
    path_is_given: bool,
    statement_timeout: float | None,
) -> None:
    """Set everything, in one round trip.

    The ``search_path`` becomes `schema` and ``pg_temp``, so that our names never refer to objects in other
    schemas. With `path_is_given`, the first schema of the session's path is used instead of `schema`. `name`
    becomes the ``application_name``, even if a pooler has set its own. `statement_timeout` is in seconds;
    None means no limit.
    """
    version = conn.info.server_version
    settings = _ALWAYS | _PLAN_BY_INDEX
    settings |= {"application_name": name, "statement_timeout": str(int((statement_timeout or 0) * 1000))}
    settings |= (_SINCE_14 if version >= 140_000 else {}) | (_SINCE_17 if version >= 170_000 else {})
    path = (_PATH_OF_THE_SESSION if path_is_given else _PATH).format(schema=schema)
    if version < 140_000:
        conn.execute(_statement(settings, path))
        return
    try:
        conn.execute(_statement(settings | _CHECK, path))
    except psycopg.errors.InvalidParameterValue:
        # the operating system cannot check connections; Postgres accepts all other settings
        conn.execute(_statement(settings, path))


def refuse_encoding(conn: psycopg.Connection[object]) -> None:
    """Raise ConfigError if the database's encoding is not UTF8."""
    encoding = conn.info.parameter_status("server_encoding")
    if encoding is not None and encoding != "UTF8":
        raise ConfigError(
            f"DATABASE_URL: the encoding of database {conn.info.dbname} is {encoding}, and mail needs UTF8;"
            " create another one: create database … encoding 'UTF8' template template0"
        )


def _statement(settings: dict[str, str], path: sql.Composed) -> sql.Composed:
    # qualified, since until this has run a name may refer to an object in any schema of the role's path
    call = sql.SQL("pg_catalog.set_config({}, {}, false)")
    calls = [call.format(name, setting) for name, setting in settings.items()]
    return sql.SQL("select {}").format(sql.SQL(", ").join([*calls, call.format("search_path", path)]))
