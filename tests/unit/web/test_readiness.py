"""How many lines the readiness checks log while the database comes and goes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any, cast

import pytest

from mailsync.config import Settings
from mailsync.errors import DatabaseSlow, DatabaseUnavailable, LockLost
from mailsync.store.pool import Pool
from mailsync.web import readiness
from mailsync.web.readiness import QUIET_FOR, Readiness

Lines = Callable[[], list[str]]


class Database:
    """A pool whose database is there, is away, or, with `flaps`, fails every third connection."""

    def __init__(self) -> None:
        self.is_there = True
        self.flaps = False
        self._count = count()

    @contextmanager
    def connection(self) -> Iterator[None]:
        if not self.is_there or (self.flaps and next(self._count) % 3 == 0):
            raise DatabaseUnavailable("connection refused")
        yield


class Clock:
    """Stands for ``time``."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    checks = ((readiness.migrations, "check"), (readiness.locks, "self_test"), (readiness.metrics, "add"))
    for module, name in checks:
        monkeypatch.setattr(module, name, lambda *args: None)
    return Database()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(readiness, "time", clock)
    return clock


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The messages that were logged since the last call."""
    caplog.set_level(logging.INFO)

    def taken() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return taken


def request(database: Database, checks: Readiness) -> bool:
    """Whether the request is answered, or its error was logged already."""
    try:
        with database.connection():
            pass
    except DatabaseUnavailable as error:
        return checks.explains(error)
    checks.database_answered()
    return True


def make_checks(database: Database) -> Readiness:
    return Readiness(Settings(), cast(Pool, cast(Any, database)))


LOST = "Not ready: database: connection refused"
BACK = "Ready to serve"


def test_an_outage_and_its_end_are_a_line_each(database: Database, clock: Clock, lines: Lines) -> None:
    checks = make_checks(database)
    assert not checks.failures()
    assert lines() == [BACK]
    for _ in range(2):
        database.is_there = False
        assert all(request(database, checks) for _ in range(20))
        assert lines() == [LOST]
        database.is_there = True
        assert all(request(database, checks) for _ in range(20))
        assert lines() == [BACK]
        clock.now += QUIET_FOR


def test_an_outage_that_returns_at_once_is_logged_when_it_lasts(
    database: Database, clock: Clock, lines: Lines
) -> None:
    checks = make_checks(database)
    for is_there in (False, True, False, True, False):
        database.is_there = is_there
        request(database, checks)
    assert lines() == [LOST, BACK]
    clock.now += QUIET_FOR
    request(database, checks)
    assert lines() == [LOST]
    database.is_there = True
    request(database, checks)
    assert lines() == [BACK]


def test_a_flapping_database_and_many_threads_fill_no_log(
    database: Database, clock: Clock, lines: Lines
) -> None:
    checks = make_checks(database)
    database.flaps = True
    with ThreadPoolExecutor(24) as pool:
        logged_before = list(pool.map(lambda _: request(database, checks), range(2000)))
    assert logged_before.count(False) <= 1
    assert len(lines()) <= 3
    clock.now += QUIET_FOR
    database.flaps = False
    assert not checks.failures()
    assert lines() in ([], [BACK])


def test_an_error_that_no_check_explains_is_logged_again_after_a_while(
    database: Database, clock: Clock, lines: Lines
) -> None:
    checks = make_checks(database)
    ended, closed = DatabaseUnavailable("terminated by an administrator"), LockLost("closed")
    assert [checks.explains(error) for error in (ended, ended, closed, ended, closed)] == [
        False, True, False, True, True,
    ]  # fmt: skip
    clock.now += QUIET_FOR
    assert not checks.explains(ended)
    slow = DatabaseSlow("statement timeout")
    assert not checks.explains(slow) and not checks.explains(slow)
