"""The start of both services while Postgres fails: at each message, for want of connections, for a restart.

Both run in this process. An exception that leaves a service would end it; only a ConfigError may.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from mailsync.cli.commands import services
from mailsync.config import Settings
from mailsync.errors import ConfigError
from mailsync.store import db
from mailsync.web import create_app, readiness
from mailsync.worker import outage
from mailsync.worker.poll_loop import Worker
from tests.support.pooler import TransactionPooler
from tests.support.programs import API_TOKEN
from tests.support.proxy import Proxy
from tests.support.run_directory import wait_until
from tests.support.stored import settings_for

MOST = 300
"""An upper limit for the messages of one start, far above what it takes."""


class Cut:
    """Fails what goes through a proxy once, at the message of a number, and counts the messages."""

    def __init__(self, proxy: Proxy, fail: Callable[[int], None], at: int) -> None:
        self.messages = 0
        self._fail = fail
        self._at = at
        self._lock = threading.Lock()
        self._is_over = False
        proxy.on_piece = self._heard

    def _heard(self, link: int) -> None:
        with self._lock:
            self.messages += 1
            if self.messages == self._at and not self._is_over:
                self._fail(link)

    def end(self) -> None:
        """Fail nothing from now on: the message that closes a connection may still be under way."""
        with self._lock:
            self._is_over = True

    @property
    def was_made(self) -> bool:
        """Whether there were as many messages as that."""
        return self.messages >= self._at


def starts(proxy: Proxy, fail: Callable[[int], None]) -> Iterator[str]:
    """Yield a name for each start to make: one for each message to fail at, and one that nothing fails."""
    for at in range(1, MOST):
        cut = Cut(proxy, fail, at)
        yield f"message {at}"
        cut.end()
        if not cut.was_made:
            break
    assert 20 < at < MOST - 1, "the messages of the whole start were failed, one after the other"


@pytest.fixture
def settings(postgres_proxy: tuple[Proxy, str], database: psycopg.Connection) -> Settings:
    _, url = postgres_proxy
    # Without encryption, so that each message is one piece of data.
    url = f"{url}?sslmode=disable&gssencmode=disable"
    return settings_for(url, api_token=API_TOKEN, sync_interval=3600)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave out the waits between two tries, and leave pytest its signal handlers."""
    monkeypatch.setattr(outage, "_FIRST_DELAY", 0.001)
    monkeypatch.setattr(outage, "_MAX_DELAY", 0.001)
    monkeypatch.setattr(readiness, "FRESH_FOR", 0.0)
    kept = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def failures(proxy: Proxy, database: psycopg.Connection) -> dict[str, Callable[[int], None]]:
    """How a database fails at a message, by name; each is given the number of the message's connection."""

    def terminate(spared: int) -> None:
        database.execute(
            "select pg_terminate_backend(pid, 10000) from (select pid from pg_stat_activity"
            " where application_name like 'mailsync-%%' and datname = current_database()"
            " order by backend_start desc offset %s) as found",
            [spared],
        )

    return {
        "cut": proxy.reset_link,
        "terminated": lambda link: terminate(0),
        # The lock self-test has two connections, and must not take the death of one for a failed lock.
        "older terminated": lambda link: terminate(1),
    }


@pytest.mark.long
@pytest.mark.parametrize("failure", ["cut", "terminated", "older terminated"])
def test_the_worker_starts_whichever_message_its_database_fails_at(
    failure: str,
    postgres_proxy: tuple[Proxy, str],
    settings: Settings,
    database: psycopg.Connection,
) -> None:
    proxy, _ = postgres_proxy
    fail = failures(proxy, database)[failure]
    for which in starts(proxy, fail):
        worker = Worker(settings)
        started: list[str] = []

        def ready(worker: Worker = worker, started: list[str] = started) -> None:
            started.append("ready")
            worker.stop.set()

        worker.run(starting=lambda conn: services.check(conn, settings, "worker"), ready=ready)
        assert started == ["ready"], which


@pytest.mark.long
@pytest.mark.parametrize("failure", ["cut", "terminated", "older terminated"])
def test_the_api_starts_whichever_message_its_database_fails_at(
    failure: str,
    postgres_proxy: tuple[Proxy, str],
    settings: Settings,
    database: psycopg.Connection,
) -> None:
    proxy, _ = postgres_proxy
    fail = failures(proxy, database)[failure]
    for which in starts(proxy, fail):
        services.check_at_start(settings)
        app = create_app(settings)
        # gunicorn's hook does this in each new process.
        app.extensions["mailsync"].readiness.failures()
        client = app.test_client()
        assert client.get("/health/live").status_code == 200
        wait_until(lambda client=client: client.get("/health/ready").status_code == 200, which)
        app.extensions["mailsync"].close()


def test_only_a_transaction_pooler_is_configuration(database_url: str) -> None:
    with TransactionPooler(database_url) as pooler:
        settings = settings_for(pooler.url, api_token=API_TOKEN)
        worker = Worker(settings)
        with pytest.raises(ConfigError, match="transaction pooler"):
            worker.run(starting=lambda conn: services.check(conn, settings, "worker"))
        with pytest.raises(ConfigError, match="transaction pooler"):
            services.check_at_start(settings)
        app = create_app(settings)
        assert list(app.extensions["mailsync"].readiness.failures()) == ["locks"]
        app.extensions["mailsync"].close()


@pytest.fixture
def crowded(
    database: psycopg.Connection, postgres_proxy: tuple[Proxy, str]
) -> Iterator[tuple[Settings, Callable[[int], None]]]:
    """Settings of a role that may have no connection yet, and how to say how many it may have."""
    role = f"crowded_{database.info.backend_pid}"
    _, url = postgres_proxy
    database.execute(f"create role {role} login bypassrls connection limit 0")  # type: ignore[arg-type]
    for what in ("usage on schema", "all on all tables in schema", "all on all sequences in schema"):
        database.execute(f"grant {what} mailsync to {role}")  # type: ignore[arg-type]
    host = url.partition("@")[2]
    settings = settings_for(f"postgresql://{role}@{host}", api_token=API_TOKEN, sync_interval=3600)

    def allow(connections: int) -> None:
        database.execute(f"alter role {role} connection limit {connections}")  # type: ignore[arg-type]

    yield settings, allow
    database.execute(
        "select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = %s", [role]
    )
    database.execute(f"drop owned by {role}")  # type: ignore[arg-type]
    database.execute(f"drop role {role}")  # type: ignore[arg-type]


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_too_many_connections_are_waited_for(
    allowed: int, crowded: tuple[Settings, Callable[[int], None]], caplog: pytest.LogCaptureFixture
) -> None:
    settings, allow = crowded
    allow(allowed)
    worker = Worker(settings)
    tries: list[int] = []
    unreached: list[str] = []

    def starting(conn: db.Connection) -> None:
        services.check(conn, settings, "worker")

    class Waiting(outage.Outage):
        def waiting(self) -> None:
            tries.append(1)
            if len(tries) == 3:
                allow(-1)

    worker._outage = Waiting()
    worker.run(starting=starting, ready=worker.stop.set, unreached=lambda error: unreached.append(str(error)))
    assert len(tries) >= 3
    (error,) = unreached
    assert "too many connections for role" in error
    assert caplog.text.count("Database not reached; trying again") == 1


def test_the_api_reports_what_it_waits_for_and_no_more(
    crowded: tuple[Settings, Callable[[int], None]],
) -> None:
    settings, allow = crowded
    services.check_at_start(settings)
    app = create_app(settings)
    client = app.test_client()
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json
    assert answer.json["checks"] == ["database"]
    assert "These checks fail: database (it has no connection to spare);" in answer.json["detail"]
    allow(-1)
    wait_until(lambda: client.get("/health/ready").status_code == 200, "its being ready")
    app.extensions["mailsync"].close()
