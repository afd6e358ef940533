"""The schema that the migrations create, as read from a migrated database: ``sql/schema.json``.

A test writes the file, and compares it on every run, with two releases of Postgres. Each release prints views
and function bodies differently, so ``definitions`` holds one text for each release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from mailsync.store.db import Connection, transaction
from mailsync.store.statements import run

Details = dict[str, Any]
Catalogue = dict[str, dict[str, Details]]
"""Kind → name → details: ``{"column": {"messages.uid": {"type": "bigint", "not_null": true}, …}, …}``."""

_PRINTED_BY_RELEASE = ("view", "function")


@cache
def expected() -> Mapping[str, Mapping[str, Details]]:
    """The catalogue of the migrated schema, from the file."""
    catalogue: Catalogue = json.loads(files("mailsync.sql").joinpath("schema.json").read_text("utf-8"))
    return catalogue


def newest_release() -> int:
    """The newest Postgres on which the catalogue was read."""
    return max(int(release) for view in expected()["view"].values() for release in view["definitions"])


def read(conn: Connection) -> Catalogue:
    """Read the catalogue of the schema that is first on the connection's ``search_path``.

    Raises DatabaseUnavailable.
    """
    release = str(conn.info.server_version // 10_000)
    catalogue: Catalogue = {}
    with transaction(conn):
        run(conn, "use_fixed_output_settings")
        rows = run(conn, "read_schema").fetchall()
    for kind, name, details in rows:
        if kind in _PRINTED_BY_RELEASE:
            details["definitions"] = {release: details.pop("definition")}
        catalogue.setdefault(kind, {})[name] = details
    return catalogue


def written(catalogues: Iterable[Catalogue]) -> str:
    """The text of ``sql/schema.json`` for the catalogues of several releases of Postgres.

    Raises ValueError if they differ in more than the text of views and functions.
    """
    merged: Catalogue = {}
    for catalogue in catalogues:
        for kind, objects in catalogue.items():
            for name, details in objects.items():
                known = merged.setdefault(kind, {}).setdefault(name, details)
                if "definitions" in details:
                    details["definitions"] = known["definitions"] | details["definitions"]
                    merged[kind][name] = details
                if {**known, "definitions": None} != {**details, "definitions": None}:
                    raise ValueError(f"{kind} {name}: {known} is not {details}")
    # one line for each object, for readable diffs
    kinds = (
        f" {json.dumps(kind)}: {{\n"
        + ",\n".join(
            f"  {json.dumps(name)}: {json.dumps(details, sort_keys=True, ensure_ascii=False)}"
            for name, details in sorted(objects.items())
        )
        + "\n }"
        for kind, objects in sorted(merged.items())
    )
    return "{\n" + ",\n".join(kinds) + "\n}\n"


@cache
def created_in(kind: str, name: str) -> str:
    """The path of the last migration that creates a table, view or function; empty if none does."""
    statement = re.compile(
        rf"^create (or replace )?{kind} {re.escape(name.partition('(')[0])}\b", re.MULTILINE
    )
    path = ""
    for file in sorted(files("mailsync.sql").joinpath("migrations").iterdir(), key=lambda f: f.name):
        if file.name.endswith(".sql") and statement.search(file.read_text("utf-8")):
            path = f"sql/migrations/{file.name}"
    return path
