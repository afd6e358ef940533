"""Functions and operators that another role creates to be called in place of Postgres' own.

Postgres prefers an exact match in ``pg_catalog``. If an argument needs a conversion, a better match in a
later schema wins: ``hashtext(name)`` over ``hashtext(text)``. So there is one for each pair of types that can
occur.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Any

import psycopg
from psycopg import sql
from psycopg.adapt import PyFormat, Transformer

from mailsync.store import catalogue
from mailsync.store.statements import statements

_NUMBERS = (
    "smallint", "integer", "bigint", "real", "double precision", "numeric", "oid", "regclass", "regnamespace",
    "xid", "xid8",
)  # fmt: skip
_TEXTS = ('"char"', "name", "text", "varchar")
_TIMES = ("timestamptz", "timestamp", "interval")
_ARRAYS = (
    "text[]", "name[]", "smallint[]", "integer[]", "bigint[]", "timestamptz[]", "oid[]", "bytea[]", "tid[]",
    "double precision[]", "aclitem[]", "int8range", "int8multirange", "jsonb",
)  # fmt: skip
_OTHER_TYPES = ("boolean", "bytea", "tid", "pg_snapshot", "pg_node_tree")
TYPES = _NUMBERS + _TEXTS + _TIMES + _ARRAYS + _OTHER_TYPES
"""The types of all arguments in our statements."""

_PAIRS = sorted(
    {(kind, kind) for kind in TYPES}
    | {pair for kind in (_NUMBERS + _TIMES, _TEXTS, _ARRAYS) for pair in product(kind, kind)}
    # every type may occur with a text or an array
    | {*product(TYPES, _TEXTS), *product(_TEXTS, TYPES), *product(_ARRAYS, TYPES)}
)
_COMMON = (
    "name", "text", "smallint", "integer", "bigint", "double precision", "numeric", "jsonb", "text[]",
    "timestamptz", "oid",
)  # fmt: skip
_COMPARISONS = ("=", "<>", "<", ">", "<=", ">=", "&&", "@>", "<@", "~~", "~", "!~", "?")
_OTHERS = ("+", "-", "*", "/", "%", "^", "||", "->", "->>", "#>", "#>>", "|", "&")
_OURS = 16_384
"""The first object id that Postgres does not use itself."""

_CALL = re.compile(r":(opno|funcid|aggfnoid|winfnoid|eqop|sortop)\s+(\d+)")
_TYPE = re.compile(r":(?:paramtype|funcresulttype|opresulttype|aggtype)\s+(\d+)")


def add_operators(conn: psycopg.Connection[Any], schema: str) -> None:
    """Create every operator for every pair of types; each raises when it is called."""
    body = sql.SQL("""
        do $do$
        declare
            l text; r text; o text;
            made text := 'create function %s(l %s, r %s) returns %s language plpgsql as %L';
            operator text := 'create operator %s (function = %s, leftarg = %s, rightarg = %s)';
            raising text := 'begin raise exception ''an overload was called''; end';
        begin
            perform set_config('search_path', {schema}, true);
            for l, r in select * from unnest({left}::text[], {right}::text[]) loop
                execute format(made, 'trap', l, r, 'boolean', raising);
                execute format(made, 'trap_left', l, r, l, raising);
                foreach o in array {comparisons}::text[] loop
                    execute format(operator, o, 'trap', l, r);
                end loop;
                foreach o in array {others}::text[] loop
                    execute format(operator, o, 'trap_left', l, r);
                end loop;
            end loop;
        end
        $do$""")
    left, right = map(list, zip(*_PAIRS, strict=True))
    comparisons, others = list(_COMPARISONS), list(_OTHERS)
    conn.execute(body.format(schema=schema, left=left, right=right, comparisons=comparisons, others=others))


def add_functions(conn: psycopg.Connection[Any], schema: str) -> None:
    """Create functions with the names and numbers of arguments that we call; each raises when called.

    They include overloads of our own functions, but replace none.
    """
    body = sql.SQL("""
        do $do$
        declare
            f text; l text;
            made text := 'create function %s(%s) returns text language plpgsql as %L';
            raising text := 'begin raise exception ''an overload was called''; end';
        begin
            perform set_config('search_path', {schema}, true);
            foreach f in array {names}::text[] loop
                for l in
                    select unnest({types}::text[])
                    union all
                    select a || ', ' || b from unnest({common}::text[]) a, unnest({common}::text[]) b
                loop
                    if to_regprocedure(format('%I.%I(%s)', {schema}, f, l)) is null then
                        execute format(made, f, l, raising);
                    end if;
                end loop;
            end loop;
        end
        $do$""")
    names = sorted(called_functions() | own_functions())
    conn.execute(body.format(schema=schema, names=names, types=list(TYPES), common=list(_COMMON)))


def remove(conn: psycopg.Connection[Any], schema: str) -> None:
    """Drop all of them in several steps, because each dropped object needs a lock."""
    some = sql.SQL("""
        do $do$
        declare
            f regprocedure;
        begin
            for f in select oid from pg_proc where pronamespace = {schema}::regnamespace limit 200 loop
                execute format('drop function %s cascade', f);
            end loop;
        end
        $do$""").format(schema=schema)
    left = sql.SQL("select from pg_proc where pronamespace = {}::regnamespace limit 1").format(schema)
    while conn.execute(left).rowcount:
        conn.execute(some)


def called_functions() -> set[str]:
    """The names of Postgres' functions that the named statements call with arguments."""
    return {
        name
        for statement in statements().values()
        for name in re.findall(r"\bpg_catalog\.(\w+)\(", statement.as_string(None))
    }


def own_functions() -> set[str]:
    """The names of the functions that our migrations create."""
    return {signature.partition("(")[0] for signature in catalogue.expected()["function"]}


def explain_to(conn: psycopg.Connection[Any]) -> None:
    """Make Postgres send the parse tree of each further statement to this connection."""
    for setting in ("debug_print_parse = on", "debug_pretty_print = off", "client_min_messages = log"):
        conn.execute(f"set {setting}".encode(), prepare=False)


def understood(
    conn: psycopg.Connection[Any], statement: str, values: Mapping[str, Any]
) -> tuple[set[str], set[str]]:
    """Prepare `statement` as psycopg does; returns the functions and operators of others, and the types.

    If Postgres reports an error, a call returned the wrong type, and the error is returned as the call. The
    types are those of parameters and results.
    """
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    text = re.sub(r"%\((\w+)\)s", lambda match: f"${names.index(match[1]) + 1}", statement).replace("%%", "%")
    transformer = Transformer(conn)
    transformer.dump_sequence([values[name] for name in names], [PyFormat.AUTO] * len(names))
    trees: list[str] = []

    def collect(notice: psycopg.errors.Diagnostic) -> None:
        trees.append(notice.message_detail or "")

    conn.add_notice_handler(collect)
    try:
        prepared = conn.pgconn.prepare(b"understood", text.encode(), transformer.types)
    finally:
        conn.remove_notice_handler(collect)
    if prepared.error_message:
        return {prepared.error_message.decode().splitlines()[0]}, set()
    conn.execute("deallocate understood", prepare=False)
    (tree,) = trees
    calls = {
        _name(conn, "regoperator" if kind == "opno" else "regprocedure", number)
        for kind, number in _CALL.findall(tree)
        if int(number) >= _OURS
    }
    used = conn.execute(
        b"select pg_catalog.format_type(oid, null) from pg_type"
        b" where typtype <> 'c' and oid = any(%s::oid[])",
        [list(set(_TYPE.findall(tree)))],
        prepare=False,
    )
    return calls, {row[0] for row in used}


def _name(conn: psycopg.Connection[Any], kind: str, number: str) -> str:
    row = conn.execute(f"select {number}::oid::{kind}::text".encode(), prepare=False).fetchone()
    assert row
    return str(row[0])
