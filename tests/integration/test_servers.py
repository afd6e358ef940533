"""The test servers themselves: what other tests build on."""

from __future__ import annotations

import psycopg
import pytest

from tests.servers import postgres as postgres_server


def test_each_test_gets_a_migrated_database_whose_name_ends_in_test(database: psycopg.Connection) -> None:
    (name,) = database.execute("SELECT current_database()").fetchone()
    assert name.endswith("_test")
    (schema,) = database.execute("SELECT current_schema()").fetchone()
    assert schema == "mailsync"


def test_commits_are_synchronous_though_nothing_is_flushed(postgres, empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as conn:
        assert conn.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'mailsync'").fetchone() == (0,)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql://u:p@db.prod.example/mail_test", "prod"),
        ("postgresql://u:p@aws-0.pooler.supabase.com:5432/mail_test", "pooler"),
        ("postgresql://u:p@/mail_test?host=pgbouncer", "pgbouncer"),
        ("postgresql://u:p@db.example:6543/mail_test", "6543"),
        ("postgresql://u:p@/mail_test?host=db.example&port=6543", "6543"),
        ("postgresql://u:p@db.example/mail", "_test"),
        ("postgresql://u:p@db.example/mail?options=-c%20search_path%3Dtesting", "_test"),
    ],
)
def test_a_database_that_may_be_real_is_refused(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        postgres_server.refuse_real_database(url)
    assert "u:p@" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u@127.0.0.1/mail_test",
        "postgresql://u@db.example/mail?options=-c%20search_path%3Dtest",
    ],
)
def test_a_test_database_is_accepted(url: str) -> None:
    postgres_server.refuse_real_database(url)
