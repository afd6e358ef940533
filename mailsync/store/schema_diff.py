"""Compare the database's schema with the schema that the migrations create.

Only missing or changed objects are differences. Columns, indexes, policies, triggers, views, functions and
read privileges that people added are not.
"""

from __future__ import annotations

from dataclasses import replace

from mailsync.errors import SchemaError
from mailsync.store import catalogue, migrations
from mailsync.store.db import Connection
from mailsync.store.schema_comparison import (
    COMPARISONS,
    Difference,
    Place,
    excess_privileges,
    sequence_behind,
    table_of,
    unexpected_creator,
)
from mailsync.store.statements import run

_NAMED = 3


def differences(conn: Connection) -> list[Difference]:
    """Compare the schema of this connection; empty if nothing is missing or changed.

    Raises DatabaseUnavailable.
    """
    expected, actual = catalogue.expected(), catalogue.read(conn)
    row = run(conn, "quoted_schema").fetchone()
    schema = str(row[0]) if row else ""
    missing_tables = {name for name in expected["table"] if name not in actual.get("table", {})}
    result = [
        difference
        for kind, compare in COMPARISONS.items()
        for name, details in expected[kind].items()
        if table_of(kind, name, details) not in missing_tables
        for difference in compare(Place(schema, name), details, actual.get(kind, {}).get(name))
    ]
    for name, grantee, privileges in run(conn, "read_excess_rights"):
        if name in expected["table"] or name in expected["view"]:
            result.append(excess_privileges(Place(schema, name), grantee, privileges))
    result += [unexpected_creator(schema, role) for role in migrations.creators(conn)]
    # the query reads tables, which have to exist
    if not any(difference.is_harmful for difference in result):
        result += [sequence_behind(*row) for row in run(conn, "read_identities")]
    return tolerant(result, conn.info.server_version // 10_000)


def tolerant(found: list[Difference], release: int) -> list[Difference]:
    """On a newer Postgres than the catalogue knows, only missing objects count as harmful.

    A newer `release` may print the same definition differently, and no service may stop for that.
    """
    if release <= catalogue.newest_release():
        return found
    return [
        replace(difference, is_harmful=difference.is_harmful and difference.what.endswith(" is missing"))
        for difference in found
    ]


def check(conn: Connection) -> list[Difference]:
    """Raise SchemaError, in one line, if the mirror could become untrue; return the harmless differences."""
    found = differences(conn)
    harmful = [difference for difference in found if difference.is_harmful]
    if harmful:
        named = ", ".join(difference.what for difference in harmful[:_NAMED])
        more = f" and {len(harmful) - _NAMED} more" if len(harmful) > _NAMED else ""
        raise SchemaError(
            f"the database's schema is not the one that the migrations make ({named}{more});"
            " `mailsync preflight` says what to do about each"
        )
    return found
