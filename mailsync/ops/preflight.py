"""The checks that ``mailsync preflight`` shows and that services run at their start (SPEC §20)."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from mailsync.auth.clients import client_of
from mailsync.config import Settings
from mailsync.errors import (
    ClientRejected,
    ConfigError,
    KeyMismatch,
    MailsyncError,
    SchemaDegraded,
    SchemaError,
)
from mailsync.redaction import redact
from mailsync.store import accounts, credentials, db, locks, migrations, schema_diff, transport
from mailsync.store.db import Connection

log = logging.getLogger(__name__)

NO_ACCOUNT = "No account yet; add one with `mailsync add-account`"


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check: its short name, one line of text, and the error if it failed.

    A `note` is neither a success nor a failure; it suggests what to do next.
    """

    name: str
    text: str
    error: MailsyncError | None = None
    note: bool = False

    @property
    def line(self) -> str:
        """``✓ Database connected``, ``✗ Database: …`` or ``– No account yet; …``."""
        return f"{'✗' if self.error else '–' if self.note else '✓'} {self.text}"

    @property
    def document(self) -> dict[str, object]:
        """The check as JSON."""
        return {
            "name": self.name,
            "ok": self.error is None,
            "text": self.text,
            "code": self.error.code if self.error else None,
        }


class _Note(str):
    """A text that a check yields as a note."""


class _Step(NamedTuple):
    """A check that uses a connection, and the names of checks and variables that must be good first.

    It yields a text for each success and an error for each failure. It may also raise its last error.
    """

    name: str
    title: str
    check: Callable[[Connection, Settings], Iterator[str | MailsyncError]]
    needs: frozenset[str] = frozenset()


def required_variables(*, production: bool) -> tuple[str, ...]:
    """The environment variables that must be set."""
    return ("DATABASE_URL", "IMAP_ENCRYPTION_KEY", *(("API_TOKEN",) if production else ()))


def run(
    settings: Settings, *, production: bool = False, wrong: Mapping[str, ConfigError] | None = None
) -> Iterator[Check]:
    """Run all checks in order, without those that need a failed one.

    `wrong` maps variables to their errors, as :meth:`Settings.judge` returns them.
    """
    failed = set(wrong or ())
    for error in (wrong or {}).values():
        yield _failed("environment", "Environment", error)
    if not wrong:
        yield Check("environment", "Environment complete")
    if "DATABASE_URL" in failed:
        return
    try:
        conn = db.connect(settings, "preflight")
    except MailsyncError as error:
        yield _failed("database", "Database", error)
        return
    with closing(conn):
        yield Check("database", "Database connected")
        for step in (*_STEPS, *_PRODUCTION) if production else _STEPS:
            if failed.isdisjoint(step.needs):
                checks = list(_checks(step, conn, settings))
                yield from checks
                failed |= {step.name} if any(map(_blocks, checks)) else set()


def service_checks(conn: Connection, settings: Settings) -> Iterator[Check]:
    """Run the checks of a service on its first connection, up to the first that fails."""
    yield Check("database", "Database connected")
    for step in _SERVICE_STEPS:
        checks = list(_checks(step, conn, settings))
        yield from checks
        if any(check.error for check in checks):
            return


def exit_code(failed: list[MailsyncError]) -> int:
    """The exit code for these errors: 2 if any is about configuration, else 1; 0 if there are none."""
    return 2 if any(error.exit_code == 2 for error in failed) else 1 if failed else 0


def _blocks(check: Check) -> bool:
    return check.error is not None and not isinstance(check.error, SchemaDegraded)


def _checks(step: _Step, conn: Connection, settings: Settings) -> Iterator[Check]:
    try:
        for result in step.check(conn, settings):
            if isinstance(result, MailsyncError):
                yield _failed(step.name, step.title, result)
            else:
                yield Check(step.name, result, note=isinstance(result, _Note))
    except MailsyncError as error:
        yield _failed(step.name, step.title, error)


def _failed(name: str, title: str, error: MailsyncError) -> Check:
    return Check(name, f"{title}: {redact(str(error))}", error)


def _transport(conn: Connection, settings: Settings) -> Iterator[str]:
    used = transport.transport_of(conn)
    if used.warning:
        yield _Note(used.warning)
    elif used.proof:
        yield used.proof


def _locks(conn: Connection, settings: Settings) -> Iterator[str]:
    locks.self_test(settings)
    yield "Lock self-test passed"


def _schema(conn: Connection, settings: Settings) -> Iterator[str | MailsyncError]:
    """Check the migrations, then list each difference from the schema that they create."""
    migrations.check(conn)
    differences = schema_diff.differences(conn)
    for difference in differences:
        yield SchemaError(str(difference)) if difference.is_harmful else SchemaDegraded(str(difference))
    if not differences:
        yield _current_schema()


def _usable_schema(conn: Connection, settings: Settings) -> Iterator[str]:
    """Refuse a schema that could make the mirror wrong, and log other differences."""
    migrations.check(conn)
    for difference in schema_diff.check(conn):
        log.warning("Schema: %s", difference, extra={"action": "preflight"})
    yield _current_schema()


def _current_schema() -> str:
    return f"Schema is current ({migrations.migrations()[-1].name})"


def _key(conn: Connection, settings: Settings) -> Iterator[str]:
    """Decrypt every stored password. Raises one KeyMismatch for all that do not decrypt."""
    sealed = credentials.load(conn)
    keys = settings.encryption_keys()
    if not keys:
        raise ConfigError("IMAP_ENCRYPTION_KEY is not set; generate one with `mailsync generate-key`")
    unopened = []
    for account in sealed:
        try:
            account.open(keys, account.id, account.endpoint)
        except KeyMismatch:
            unopened.append(account.email)
    if unopened:
        first, *others = unopened
        names = f"{first} and {len(others)} more" if others else first
        raise KeyMismatch(
            f"IMAP_ENCRYPTION_KEY does not open the passwords or tokens of {len(unopened)} of"
            f" {len(sealed)} accounts ({names}); use the key they were encrypted with, or set them again"
        )
    if not sealed:
        yield "Key is well-formed (no credentials are stored yet)"
    else:
        yield f"Key opens {'the credentials' if len(sealed) == 1 else f'all {len(sealed)} credentials'}"


def _oauth(conn: Connection, settings: Settings) -> Iterator[str]:
    """Name the clients that are configured, and each that accounts need but the settings lack."""
    if settings.oauth_clients:
        yield f"OAuth clients: {', '.join(client.name for client in settings.oauth_clients)}"
    owners = Counter(account.owner for account in credentials.load(conn) if account.owner)
    for owner, count in owners.items():
        try:
            client_of(settings, owner)
        except ClientRejected as error:
            yield _Note(
                f"{'1 account cannot' if count == 1 else f'{count} accounts cannot'} sign in: {error}"
            )


def _accounts(conn: Connection, settings: Settings) -> Iterator[str]:
    yield f"Accounts: {accounts.check_limit(conn, settings)}/{settings.sync_max_accounts}"


def _account(conn: Connection, settings: Settings) -> Iterator[str]:
    yield "At least one account" if accounts.check_limit(conn, settings) else _Note(NO_ACCOUNT)


_STORED = frozenset({"schema", "DATABASE_SCHEMA"})
_STEPS = (
    _Step("transport", "Transport", _transport),
    _Step("locks", "Lock self-test", _locks),
    _Step("schema", "Schema", _schema, frozenset({"DATABASE_SCHEMA"})),
    _Step("key", "Key", _key, _STORED | {"IMAP_ENCRYPTION_KEY"}),
    _Step("oauth", "OAuth", _oauth, _STORED),
    _Step("accounts", "Accounts", _accounts, _STORED | {"SYNC_MAX_ACCOUNTS"}),
)
_SERVICE_STEPS = tuple(
    step._replace(check=_usable_schema) if step.check is _schema else step for step in _STEPS
)
_PRODUCTION = (_Step("account", "At least one account", _account, _STORED | {"accounts"}),)
