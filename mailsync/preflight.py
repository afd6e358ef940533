"""The checks before work: what ``mailsync preflight`` shows and the services do at their start (SPEC §20)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from mailsync.config import Settings
from mailsync.errors import (
    ConfigError,
    DatabaseUnavailable,
    KeyMismatch,
    MailsyncError,
    NotFound,
    SchemaError,
)
from mailsync.logs import redact
from mailsync.store import accounts, crypto, db, locks, schema, schema_diff
from mailsync.store.db import Connection

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its short name, what it found in one line, and the error if it failed."""

    name: str
    text: str
    error: MailsyncError | None = None

    @property
    def line(self) -> str:
        """``✓ Database connected`` or ``✗ Database: …``."""
        return f"{'✗' if self.error else '✓'} {self.text}"

    @property
    def document(self) -> dict[str, object]:
        """The check as JSON."""
        return {
            "name": self.name,
            "ok": self.error is None,
            "text": self.text,
            "code": self.error.code if self.error else None,
        }


def variables(*, production: bool) -> tuple[str, ...]:
    """The environment variables without which nothing can be checked."""
    return ("DATABASE_URL", "IMAP_ENCRYPTION_KEY", *(("API_TOKEN",) if production else ()))


def run(settings: Settings, *, production: bool = False) -> Iterator[Check]:
    """All checks, in order; those that need what failed are left out."""
    yield Check("environment", "Environment complete")
    try:
        conn = db.connect(settings, "preflight")
    except MailsyncError as error:
        yield _failed("database", "Database", error)
        return
    with closing(conn):
        yield Check("database", "Database connected")
        yield _check("locks", "Lock self-test", lambda: _locks(settings))
        current = _every_difference(_check("schema", "Schema", lambda: _migrations(conn)), conn)
        yield from current
        if any(check.error for check in current):
            return
        yield _check("key", "Key", lambda: _key(conn, settings))
        yield _check("accounts", "Accounts", lambda: _accounts(conn, settings))
        if production:
            yield _check("account", "At least one account", lambda: _one_account(conn, settings))


def for_service(conn: Connection, settings: Settings) -> Iterator[Check]:
    """What a service checks on its first connection; the one that fails is the last.

    A DatabaseUnavailable of the self-test becomes a ConfigError: waiting does not heal a transaction pooler.
    """
    yield Check("database", "Database connected")
    for name, title, function in (
        ("locks", "Lock self-test", lambda: _locks(settings)),
        ("schema", "Schema", lambda: _schema(conn)),
        ("key", "Key", lambda: _key(conn, settings)),
        ("accounts", "Accounts", lambda: _accounts(conn, settings)),
    ):
        check = _check(name, title, function)
        yield check
        if check.error:
            return


def _check(name: str, title: str, function: Callable[[], str]) -> Check:
    try:
        return Check(name, function())
    except MailsyncError as error:
        return _failed(name, title, error)


def _failed(name: str, title: str, error: MailsyncError) -> Check:
    return Check(name, f"{title}: {redact(str(error))}", error)


def _locks(settings: Settings) -> str:
    try:
        locks.self_test(settings)
    except DatabaseUnavailable as error:
        raise ConfigError(str(error)) from error
    return "Lock self-test passed"


def _migrations(conn: Connection) -> str:
    schema.check(conn)
    return f"Schema is current ({schema.migrations()[-1].name})"


def _schema(conn: Connection) -> str:
    """What a service asks: the migrations, and that nothing is missing by which the mirror becomes untrue."""
    current = _migrations(conn)
    for difference in schema_diff.check(conn):
        log.warning("Schema: %s", difference, extra={"action": "preflight"})
    return current


def _every_difference(migrations: Check, conn: Connection) -> list[Check]:
    """The check of the migrations, or a failed one for each difference from the schema that they make."""
    if migrations.error:
        return [migrations]
    try:
        found = [SchemaError(str(difference)) for difference in schema_diff.differences(conn)]
    except MailsyncError as error:
        return [_failed("schema", "Schema", error)]
    return [_failed("schema", "Schema", error) for error in found] or [migrations]


def _key(conn: Connection, settings: Settings) -> str:
    """Open every stored password; raises KeyMismatch, in one line however many do not open."""
    sealed = accounts.sealed(conn)
    keys = settings.encryption_keys()
    if not keys:
        raise ConfigError("IMAP_ENCRYPTION_KEY is not set; make one with `mailsync generate-key`")
    closed = []
    for account in sealed:
        try:
            crypto.unseal(keys, account.id, account.endpoint, account.key_id, account.ciphertext)
        except KeyMismatch:
            closed.append(account.email)
    if closed:
        names = closed[0] if len(closed) == 1 else f"{closed[0]} and {len(closed) - 1} more"
        raise KeyMismatch(
            f"IMAP_ENCRYPTION_KEY does not open the passwords of {len(closed)} of {len(sealed)} accounts"
            f" ({names}); give the key they were sealed with, or set the passwords again"
        )
    if not sealed:
        return "Key is well-formed (there is no credential to open yet)"
    return f"Key opens {'the credentials' if len(sealed) == 1 else f'all {len(sealed)} credentials'}"


def _accounts(conn: Connection, settings: Settings) -> str:
    return f"Accounts: {accounts.check_limit(conn, settings)}/{settings.sync_max_accounts}"


def _one_account(conn: Connection, settings: Settings) -> str:
    if not accounts.check_limit(conn, settings):
        raise NotFound("there is none; add one with `mailsync add-account`")
    return "At least one account"
