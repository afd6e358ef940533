"""The cost of a statement: the blocks that it and its triggers read, and the rows that it examines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.adapt import PyFormat, Transformer

_PARAMETER = re.compile(r"%\((\w+)\)s")

# EXPLAIN leaves out lookups of foreign keys; this counts all tables, indexes and temporary tables
_BLOCKS = """
    select oid::regclass::text, pg_stat_get_xact_blocks_fetched(oid) from pg_class
    where oid >= 16384 and relkind in ('r', 'i', 't') and pg_stat_get_xact_blocks_fetched(oid) > 0
"""

# the number of locks and backends does not depend on the statement
_OF_THE_SERVER = {"pg_lock_status", "pg_stat_get_activity"}


@dataclass(frozen=True)
class Cost:
    """Blocks read, in total and by table or index, and the most rows that a node of the plan examined."""

    blocks: int
    rows: float
    by_relation: dict[str, int]
    plan: dict[str, Any]


def measure(
    conn: psycopg.Connection[Any], statement: str, values: Mapping[str, Any], *, before: str = ""
) -> Cost:
    """Prepare `statement` as psycopg does, execute it once with EXPLAIN, and roll back.

    `before` runs first, in the same transaction.
    """
    names = list(dict.fromkeys(_PARAMETER.findall(statement)))
    text = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", statement).replace("%%", "%")
    given = [values[name] for name in names]
    transformer = Transformer(conn)
    transformer.dump_sequence(given, [PyFormat.AUTO] * len(given))
    prepared = conn.pgconn.prepare(b"measured", text.encode(), transformer.types)
    assert not prepared.error_message, prepared.error_message.decode()
    try:
        with conn.transaction(force_rollback=True):
            if before:
                conn.execute(before.encode(), prepare=False)
            earlier = dict(conn.execute(_BLOCKS, prepare=False).fetchall())
            arguments = sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, given)))
            explain = sql.SQL("explain (analyze, buffers, timing off, format json) execute measured{}")
            row = conn.execute(explain.format(arguments if given else sql.SQL("")), prepare=False).fetchone()
            later = dict(conn.execute(_BLOCKS, prepare=False).fetchall())
    finally:
        conn.execute("deallocate measured", prepare=False)
    assert row
    plan: dict[str, Any] = row[0][0]["Plan"]
    touched = {name: count - earlier.get(name, 0) for name, count in later.items()}
    touched = {name: count for name, count in touched.items() if count}
    return Cost(sum(touched.values()), max(_examined(plan), default=0), touched, plan)


def _examined(node: dict[str, Any]) -> Iterator[float]:
    rows = (
        node["Actual Rows"]
        + node.get("Rows Removed by Filter", 0)
        + node.get("Rows Removed by Join Filter", 0)
    )
    if not _OF_THE_SERVER.intersection(_functions(node)):
        yield rows * node["Actual Loops"]
    for below in node.get("Plans", []):
        yield from _examined(below)


def _functions(node: dict[str, Any]) -> Iterator[str]:
    yield node.get("Function Name", "")
    for below in node.get("Plans", []):
        yield from _functions(below)


def outline(node: dict[str, Any], depth: int = 0) -> Iterator[str]:
    """The plan with one line for each node, for people."""
    where = " ".join(
        str(node[key]) for key in ("Subplan Name", "Index Name", "Relation Name", "CTE Name") if key in node
    )
    blocks = sum(
        node.get(f"{kind} {what} Blocks", 0) for kind in ("Shared", "Local") for what in ("Hit", "Read")
    )
    yield (
        f"{'  ' * depth}{node['Node Type']} {where}: {node['Actual Loops']} x"
        f" {node['Actual Rows']} rows ({node['Plan Rows']} estimated), {blocks} blocks"
    )
    for below in node.get("Plans", []):
        yield from outline(below, depth + 1)
