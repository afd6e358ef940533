"""The documents with SQL, and helpers for their tests."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.documents.running import Recipes

# later pages use what earlier ones create
QUERYING = Recipes(
    "docs/howto/query.rst",
    "docs/howto/report.rst",
    "docs/howto/search.rst",
    "docs/howto/follow_changes.rst",
    "docs/howto/grant_access.rst",
)
README = Recipes("README.rst")
PUSH = Recipes("docs/howto/be_told_at_once.rst")

Database = psycopg.Connection[Any]


def subjects(rows: list[dict[str, Any]]) -> list[str]:
    """The subject of each row."""
    return [row["subject"] for row in rows]


def one(conn: Database, query: str, *params: object) -> Any:
    """The first column of the first row; None without a row."""
    row = conn.execute(query, params).fetchone()
    return next(iter(row.values())) if row else None
