"""A database whose encoding is not UTF8 is rejected with one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.support.api import StartApi
from tests.support.postgres import PostgresServer, run_token
from tests.support.programs import Mailsync
from tests.support.run_directory import wait_until

LINE = "and mail needs UTF8; create another one: create database … encoding 'UTF8' template template0"


@contextmanager
def encoded(postgres: PostgresServer, encoding: str) -> Iterator[str]:
    """Create a database with this encoding and yield its URL."""
    name = f"mailsync_{run_token()}_{encoding.lower()}_test"
    with psycopg.connect(postgres.url(postgres.maintenance_dbname), autocommit=True) as conn:
        create = "create database {} encoding {} lc_collate 'C' lc_ctype 'C' template template0"
        conn.execute(sql.SQL(create).format(sql.Identifier(name), sql.Literal(encoding)))
        try:
            yield postgres.url(name)
        finally:
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_another_encoding_is_refused_by_everything_in_one_line(
    encoding: str, postgres: PostgresServer, mailsync: Mailsync, start_api: StartApi, tmp_path: Path
) -> None:
    with encoded(postgres, encoding) as url:
        mailsync.environment["DATABASE_URL"] = url
        for command in (
            ["migrate"],
            ["migrate", "--status"],
            ["worker"],
            ["worker", "--once"],
            ["api"],
            ["status"],
            ["list-accounts"],
        ):
            done = mailsync(*command)
            assert done.returncode == 2, done
            (line,) = done.stderr.splitlines()
            assert f"is {encoding}, {LINE}" in line
        done = mailsync("preflight")
        assert done.returncode == 2
        assert (
            f"✗ Database: DATABASE_URL: the encoding of database {url.split('/')[-1].split('?')[0]}"
            in done.stdout
        )
        assert f"is {encoding}, {LINE}" in done.stdout
        api = start_api(wait=False)
        wait_until(lambda: api.process.output.count("Not ready: database"), "the API's word")
        assert api.get("/health/ready").status == 503
        with psycopg.connect(url) as conn:
            assert conn.execute("select to_regnamespace('mailsync')").fetchone() == (None,)
