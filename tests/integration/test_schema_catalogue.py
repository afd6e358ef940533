"""``sql/schema.json`` is what the migrations make, on the oldest and the newest Postgres.

``REFRESH_SCHEMA=1`` writes the file anew.
"""

from __future__ import annotations

import os
from pathlib import Path

from mailsync.store import catalogue, db
from tests.integration.stored import settings_for

FILE = Path(__file__).parents[2] / "sql" / "schema.json"


def test_the_catalogue_is_what_the_migrations_make(database_url: str, debian_database_url: str) -> None:
    found = []
    for url in (debian_database_url, database_url):
        with db.connect(settings_for(url), "test") as conn:
            found.append(catalogue.read(conn))
    text = catalogue.written(found)
    if os.environ.get("REFRESH_SCHEMA"):
        FILE.write_text(text, "utf-8")
    assert FILE.read_text("utf-8") == text, "run this test with REFRESH_SCHEMA=1 and commit sql/schema.json"
