"""A connection and an empty folder, for the tests of statements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailsync.model import FolderState
from mailsync.store import db
from mailsync.store.db import Connection
from tests.support.stored import new_account, new_folder, settings_for


@pytest.fixture
def conn(database_url: str) -> Iterator[Connection]:
    with db.connect(settings_for(database_url), "test") as conn:
        yield conn


@pytest.fixture
def folder(conn: Connection, database_url: str) -> FolderState:
    return new_folder(conn, new_account(conn, settings_for(database_url)))
