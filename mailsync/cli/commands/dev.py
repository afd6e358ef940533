"""``dev`` and ``start``: API and worker together."""

from __future__ import annotations

import base64
import os
import secrets
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import click

from mailsync import logs
from mailsync.cli import common
from mailsync.cli.commands.services import address, refuse_taken_port
from mailsync.cli.common import DEV_DIRECTORY, say
from mailsync.cli.embedded.postgres import Embedded, embedded_postgres
from mailsync.cli.embedded.private_directory import private_directory
from mailsync.cli.supervisor import supervise
from mailsync.config import Settings
from mailsync.errors import ConfigError, DatabaseUnavailable, SchemaDegraded
from mailsync.ops import preflight
from mailsync.store import db, migrations

SERVICES = ("api", "worker")


@click.command()
@click.option("--skip-preflight", is_flag=True, help="Start without checks.")
def dev(skip_preflight: bool) -> int:
    """Run API and worker in this terminal, each line marked, until Ctrl-C.

    Without DATABASE_URL it starts an embedded Postgres (pip extra "embedded") in .mailsync/ and migrates it.
    A missing key and API token are made there too, readable by you alone. Other commands that are run in the
    same directory find them.

    \b
    Example:
      mailsync dev
      mailsync add-account you@fastmail.com  # in another terminal, here
    """
    # the file that an earlier `dev` left here is made anew, so it must not speak for itself
    found = common.environment(with_dev=False)
    refuse_taken_port(Settings.from_env(found))
    with ExitStack() as stack:
        stop = stack.enter_context(common.stoppable())
        made = _make_secrets(found)
        server = None
        if not found.get("DATABASE_URL", "").strip():
            server = stack.enter_context(embedded_postgres(DEV_DIRECTORY))
            made["DATABASE_URL"] = server.url
        environment = found | made
        settings = Settings.from_env(environment, require=preflight.variables(production=False))
        logs.configure(settings)
        if server:
            with closing(db.connect(settings, "dev")) as conn:
                migrations.migrate(conn, settings)
        _write(DEV_DIRECTORY / "env", "".join(f"{name}={value}\n" for name, value in made.items()))
        if not skip_preflight:
            check(settings, production=False)
        introduce(settings, server, DEV_DIRECTORY / "token" if "API_TOKEN" in made else None)
        return supervise(SERVICES, for_children(environment), stop)


@click.command()
def start() -> int:
    """Check everything as for production, then run API and worker until SIGTERM or Ctrl-C.

    If the database is not there yet, both wait for it.

    \b
    Example:
      mailsync start
    """
    found = common.environment()
    settings, wrong = common.judged(found, *preflight.variables(production=True))
    logs.configure(settings)
    if "HOST" not in wrong and "PORT" not in wrong:
        refuse_taken_port(settings)
    with common.stoppable() as stop:
        check(settings, production=True, wrong=wrong)
        return supervise(SERVICES, for_children(found), stop)


def check(settings: Settings, *, production: bool, wrong: Mapping[str, ConfigError] | None = None) -> None:
    """Print a line for each check; raises the error that matters most, after all were shown.

    A DatabaseUnavailable is not raised, because the services wait for the database; nor is a SchemaDegraded,
    because they run with it.
    """
    failed = []
    for found in preflight.run(settings, production=production, wrong=wrong):
        say(found.line)
        if found.error and not isinstance(found.error, DatabaseUnavailable | SchemaDegraded):
            failed.append(found.error)
    if failed:
        # configuration first: only exit code 2 keeps a supervisor from trying again
        raise max(failed, key=lambda error: error.exit_code == 2)


def introduce(settings: Settings, server: Embedded | None, token: Path | None) -> None:
    """Say where things are."""
    lines = [f"API       curl {address(settings)}/health/ready"]
    if token:
        lines.append(f"          its token is in {token}")
    if server:
        lines.append(f"Postgres  {server.psql}")
    say("\n".join(["", *lines, "Ctrl-C ends everything", ""]))


def for_children(environment: Mapping[str, str]) -> dict[str, str]:
    """What the services get; on a terminal their log is for people."""
    wanted = {"LOG_FORMAT": "text"} if sys.stdout.isatty() else {}
    return wanted | {name: value for name, value in environment.items() if value.strip()}


def _make_secrets(found: Mapping[str, str]) -> dict[str, str]:
    """The key and the token where they are missing: from files of an earlier time, else new ones."""
    private_directory(DEV_DIRECTORY, otherwise="remove it, or run this in another directory")
    fresh = {
        "IMAP_ENCRYPTION_KEY": ("key", base64.b64encode(secrets.token_bytes(32)).decode()),
        "API_TOKEN": ("token", secrets.token_urlsafe(32)),
    }
    made = {}
    for variable, (name, new) in fresh.items():
        if found.get(variable, "").strip():
            continue
        file = DEV_DIRECTORY / name
        if not file.exists():
            _write(file, f"{new}\n")
        made[variable] = file.read_text().strip()
    return made


def _write(file: Path, text: str) -> None:
    """Write a file that only its owner can read, at no moment anybody else."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
