"""``dev`` and ``start``: the API and the worker together."""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import click

from mailsync import logs
from mailsync.cli import common
from mailsync.cli.commands.services import address, refuse_taken_port
from mailsync.cli.common import say
from mailsync.cli.embedded.postgres import Embedded, embedded_postgres
from mailsync.cli.embedded.private_directory import private_directory
from mailsync.cli.supervisor import supervise
from mailsync.config import DEV_DIRECTORY, Settings, find_environment
from mailsync.errors import ConfigError, DatabaseUnavailable, SchemaDegraded
from mailsync.ops import preflight
from mailsync.store import db, migrations

SERVICES = ("api", "worker")


@click.command()
@click.option("--skip-preflight", is_flag=True, help="Start without the checks.")
def dev(skip_preflight: bool) -> int:
    """Run the API and the worker in this terminal, until Ctrl-C.

    Without DATABASE_URL, dev starts an embedded Postgres (pip extra "embedded") with its data in .mailsync/
    and creates the schema. It also makes an encryption key and an API token there if you have none; only you
    can read them. Other commands in the same directory use them.

    \b
    Example:
      mailsync dev
      mailsync add-account you@fastmail.com  # in a second terminal
    """
    # Ignore the file that an earlier `dev` left here, because this one writes it again.
    environment = find_environment(with_dev=False)
    refuse_taken_port(Settings.from_env(environment))
    with ExitStack() as stack:
        stop = stack.enter_context(common.stoppable())
        made = _make_secrets(environment)
        server = None
        if not environment.get("DATABASE_URL", "").strip():
            server = stack.enter_context(embedded_postgres(DEV_DIRECTORY))
            made["DATABASE_URL"] = server.url
        environment |= made
        settings = Settings.from_env(environment, require=preflight.required_variables(production=False))
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
    """Run the production checks, then the API and the worker, until SIGTERM or Ctrl-C.

    If the database cannot be reached yet, both wait for it.

    \b
    Example:
      mailsync start
    """
    environment = find_environment()
    settings, wrong = common.judged(environment, *preflight.required_variables(production=True))
    logs.configure(settings)
    if "HOST" not in wrong and "PORT" not in wrong:
        refuse_taken_port(settings)
    with common.stoppable() as stop:
        check(settings, production=True, wrong=wrong)
        return supervise(SERVICES, for_children(environment), stop)


def check(settings: Settings, *, production: bool, wrong: Mapping[str, ConfigError] | None = None) -> None:
    """Print a line for each check, then raise the most important error.

    DatabaseUnavailable and SchemaDegraded are only printed: the services wait for the database, and run with
    such a schema.
    """
    failed = []
    for result in preflight.run(settings, production=production, wrong=wrong):
        say(result.line)
        if result.error and not isinstance(result.error, DatabaseUnavailable | SchemaDegraded):
            failed.append(result.error)
    if failed:
        # Configuration first: only exit code 2 keeps a process manager from restarting us.
        raise max(failed, key=lambda error: error.exit_code == 2)


def introduce(settings: Settings, server: Embedded | None, token: Path | None, *more: str) -> None:
    """Print commands that reach the API and the database, ready to paste, then `more` lines."""
    lines = [
        "",
        "In another terminal:" if token is None else f"In another terminal (the API token is in {token}):",
        "",
        curl(settings, None, "/health/ready"),
        *([curl(settings, token, "/v1/accounts")] if token else []),
        *([server.psql] if server else []),
        *more,
        "",
        "Press Ctrl-C to end everything.",
        "",
    ]
    say("\n".join(lines))


def curl(settings: Settings, token: Path | None, path: str) -> str:
    """A command that gets this path of the API, with the token in that file."""
    url = shlex.quote(f"{address(settings)}{path}")
    header = f'-H "Authorization: Bearer $(cat {shlex.quote(str(token))})" ' if token else ""
    return f"curl {header}{url}"


def for_children(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the services; on a terminal they log text."""
    defaults = {"LOG_FORMAT": "text"} if sys.stdout.isatty() else {}
    return defaults | {name: value for name, value in environment.items() if value.strip()}


def _make_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The key and the token that `environment` lacks: those of an earlier ``dev``, or new ones."""
    private_directory(DEV_DIRECTORY, otherwise="remove it, or run this in another directory")
    new = {
        "IMAP_ENCRYPTION_KEY": ("key", base64.b64encode(secrets.token_bytes(32)).decode()),
        "API_TOKEN": ("token", secrets.token_urlsafe(32)),
    }
    made = {}
    for variable, (name, secret) in new.items():
        if environment.get(variable, "").strip():
            continue
        file = DEV_DIRECTORY / name
        if not file.exists():
            _write(file, f"{secret}\n")
        made[variable] = file.read_text().strip()
    return made


def _write(file: Path, text: str) -> None:
    """Write a file that is never readable by other users, not even while it is being created."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
