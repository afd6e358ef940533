"""The mirror that the recipes query: created once, with a copy for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.rows import dict_row
from pytest_postgresql.executors import NoopExecutor

from tests.documents.querying import sample
from tests.documents.querying.asking import QUERYING, Database
from tests.documents.querying.sample import Box
from tests.documents.running import Recipe
from tests.support.api import start_api
from tests.support.dovecot import Dovecot
from tests.support.postgres import PostgresServer
from tests.support.programs import Mailsync

__all__ = ["start_api"]


@pytest.fixture(scope="session")
def template(
    postgres: PostgresServer,
    _migrated: NoopExecutor,
    dovecot: Dovecot,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Box]]:
    """The mirror, created once by mailsync: the name of its database, and the mailbox."""
    with postgres.new_database(template=_migrated.template_dbname) as url:
        program = Mailsync(tmp_path_factory.mktemp("mirror"), url)
        try:
            box = sample.build(dovecot, program)
        finally:
            program.close()
        with psycopg.connect(url) as conn:
            name = conn.info.dbname
        yield name, box


@pytest.fixture
def box(template: tuple[str, Box]) -> Box:
    """The mailbox of account 1."""
    return template[1]


@pytest.fixture
def database_url(postgres: PostgresServer, template: tuple[str, Box]) -> Iterator[str]:
    """The URL of this test's copy of the mirror."""
    with postgres.new_database(template=template[0]) as url:
        yield url


@pytest.fixture
def conn(database_url: str) -> Iterator[Database]:
    """An autocommit connection of the owner, without a search_path."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as conn:
        yield conn


@pytest.fixture
def recipe(request: pytest.FixtureRequest, conn: Database) -> Recipe:
    """The blocks of the test's section."""
    test = request.function
    recipe = Recipe(test.recipes, test.section, conn)
    if test.recipes is QUERYING:
        recipe.borrow("Before you begin", 0)
    return recipe


@pytest.fixture
def recipe_of(conn: Database) -> Callable[[str], Recipe]:
    """The blocks of any section, for tests other than the section's own."""
    Recipe(QUERYING, "Before you begin", conn).run(0)
    return lambda section: Recipe(QUERYING, section, conn)
