"""A killed ``mailsync dev``: nothing that it started hinders the next one (SPEC §17)."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from mailsync.cli.embedded.postgres import runtime_directory
from tests.acceptance.cli.test_services import is_gone, wait_for_both
from tests.support import planted, run_directory
from tests.support.programs import Mailsync, Running


@pytest.fixture
def made(mailsync: Mailsync) -> Iterator[Path]:
    """The directory that ``dev`` makes when only a port is set."""
    home = mailsync.directory / "project"
    home.mkdir()
    for name in ("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN"):
        del mailsync.environment[name]
    mailsync.directory = home
    yield home / ".mailsync"
    shutil.rmtree(runtime_directory(home / ".mailsync"), ignore_errors=True)


def test_services_end_when_the_command_that_runs_them_is_killed(mailsync: Mailsync) -> None:
    port = str(run_directory.free_port())
    running = mailsync.start("dev", "--skip-preflight", PORT=port)
    wait_for_both(running)
    killed(running)
    run_directory.wait_until(lambda: is_free(int(port)), f"port {port}")
    again = mailsync.start("dev", "--skip-preflight", PORT=port)
    wait_for_both(again)
    again.terminate()
    assert again.wait() == 0


@pytest.mark.long
def test_the_postgres_of_a_killed_dev_is_ended_by_the_last_that_uses_it(
    mailsync: Mailsync, made: Path
) -> None:
    running = dev(mailsync, made)
    postgres = int((made / "postgres" / "postmaster.pid").read_text().split()[0])
    killed(running)
    first, second = dev(mailsync, made), dev(mailsync, made)
    for still_used, running in ((True, first), (False, second)):
        running.send_signal(signal.SIGINT)
        assert running.wait() == 0
        assert is_gone(postgres) is not still_used


def test_the_embedded_postgres_knows_the_case_of_all_letters(mailsync: Mailsync, made: Path) -> None:
    running = dev(mailsync, made)
    (url,) = (
        line.partition("=")[2]
        for line in (made / "env").read_text().splitlines()
        if line.startswith("DATABASE_URL=")
    )
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "select lower('ÄÉЖ'), 'über' ilike '%ÜB%', to_tsvector('simple', 'Öl')::text"
        ).fetchone()
    assert row == ("äéж", True, "'öl':1")
    running.send_signal(signal.SIGINT)
    assert running.wait() == 0


def dev(mailsync: Mailsync, made: Path) -> Running:
    """One more ``dev`` in the same directory, with a port of its own."""
    running = mailsync.start("dev", "--skip-preflight", PORT=str(run_directory.free_port()))
    wait_for_both(running)
    for name in ("key", "token"):
        planted.keep((made / name).read_text().strip())
    return running


def killed(running: Running) -> None:
    """``kill -9`` it, and wait until its services and their processes are gone."""
    # gunicorn forks its worker after it has reported that it is ready.
    run_directory.wait_until(lambda: len(services_of(running)) >= 3, "the worker, gunicorn and its process")
    services = services_of(running)
    running.kill9()
    run_directory.wait_until(
        lambda: all(is_gone(service.pid) for service in services), "the end of the services"
    )


def is_free(port: int) -> bool:
    """Whether the port is free; a process that is gone may hold it for a moment longer."""
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        probe.listen()
        return True
    return False


def services_of(running: Running) -> list[psutil.Process]:
    """The processes of its services; Postgres is none of them."""
    services = []
    for process in run_directory.family(running.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "mailsync" in process.cmdline():
                services.append(process)
    return services
