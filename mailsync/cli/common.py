"""Parts that the commands share: settings, the database, an account by its address, stop signals, output."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from types import FrameType
from typing import Any, TypeVar

import click

from mailsync import logs
from mailsync.cli.terminal import rfc3339, spell_symbols
from mailsync.config import DEV_DIRECTORY, Settings, find_environment, read_environment
from mailsync.core.providers import normalise_email
from mailsync.engine.turn import StopSignal
from mailsync.errors import ConfigError, DatabaseUnavailable
from mailsync.redaction import redact
from mailsync.store import accounts, db
from mailsync.store.cancelling import Canceller
from mailsync.store.db import Connection
from mailsync.unprintable import CONTROLS, DIRECTIONS, INVISIBLE

LOCK_WAIT = 5.0
"""Seconds that a command waits for an account's lock before it gives up with exit code 3."""

_CANCEL_AFTER = 1.0
"""Seconds after a stop signal until running statements are cancelled."""

F = TypeVar("F", bound=Callable[..., Any])

# JSON itself escapes the characters below 32.
_ESCAPED = {ord(char): json.dumps(char)[1:-1] for char in CONTROLS | DIRECTIONS | INVISIBLE if char >= "\x7f"}


# -- settings ------------------------------------------------------------------------------------------


def settings_for(*require: str) -> Settings:
    """The settings of a command that ends by itself, with its log set up; `require` lists its variables.

    A person reads the output, so only warnings and errors are logged unless LOG_LEVEL is set. Raises
    ConfigError.
    """
    environment = find_environment()
    return log_warnings_only(required(environment, *require), environment)


def log_warnings_only(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """Set up the log for warnings and errors, unless `environment` has LOG_LEVEL; returns the settings."""
    if not environment.get("LOG_LEVEL", "").strip():
        settings = settings.model_copy(update={"log_level": "WARNING"})
    logs.configure(settings)
    return settings


def required(environment: Mapping[str, str], *require: str) -> Settings:
    """The settings in `environment`; raises ConfigError for the first variable that is missing or wrong."""
    settings, errors = judged(environment, *require)
    for error in errors.values():
        raise error
    return settings


def judged(environment: Mapping[str, str], *require: str) -> tuple[Settings, dict[str, ConfigError]]:
    """The settings in `environment`, and the error of each variable that is missing or wrong, by its name.

    The error of a missing DATABASE_URL suggests `mailsync dev`, which starts a Postgres.
    """
    settings, errors = Settings.judge(environment, require=require)
    if "DATABASE_URL" in errors and not environment.get("DATABASE_URL", "").strip():
        errors["DATABASE_URL"] = ConfigError(
            f"{errors['DATABASE_URL']}; or run `mailsync dev` here, which starts a Postgres"
        )
    return settings, errors


# -- the database --------------------------------------------------------------------------------------


def connect(settings: Settings, *, statement_timeout: float | None = None) -> Connection:
    """Open a connection for this command; `statement_timeout` is in seconds. Raises DatabaseUnavailable."""
    try:
        return db.connect(settings, "cli", statement_timeout=statement_timeout)
    except DatabaseUnavailable as error:
        if _is_of_dev(settings.database_url):
            raise DatabaseUnavailable(
                "`mailsync dev` is not running in this directory; start it, or set DATABASE_URL"
            ) from error
        raise


@contextmanager
def database(settings: Settings) -> Iterator[Connection]:
    """A connection for this command, closed at the end."""
    with closing(connect(settings)) as conn:
        yield conn


def _is_of_dev(url: str | None) -> bool:
    """Whether the URL is that of the Postgres of ``mailsync dev``, which stops with it."""
    own = find_environment(with_dev=False).get("DATABASE_URL", "").strip()
    return not own and read_environment(DEV_DIRECTORY / "env").get("DATABASE_URL") == url


@contextmanager
def account(email: str, *require: str) -> Iterator[tuple[Connection, Settings, int]]:
    """A connection, the settings, and the id of the account with this address; raises NotFound."""
    settings = settings_for("DATABASE_URL", *require)
    with database(settings) as conn:
        yield conn, settings, accounts.find(conn, normalise_email(email))


# -- signals -------------------------------------------------------------------------------------------


def stop_signals() -> list[signal.Signals]:
    """The signals that end a command: Ctrl-C, SIGTERM, and a closed terminal unless ``nohup`` ignores it."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    return numbers if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [*numbers, signal.SIGHUP]


@contextmanager
def handled(handle: Callable[[int, FrameType | None], None], numbers: list[signal.Signals]) -> Iterator[None]:
    """Handle these signals with `handle` until the end of the block."""
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and a closed terminal interrupt the block as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with handled(interrupt, stop_signals()):
        yield


@contextmanager
def stoppable() -> Iterator[StopSignal]:
    """Let a stop signal ask for an end at the next batch; a second signal interrupts at once.

    A statement that runs on for a second is cancelled, and the turn ends with Stopped.
    """
    stop, canceller = StopSignal(), Canceller(_CANCEL_AFTER)
    canceller.start()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.set()
        canceller.ask()

    try:
        with handled(handle, stop_signals()):
            yield stop
    finally:
        canceller.close()


# -- options -------------------------------------------------------------------------------------------


def json_option(command: F) -> F:
    """``--json``: print one document on stdout, and messages on stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def password_stdin_option(command: F) -> F:
    """``--password-stdin``."""
    return click.option(
        "--password-stdin", is_flag=True, help="Read the password from the first line of standard input."
    )(command)


def email_argument(command: F) -> F:
    """The address that names the account."""
    return click.argument("email", metavar="EMAIL")(command)


# -- output --------------------------------------------------------------------------------------------


def emit(document: object) -> None:
    """Print one JSON document."""
    click.echo(as_json(document, indent=2))


def as_json(document: object, *, indent: int | None = None) -> str:
    """The document as JSON text, with the characters escaped that would steer a terminal."""
    return json.dumps(plain(document), ensure_ascii=False, indent=indent).translate(_ESCAPED)


def say(text: str) -> None:
    """Print a result for people on stdout."""
    click.echo(spell_symbols(text))


def note(text: str) -> None:
    """Print a message for people on stderr."""
    click.echo(spell_symbols(text), err=True)


def plain(value: Any) -> Any:
    """`value` in the types of JSON: records as objects, times in RFC 3339, everything else as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))
