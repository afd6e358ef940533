"""Fixtures: real servers, shared by the run; a database, mailboxes and processes of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from tests.servers import postgres as postgres_server
from tests.servers import run_directory


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_run] = run_directory.create()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _run in config.stash:
        run_directory.remove(config.stash[_run])


_run = pytest.StashKey["run_directory.Path"]()


# -- Postgres ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> postgres_server.PostgresServer:
    """The Postgres server of this run."""
    return postgres_server.server()


_migrated = factories.postgresql_noproc(
    depends_on="postgres", dbname="mailsync_template_", load=[postgres_server.load_migrations]
)


@pytest.fixture
def database_url(postgres: postgres_server.PostgresServer, _migrated: NoopExecutor) -> Iterator[str]:
    """The URL of a fresh database of this test, with every migration applied in schema ``mailsync``."""
    with postgres.new_database(template=_migrated.template_dbname) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: postgres_server.PostgresServer) -> Iterator[str]:
    """The URL of a fresh, empty database of this test."""
    with postgres.new_database(template=None) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection to the test's database, with ``mailsync`` first on its search_path."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(f"SET search_path TO {postgres_server.SCHEMA}, public")
        yield conn
