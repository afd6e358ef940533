"""``worker`` and ``api``: one service each, as systemd and the Procfile start them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import closing

import click

from mailsync import logs
from mailsync.cli.common import environment, required
from mailsync.cli.supervisor import end_with_parent
from mailsync.config import Settings
from mailsync.errors import ConfigError, DatabaseUnavailable, MailsyncError
from mailsync.ops import preflight, systemd
from mailsync.redaction import redact
from mailsync.store import db
from mailsync.store.db import Connection

_SHOWN = ("database", "locks", "accounts")


@click.command()
@click.option(
    "--once", is_flag=True, help="A hot pass, one backfill turn per account, retention if due, then end."
)
def worker(once: bool) -> None:
    """Keep all accounts fresh, until SIGTERM or SIGINT.

    Any number of workers may run against the same database. They wait while it is away, full or read-only.

    \b
    Example:
      mailsync worker
      mailsync worker --once      # from cron
    """
    settings = _settings("DATABASE_URL", "IMAP_ENCRYPTION_KEY")
    from mailsync.ops.metrics_server import listening
    from mailsync.worker.poll_loop import Worker

    def starting(conn: Connection) -> None:
        check(conn, settings, "worker")

    def ready() -> None:
        _print("worker", f"✓ Ready -> Poll loop running ({settings.sync_interval:g}s interval)")

    def unreached(error: MailsyncError) -> None:
        _print("worker", f"✗ Database: {redact(str(error))}")

    # a pass from cron is over before anybody looks, and may run beside a worker that has the port
    with listening(settings.model_copy(update={"metrics_port": None}) if once else settings) as url:
        if url:
            _print("worker", f"✓ Metrics -> {url}")
        Worker(settings).run(once=once, starting=starting, ready=ready, unreached=unreached)


@click.command()
def api() -> None:
    """Serve the HTTP API on HOST and PORT, until SIGTERM or SIGINT.

    It is gunicorn with mailsync.web.gunicorn_conf; WEB_CONCURRENCY adds processes.

    \b
    Example:
      PORT=8080 mailsync api
    """
    settings = _settings("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN")
    # the checks may wait for the database, and there is nothing to finish yet; gunicorn sets its own handler
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    check_at_start(settings)
    refuse_taken_port(settings)
    from mailsync.web.server.run import serve

    serve(lambda where: _print("api", f"✓ Ready -> {url_of(where)}"))


def check_at_start(settings: Settings) -> None:
    """Do the API's checks; print the error, and return, if the database cannot be used.

    The API starts in that case too, and ``/health/ready`` answers 503 until the database is back.
    """
    try:
        with closing(db.connect(settings, "preflight")) as conn:
            check(conn, settings, "api")
    except DatabaseUnavailable as error:
        _print("api", f"✗ Database: {redact(str(error))}")


def check(conn: Connection, settings: Settings, service: str) -> None:
    """Do a service's checks and print the lines that people look for; raises the first error.

    A DatabaseUnavailable is raised before anything is printed: the caller waits for the database and says so.
    """
    found = list(preflight.for_service(conn, settings))
    error = next((each.error for each in found if each.error), None)
    if isinstance(error, DatabaseUnavailable):
        raise error
    for each in found:
        if each.error or each.name in _SHOWN:
            _print(service, each.line)
    if error:
        raise error


def refuse_taken_port(settings: Settings) -> None:
    """Raise ConfigError if HOST and PORT cannot be opened; gunicorn would try for five seconds instead."""
    if systemd.has_sockets():
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        # a name that is not known has no strerror of the system's kind
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ConfigError(
            f"PORT: {settings.host}:{settings.port} cannot be opened: {reason};"
            " end what uses it, or give another port"
        ) from error


def _settings(*require: str) -> Settings:
    """The settings of a service, whose log goes to stderr as it is configured."""
    end_with_parent()
    found = environment()
    # gunicorn's processes read the environment themselves
    os.environ.update(found)
    settings = required(found, *require)
    logs.configure(settings)
    return settings


def _print(service: str, text: str) -> None:
    try:
        click.echo(f"[{service}] {text}")
    except OSError:
        # a service does not end because nobody takes its lines: the disk may be full, the reader gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def address(settings: Settings) -> str:
    """Where the API will be reached from here: ``http://localhost:3000``."""
    return url_of((settings.host, settings.port))


def url_of(address: object) -> str:
    """How the socket with this address, a Unix one too, is reached from here."""
    if not isinstance(address, tuple):
        return f"unix:{address}"
    host, port = str(address[0]), address[1]
    if host in ("127.0.0.1", "0.0.0.0", "::", "::1"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
