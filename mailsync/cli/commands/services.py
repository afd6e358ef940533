"""``worker`` and ``api``: one service each, for systemd and other process managers."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import closing

import click

from mailsync import logs
from mailsync.cli.common import required
from mailsync.cli.supervisor import end_with_parent
from mailsync.cli.terminal import spell_symbols
from mailsync.config import Settings, find_environment
from mailsync.errors import ConfigError, DatabaseUnavailable, MailsyncError
from mailsync.ops import preflight, systemd
from mailsync.redaction import redact
from mailsync.store import db
from mailsync.store.db import Connection

_SHOWN = ("database", "locks", "accounts")


@click.command()
@click.option(
    "--once", is_flag=True, help="Sync all accounts that are due, continue first syncs a little, then end."
)
def worker(once: bool) -> None:
    """Keep all accounts up to date, until SIGTERM or SIGINT.

    Any number of workers may share a database. They wait while the database cannot be reached or refuses
    writes.

    \b
    Example:
      mailsync worker
      mailsync worker --once      # from cron
    """
    settings = _settings("DATABASE_URL", "IMAP_ENCRYPTION_KEY")
    from mailsync.ops.metrics_server import serving_metrics
    from mailsync.worker import open_files
    from mailsync.worker.poll_loop import Worker

    def starting(conn: Connection) -> None:
        check(conn, settings, "worker")

    def ready() -> None:
        _print("worker", f"✓ Ready -> Poll loop running ({settings.sync_interval:g}s interval)")

    def unreached(error: MailsyncError) -> None:
        _print("worker", f"✗ Database: {redact(str(error))}")

    # --once ends before anybody scrapes it, and may run beside a worker that uses the port.
    with serving_metrics(settings.model_copy(update={"metrics_port": None}) if once else settings) as url:
        if url:
            _print("worker", f"✓ Metrics -> {url}")
        open_files.raise_limit(settings)
        Worker(settings).run(once=once, starting=starting, ready=ready, unreached=unreached)


@click.command()
def api() -> None:
    """Serve the HTTP API on HOST and PORT, until SIGTERM or SIGINT.

    It runs gunicorn with mailsync.web.gunicorn_conf; WEB_CONCURRENCY sets the number of processes.

    \b
    Example:
      PORT=8080 mailsync api
    """
    settings = _settings("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN")
    # End at once while the checks wait for the database. gunicorn sets its own handler later.
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    check_at_start(settings)
    refuse_taken_port(settings)
    from mailsync.web.server.run import serve

    serve(lambda where: _print("api", f"✓ Ready -> {url_of(where)}"))


def check_at_start(settings: Settings) -> None:
    """Run the API's checks; raises the first error, but only prints one of the database.

    The API starts without the database too, and ``/health/ready`` answers 503 until it is back.
    """
    try:
        with closing(db.connect(settings, "preflight")) as conn:
            check(conn, settings, "api")
    except DatabaseUnavailable as error:
        _print("api", f"✗ Database: {redact(str(error))}")


def check(conn: Connection, settings: Settings, service: str) -> None:
    """Run a service's checks and print the main ones; raises the first error.

    A DatabaseUnavailable is raised before anything is printed, because the caller reports it and waits.
    """
    checks = list(preflight.service_checks(conn, settings))
    error = next((check.error for check in checks if check.error), None)
    if isinstance(error, DatabaseUnavailable):
        raise error
    for check in checks:
        if check.error or check.name in _SHOWN:
            _print(service, check.line)
    if error:
        raise error


def refuse_taken_port(settings: Settings) -> None:
    """Raise ConfigError if HOST and PORT cannot be opened; gunicorn would retry for five seconds first."""
    if systemd.has_sockets():
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        # The error of an unknown name has a negative number, which strerror does not know.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ConfigError(
            f"PORT: {settings.host}:{settings.port} cannot be opened: {reason};"
            " stop the program that uses it, or set PORT to another one"
        ) from error


def _settings(*require: str) -> Settings:
    """The settings of a service, with its log set up."""
    end_with_parent()
    environment = find_environment()
    # gunicorn's processes read the environment themselves.
    os.environ.update(environment)
    settings = required(environment, *require)
    logs.configure(settings)
    return settings


def _print(service: str, text: str) -> None:
    try:
        click.echo(spell_symbols(f"[{service}] {text}"))
    except OSError:
        # A full disk or a closed pipe under stdout must not end a service.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def address(settings: Settings) -> str:
    """The URL of the API on this machine: ``http://localhost:3000``."""
    return url_of((settings.host, settings.port))


def url_of(address: object) -> str:
    """The URL of the server at a socket address, on this machine; of a Unix socket ``unix:PATH``."""
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host, port = str(address[0]), address[1]
    if host in ("127.0.0.1", "0.0.0.0", "::", "::1"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
