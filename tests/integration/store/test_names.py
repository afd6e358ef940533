"""Names in our statements refer to Postgres' own functions and operators, and to our own tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from mailsync.store import catalogue, db
from mailsync.store.statements import statements
from tests import ROOT
from tests.support import lived, overloads
from tests.support.statement_samples import common, samples
from tests.support.stored import settings_for

# is_stale(sync_state text, …) → is_stale(text, …)
OURS = {
    signature.partition("(")[0]: re.sub(r"(?<=[(,])(\w+) ", "", signature.replace(", ", ","))
    for signature in catalogue.expected()["function"]
}
KNOWN = lived.Lived(1, 2, 3, dict.fromkeys(lived.PATHS, 1), 1)

# keywords, and names that the statement itself defines
NO_FUNCTIONS = {
    "all", "and", "any", "array", "as", "coalesce", "count", "exists", "extract", "filter", "from", "in",
    "greatest", "incoming", "incoming_flags", "least", "not", "nullif", "operator", "or", "over", "select",
    "substring", "values", "with",
}  # fmt: skip
CALL = re.compile(r"(?<![\w.])([a-z_]\w*)\((?!\))")


@pytest.mark.parametrize("made", [overloads.add_operators, overloads.add_functions])
@pytest.mark.parametrize("server", ["database_url", "debian_database_url"])
def test_no_statement_calls_what_others_have_made_in_our_own_schema(
    server: str, made: Callable[[psycopg.Connection[Any], str], None], request: pytest.FixtureRequest
) -> None:
    url = str(request.getfixturevalue(server))
    with psycopg.connect(url, autocommit=True) as other:
        made(other, "mailsync")
    calls, types = {}, {str(column["type"]) for column in catalogue.expected()["column"].values()}
    with db.connect(settings_for(url), "test") as conn:
        for name in ("create_incoming", "create_incoming_flags"):
            conn.execute(statements()[name])
        overloads.explain_to(conn)
        for name, of_statement in samples(KNOWN).items():
            text = statements()[name].as_string(None)
            for sample in of_statement:
                called, used = overloads.understood(conn, text, {**common(KNOWN), **sample.values})
                types |= used
                if called := called - set(OURS.values()):
                    calls[name] = sorted(called)
    assert calls == {}
    assert types - _known_types() == set()


def _known_types() -> set[str]:
    longer = {
        "timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone",
        "varchar": "character varying",
    }  # fmt: skip
    known = {
        longer.get(name.removesuffix("[]"), name.removesuffix("[]")) + "[]" * name.endswith("[]")
        for name in overloads.TYPES
    }
    # types that no statement computes with
    return known | {"unknown", "record", "void", "aclitem"}


def test_every_function_that_takes_arguments_is_named_with_its_schema() -> None:
    """Even if all arguments have the right types today, since no test would notice a changed type.

    The schema of our own functions is configurable, and the first of ``search_path``.
    """
    bare = {
        f"{name}: {called}"
        for name, statement in statements().items()
        for line in re.sub(r"'[^']*'|\bas \w+(?=\()", "''", statement.as_string(None)).splitlines()
        if not line.lstrip().startswith("--")
        for called in CALL.findall(line)
        if called not in NO_FUNCTIONS | OURS.keys()
    }
    assert bare == set()


def test_every_function_in_a_statement_of_the_code_is_named_with_its_schema() -> None:
    bare = {
        f"{path.name}: {called}"
        for path in sorted((ROOT / "mailsync" / "store").glob("*.py"))
        # its results are statements for people
        if path.name != "schema_comparison.py"
        for text in re.findall(r'"(select [^"]*)"', path.read_text("utf-8"))
        for called in CALL.findall(text)
    }
    assert bare == set()


def test_every_statement_names_its_own_temporary_tables() -> None:
    """``pg_temp`` is searched last, so a table ``incoming`` in the schema would be found first."""
    bare = re.compile(r"\b(?:from|join|copy|into|exists) incoming", re.IGNORECASE)
    assert not [name for name, statement in statements().items() if bare.search(statement.as_string(None))]


def test_no_function_of_ours_looks_for_names_on_the_path_of_its_caller(
    database: psycopg.Connection[Any],
) -> None:
    """A body that is parsed at creation means the same for every role; any other must set its search_path."""
    unbound = database.execute("""
        select proname from pg_proc
        where pronamespace = 'mailsync'::regnamespace and prosqlbody is null
          and not coalesce(proconfig::text like '%search_path=%', false)
    """).fetchall()
    assert unbound == []


def test_views_constraints_and_indexes_are_bound_to_functions_of_postgres_and_ours(
    database: psycopg.Connection[Any],
) -> None:
    """Postgres' own functions are pinned, so they are not recorded as dependencies."""
    rows = database.execute("""
        select distinct d.refclassid::regclass::text,
               coalesce(p.oid::regprocedure::text, o.oid::regoperator::text)
        from pg_depend d
        left join pg_proc p on d.refclassid = 'pg_proc'::regclass and p.oid = d.refobjid
        left join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
        where d.deptype = 'n' and coalesce(p.oid, o.oid) >= 16384
    """).fetchall()
    bound = {name.partition("(")[0] for kind, name in rows if kind == "pg_proc"}
    assert len(bound) == len(rows)
    assert bound == {"account_lock_class", "days_ago", "plausible_wait"}


@pytest.mark.parametrize("server", ["database_url", "debian_database_url"])
def test_postgres_expands_our_functions_in_place(server: str, request: pytest.FixtureRequest) -> None:
    """A call costs microseconds for each row, and hides from the planner which index serves a condition."""
    calls = {
        "days_ago": "sync_window_days::float8",
        "is_given_up": "sync_state, sync_state_reason, sync_state_since",
        "is_mailsync": "sync_state, id::oid",
        "is_plausible_tick": "next_sync_at, sync_window_days::float8",
        "is_stale": "sync_state, healthy_until",
        "lacks_content": "capabilities",
        "plausible_wait": "backoff_until",
        "wait_is_over": "backoff_until",
        "window_start": "sync_since, sync_window_days",
    }
    assert calls.keys() == OURS.keys() - {"account_lock_class"}
    url = str(request.getfixturevalue(server))
    with db.connect(settings_for(url), "test") as conn:
        for name, arguments in calls.items():
            explain = f"explain (verbose, costs off) select {name}({arguments}) from accounts"
            plan = "\n".join(line for (line,) in conn.execute(explain.encode()))
            assert name not in plan
