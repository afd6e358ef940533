"""What every command stands on: settings, the database, an account by its address, output as text or JSON."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from mailsync import logs
from mailsync.config import Settings, read_environment
from mailsync.core.providers import normalise_email
from mailsync.engine.turn import StopSignal
from mailsync.errors import ConfigError, DatabaseUnavailable
from mailsync.redaction import redact
from mailsync.store import accounts, db
from mailsync.store.cancelling import Canceller
from mailsync.store.db import Connection
from mailsync.unprintable import CONTROLS, DIRECTIONS, INVISIBLE

LOCK_WAIT = 5.0
"""Seconds that a command stands in the queue for an account's lock before it gives up with exit code 3."""

_CANCEL_AFTER = 1.0
"""Seconds after a signal, from which statements that do not end are cancelled."""

DEV_DIRECTORY = Path(".mailsync")

F = TypeVar("F", bound=Callable[..., Any])

# those below 32 JSON escapes itself
_ESCAPED = {ord(char): json.dumps(char)[1:-1] for char in CONTROLS | DIRECTIONS | INVISIBLE if char >= "\x7f"}


def environment(*, with_dev: bool = True) -> dict[str, str]:
    """The environment with what ``.env`` adds; without DATABASE_URL also what ``mailsync dev`` left here."""
    found = read_environment(Path(".env"))
    if with_dev and not found.get("DATABASE_URL", "").strip():
        found = read_environment(DEV_DIRECTORY / "env") | {k: v for k, v in found.items() if v.strip()}
    return found


def settings_for(*require: str) -> Settings:
    """The settings of a command that ends; `require` are the variables it cannot do without.

    Log lines below WARNING are left out unless LOG_LEVEL asks for them: a person reads the output.
    """
    found = environment()
    return log_warnings_only(required(found, *require), found)


def log_warnings_only(settings: Settings, found: Mapping[str, str]) -> Settings:
    """Set up a command's log, from WARNING on unless `found` has a LOG_LEVEL; returns the settings for it."""
    if not found.get("LOG_LEVEL", "").strip():
        settings = settings.model_copy(update={"log_level": "WARNING"})
    logs.configure(settings)
    return settings


def required(found: Mapping[str, str], *require: str) -> Settings:
    """The settings in what :func:`environment` has found; `require` are the variables that must be there.

    Raises ConfigError; for want of a database it names `mailsync dev`, which leaves one here.
    """
    settings, wrong = judged(found, *require)
    for error in wrong.values():
        raise error
    return settings


def judged(found: Mapping[str, str], *require: str) -> tuple[Settings, dict[str, ConfigError]]:
    """Read the settings as :func:`required` does, but return every error, by variable, beside them."""
    settings, wrong = Settings.judge(found, require=require)
    if "DATABASE_URL" in wrong and not found.get("DATABASE_URL", "").strip():
        wrong["DATABASE_URL"] = ConfigError(
            f"{wrong['DATABASE_URL']}; or start `mailsync dev` here, which makes one"
        )
    return settings, wrong


def connect(settings: Settings, *, statement_timeout: float | None = None) -> Connection:
    """Open a session connection of this command's own; `statement_timeout` is in seconds."""
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
    """A session connection of this command's own, closed at the end."""
    with closing(connect(settings)) as conn:
        yield conn


def _is_of_dev(url: str | None) -> bool:
    """Whether it is the Postgres of ``mailsync dev``, which runs only as long as that does."""
    given = environment(with_dev=False).get("DATABASE_URL", "").strip()
    return not given and read_environment(DEV_DIRECTORY / "env").get("DATABASE_URL") == url


@contextmanager
def account(email: str, *require: str) -> Iterator[tuple[Connection, Settings, int]]:
    """Connection, settings and the id of the account of that address; raises NotFound."""
    settings = settings_for("DATABASE_URL", *require)
    with database(settings) as conn:
        yield conn, settings, accounts.find(conn, normalise_email(email))


def stop_signals() -> list[signal.Signals]:
    """What asks a command to end: Ctrl-C, SIGTERM, and a terminal that is closed, unless nohup forbids it."""
    heard = [signal.SIGINT, signal.SIGTERM]
    return heard if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [*heard, signal.SIGHUP]


@contextmanager
def stoppable() -> Iterator[StopSignal]:
    """Turn the signals into a request to stop at the next batch; a second one interrupts at once.

    A statement that does not end within two seconds is cancelled, and the turn ends with Stopped.
    """
    stop, canceller = StopSignal(), Canceller(_CANCEL_AFTER)
    canceller.start()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.set()
        canceller.ask()

    before = {number: signal.signal(number, handle) for number in stop_signals()}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        canceller.close()


# -- output -------------------------------------------------------------------------------------------


def json_option(command: F) -> F:
    """``--json``: one document on stdout; messages go to stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def password_stdin_option(command: F) -> F:
    """``--password-stdin``."""
    return click.option(
        "--password-stdin", is_flag=True, help="Read the password from standard input, to its first line end."
    )(command)


def email_argument(command: F) -> F:
    """The address that names the account."""
    return click.argument("email", metavar="EMAIL")(command)


def emit(document: object) -> None:
    """Print one JSON document."""
    click.echo(as_json(document, indent=2))


def as_json(document: object, *, indent: int | None = None) -> str:
    """A JSON document as text; what would steer the terminal that it may be shown on is escaped in it."""
    return json.dumps(plain(document), ensure_ascii=False, indent=indent).translate(_ESCAPED)


def say(text: str, *, as_json: bool = False) -> None:
    """A line for people: on stdout, or on stderr where stdout is for the JSON document."""
    click.echo(text, err=as_json)


def note(text: str) -> None:
    """A line for people that is not the result: on stderr."""
    click.echo(text, err=True)


def plain(value: Any) -> Any:
    """`value` with everything that JSON knows nothing of made text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))
