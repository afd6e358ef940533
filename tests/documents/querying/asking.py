"""The two documents, and how their tests ask the database."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.documents.running import Recipes

QUERYING, README = Recipes("docs/querying.rst"), Recipes("README.rst")

Database = psycopg.Connection[Any]


def subjects(rows: list[dict[str, Any]]) -> list[str]:
    """Of each row."""
    return [row["subject"] for row in rows]


def one(conn: Database, query: str, *params: object) -> Any:
    """The first column of the first row; None without a row."""
    row = conn.execute(query, params).fetchone()
    return next(iter(row.values())) if row else None
