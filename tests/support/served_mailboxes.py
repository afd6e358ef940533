"""A mirrored mailbox behind an API of two processes, for tests of bodies and downloads."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import psycopg
import pytest

from tests.support import run_directory
from tests.support.api import AUTHORIZED, Answer, Api, StartApi
from tests.support.boxes import Box, boxed
from tests.support.dovecot import Dovecot
from tests.support.imap_server import User
from tests.support.scripted import ScriptedServer
from tests.support.stored import KEY
from tests.support.turns import Mirror

Serve = Callable[..., Api]


class Letterbox:
    """A mirrored mailbox on Dovecot."""

    def __init__(self, mirror: Mirror, dovecot: Dovecot, user: User) -> None:
        self.mirror, self.dovecot, self.user = mirror, dovecot, user

    def add(self, raw: bytes) -> int:
        """Deliver a message and mirror it; returns its id."""
        self.dovecot.append(self.user, "INBOX", raw)
        self.mirror.hot()
        result: int = self.mirror.value("select id from messages order by uid desc limit 1")
        return result


@pytest.fixture
def box(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    """One message on the scripted server, mirrored."""
    with boxed(database_url, scripted) as box:
        yield box


@pytest.fixture
def letterbox(database_url: str, dovecot: Dovecot) -> Iterator[Letterbox]:
    """An empty mailbox on Dovecot, mirrored."""
    user = dovecot.new_user()
    with Mirror(database_url, dovecot, user) as mirror:
        mirror.complete()
        yield Letterbox(mirror, dovecot, user)


@pytest.fixture
def serve(start_api: StartApi) -> Serve:
    """Start the API in two processes for a ``box`` or a ``letterbox``."""

    def start(**changes: str | None) -> Api:
        return start_api(**{"WEB_CONCURRENCY": "2", "IMAP_ENCRYPTION_KEY": KEY} | changes)

    return start


def get(api: Api, message_id: int, what: str = "body", method: str = "GET", **headers: str) -> Answer:
    """Request ``/v1/messages/<id>/<what>`` with the token and a long timeout."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=run_directory.PATIENCE)
    try:
        connection.request(method, f"/v1/messages/{message_id}/{what}", headers=AUTHORIZED | headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def processes_of(api: Api) -> list[psutil.Process]:
    """gunicorn's workers."""
    result = psutil.Process(api.process.pid).children()
    assert len(result) == 2
    return result


def waiting_for_locks(database: psycopg.Connection[Any]) -> int:
    """How many sessions wait for an advisory lock of this database."""
    row = database.execute(
        "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        " and database = (select oid from pg_database where datname = current_database())"
    ).fetchone()
    assert row
    return int(row[0])
