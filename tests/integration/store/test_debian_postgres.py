"""The migrations also apply to Debian's Postgres."""

from __future__ import annotations

import psycopg

from mailsync.config import Settings
from mailsync.store import db, migrations


def test_an_older_postgres_has_the_schema_too(debian_database_url: str) -> None:
    with psycopg.connect(debian_database_url) as conn:
        assert conn.info.server_version >= 150_000
    with db.connect(Settings(database_url=debian_database_url), "test") as conn:
        migrations.check(conn)
