"""Fixtures: real servers, shared by the run; each test has its own database, mailboxes and processes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from tests.support import debian_postgres as debian_server
from tests.support import postgres as postgres_server
from tests.support import run_directory, tools
from tests.support.authorization_server import AuthorizationServer
from tests.support.certificates import Authority
from tests.support.dns_server import DnsServer
from tests.support.dovecot import Dovecot
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.programs import Mailsync, Running
from tests.support.proxy import Proxy, postgres_target
from tests.support.pymap_server import Pymap
from tests.support.scripted import ScriptedServer

# The same examples in every run, and no example fails for taking long.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

_run = pytest.StashKey[Path]()
_left_out = pytest.StashKey[int]()
_missing = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Create the run's directory once; pytest's workers find it by the environment."""
    config.stash[_left_out], config.stash[_missing] = 0, []
    # mailsync does not read a file of settings that the user's group can write.
    os.umask(0o022)
    # Under nohup or a shell's & signals are ignored. Programs inherit that, but do not inherit a handler.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    if not hasattr(config, "workerinput"):
        config.stash[_run] = run_directory.create()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End every server of the run."""
    if _run in config.stash:
        run_directory.remove(config.stash[_run])


# -- missing programs: one loud line, and an error if CI=true ------------------------------------------


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the long tests first, because they mostly wait; leave out tests whose programs are missing."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    missing = {item: tools.missing_for(item) for item in items}
    left_out = [item for item in items if missing[item]]
    if not left_out:
        return
    items[:] = [item for item in items if not missing[item]]
    config.hook.pytest_deselected(items=left_out)
    config.stash[_left_out] = len(left_out)
    config.stash[_missing] = sorted({name for names in missing.values() for name in names})


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the number of tests left out from a worker to the terminal, and fail for it on CI."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = config.stash[_left_out]
        config.workeroutput["missing"] = config.stash[_missing]
    elif config.stash[_left_out] and os.environ.get("CI") == "true" and session.exitstatus in (0, 5):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the number from any worker of pytest-xdist, because each collects all tests."""
    output = getattr(node, "workeroutput", {})
    if output.get("left_out", 0) > node.config.stash[_left_out]:
        node.config.stash[_left_out], node.config.stash[_missing] = output["left_out"], output["missing"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the one loud line."""
    if config.stash[_left_out]:
        missing = config.stash[_missing]
        terminalreporter.write_line(
            f"!!! {' AND '.join(missing).upper()} {'IS' if len(missing) == 1 else 'ARE'} MISSING:"
            f" {config.stash[_left_out]} tests were left out. To run them: sudo {tools.install(missing)}",
            red=True,
            bold=True,
        )


# -- Postgres ------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    """The Postgres server of this run."""
    server = postgres_server.server()
    yield server
    server.close()


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


@pytest.fixture(scope="session")
def debian_postgres() -> Iterator[postgres_server.PostgresServer]:
    """Debian's Postgres server of this run, older than the embedded one."""
    server = debian_server.server()
    yield server
    server.close()


@pytest.fixture
def debian_database_url(debian_postgres: postgres_server.PostgresServer) -> Iterator[str]:
    """The URL of a fresh database of this test on Debian's Postgres, with every migration applied."""
    with debian_postgres.new_database(template=None) as url:
        debian_server.migrate(url)
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    """An autocommit connection to the test's database, with ``mailsync`` first on its search_path."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(f"SET search_path TO {postgres_server.SCHEMA}, public")
        yield conn


# -- IMAP ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Issues good, expired, wrong-name and self-signed certificates; clients may trust ``ca_file``."""
    return Authority(run_directory.current() / f"authority-{os.getpid()}")


@pytest.fixture(scope="session")
def dovecot_with() -> Iterator[Callable[..., Dovecot]]:
    """Start (or find again) a Dovecot with options: ``dovecot_with(storage="maildir")``."""
    started: dict[str, Dovecot] = {}

    def find(**options: Any) -> Dovecot:
        key = repr(sorted(options.items()))
        if key not in started:
            started[key] = Dovecot(**options)
        return started[key]

    yield find
    for server in started.values():
        server.kill()


@pytest.fixture(scope="session")
def dovecot(dovecot_with: Callable[..., Dovecot]) -> Dovecot:
    """The plain Dovecot of this worker, all extensions, no TLS; ``new_user()`` gives an empty mailbox."""
    return dovecot_with()


@pytest.fixture(scope="session")
def tls_dovecot(dovecot_with: Callable[..., Dovecot], authority: Authority) -> Dovecot:
    """A Dovecot with a good certificate: TLS on ``tls_port``, STARTTLS on ``port``."""
    return dovecot_with(certificate=authority.good())


@pytest.fixture
def new_dovecot() -> Iterator[Callable[..., Dovecot]]:
    """Start a Dovecot that one test may stop, kill and break."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Dovecot:
            server = Dovecot(**options)
            stack.callback(server.kill)
            return server

        yield start


@pytest.fixture
def pymap() -> Iterator[Pymap]:
    """A pymap for one test, with one ``user`` whose INBOX is empty."""
    server = Pymap()
    yield server
    server.kill()


@pytest.fixture
def scripted_with() -> Iterator[Callable[..., ScriptedServer]]:
    """Start scripted servers with options: ``scripted_with(security="tls", certificate=…)``."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> ScriptedServer:
            server = ScriptedServer(**options)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def scripted(scripted_with: Callable[..., ScriptedServer]) -> ScriptedServer:
    """A scripted server in plaintext, well-behaved by default."""
    return scripted_with()


# -- signing in ----------------------------------------------------------------------------------------


@pytest.fixture
def authorization_server() -> Iterator[AuthorizationServer]:
    """An authorization server over HTTP for one test."""
    server = AuthorizationServer()
    yield server
    server.stop()


@pytest.fixture
def tls_authorization_server(authority: Authority) -> Iterator[AuthorizationServer]:
    """An authorization server over HTTPS for one test; its clients trust ``authority.ca_file``."""
    server = AuthorizationServer(authority.good())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def oauth_dovecot_with() -> Iterator[Callable[..., OAuthDovecot]]:
    """Start (or find again) a Dovecot that takes tokens: ``oauth_dovecot_with(mechanisms="xoauth2")``."""
    started: dict[str, OAuthDovecot] = {}

    def find(**options: Any) -> OAuthDovecot:
        key = repr(sorted(options.items()))
        if key not in started:
            started[key] = OAuthDovecot(**options)
        return started[key]

    yield find
    for server in started.values():
        server.close()


@pytest.fixture
def oauth_dovecot(
    oauth_dovecot_with: Callable[..., OAuthDovecot], authorization_server: AuthorizationServer
) -> OAuthDovecot:
    """A Dovecot of this worker that takes the tokens of the test's authorization server, and passwords."""
    dovecot = oauth_dovecot_with()
    dovecot.trust(authorization_server)
    return dovecot


# -- the network ---------------------------------------------------------------------------------------


@pytest.fixture
def proxy_to() -> Iterator[Callable[[tuple[str, int] | str], Proxy]]:
    """Put a proxy in front of a port: ``proxy_to((dovecot.host, dovecot.port))``, or of a Unix socket."""
    with contextlib.ExitStack() as stack:

        def start(target: tuple[str, int] | str) -> Proxy:
            proxy = Proxy(target)
            stack.callback(proxy.stop)
            return proxy

        yield start


@pytest.fixture
def dns_server() -> Iterator[DnsServer]:
    """An empty name server for one test; its ``address`` is for DNS_SERVERS."""
    server = DnsServer()
    yield server
    server.stop()


@pytest.fixture
def postgres_proxy(
    proxy_to: Callable[[tuple[str, int] | str], Proxy], database_url: str
) -> tuple[Proxy, str]:
    """A proxy in front of Postgres, and the URL of the test's database through it."""
    target, url = postgres_target(database_url)
    proxy = proxy_to(target)
    return proxy, url.format(host=proxy.host, port=proxy.port)


# -- the program itself --------------------------------------------------------------------------------


@pytest.fixture
def mailsync(tmp_path: Path, database_url: str) -> Iterator[Mailsync]:
    """Run commands on the test's database; fails at the end if a secret was printed."""
    program = Mailsync(tmp_path, database_url)
    yield program
    program.close()


@pytest.fixture
def start_worker(mailsync: Mailsync) -> Callable[..., Running]:
    """Start ``mailsync worker`` with these variables added: ``start_worker(SYNC_INTERVAL="1s")``."""

    def start(*args: str, **env: str | None) -> Running:
        return mailsync.start("worker", *args, **env)

    return start
