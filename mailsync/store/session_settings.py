"""The settings of a session: all that statements, and the reading of their results, depend on (SPEC §8).

A database or a role may have other defaults, and libpq takes some from the environment. A statement sets
them, since poolers refuse startup parameters.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from mailsync.errors import ConfigError

# synchronous_commit and work_mem are the administrator's choice, and a default_transaction_read_only is how a
# failover shows
_ALWAYS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    # no digit of a double precision may be lost
    "extra_float_digits": "1",
    "quote_all_identifiers": "off",
    # code that waits for a lock and then reads needs a new snapshot for each statement
    "default_transaction_isolation": "read committed",
    # Compiling takes longer than the statements do, and is chosen by estimates.
    "jit": "off",
    # a person's open transaction on an account's row must not hold a turn up for ever
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5min",
}
# Statistics may be from before an account came, or from when a table was empty. With these settings, what
# has an index in the order that is asked for is read by that index; sorts and scans are left to the rest.
# Plans are made for any account, those of foreign keys too: an account that statistics do not know counts
# as one row, which any index seems to serve.
_PLAN_BY_INDEX = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_incremental_sort": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
# a worker may listen for as long as nothing happens
_SINCE_14 = {"idle_session_timeout": "0"}
_SINCE_17 = {"transaction_timeout": "0"}
# ends the statement of a client that is gone; not every operating system can check that
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

    The ``search_path`` becomes `schema` and ``pg_temp`` alone, so that no name of ours ever means what
    somebody made in another schema. With `path_is_given`, the first schema of the session's path takes the
    place of `schema`. `name` becomes the ``application_name``, also where a pooler has set its own.
    `statement_timeout` is in seconds; None means no limit.
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
        # the operating system cannot check connections; no other setting can be refused
        conn.execute(_statement(settings, path))


def refuse_encoding(conn: psycopg.Connection[object]) -> None:
    """Raise ConfigError for a database with another encoding than UTF8."""
    encoding = conn.info.parameter_status("server_encoding")
    if encoding is not None and encoding != "UTF8":
        raise ConfigError(
            f"DATABASE_URL: the encoding of database {conn.info.dbname} is {encoding}, and mail needs UTF8;"
            " create another one: create database … encoding 'UTF8' template template0"
        )


def _statement(settings: dict[str, str], path: sql.Composed) -> sql.Composed:
    # qualified: until this has run, a name may mean an object that somebody made in a schema of the role's
    # path
    call = sql.SQL("pg_catalog.set_config({}, {}, false)")
    calls = [call.format(name, setting) for name, setting in settings.items()]
    return sql.SQL("select {}").format(sql.SQL(", ").join([*calls, call.format("search_path", path)]))
