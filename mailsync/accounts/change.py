"""Change an account: name, metadata, window, connection, password (SPEC §0.10, §4, §5).

To change host, port, security or user name, the password or consent must be given again, because the stored
one is sealed for the server that it was given for. Connection and credential change under the account's lock.
One call is one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

from mailsync.accounts.add import find_provider
from mailsync.accounts.consent import (
    Consent,
    NewCredential,
    Password,
    check_host_for,
    refuse_other_user,
)
from mailsync.accounts.fields import (
    check_host,
    check_metadata,
    check_name,
    check_password,
    check_username,
    check_window,
)
from mailsync.accounts.try_login import Tested, refuse_private, try_login
from mailsync.config import Settings
from mailsync.credentials import Credential, TokenSet
from mailsync.errors import InvalidInput, KeyMismatch, NotFound
from mailsync.imap import TokenBucket, burst, check_endpoint
from mailsync.imap.token_bucket import refill
from mailsync.model import Endpoint
from mailsync.network.resolve import bare_host
from mailsync.redaction import kept_secret
from mailsync.store import account_settings, accounts, bodies, credentials, turns
from mailsync.store.account_settings import AccountSettings
from mailsync.store.db import Connection, transaction
from mailsync.store.locks import AccountLock, account_lock


class Unset(Enum):
    """The default of fields for which None is a value: the field keeps what is stored."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Changes:
    """The fields to change; the others keep what is stored.

    ``sync_since`` replaces ``sync_window_days`` and the other way round; None removes that one.
    ``metadata`` replaces all stored metadata. ``password`` or ``consent`` replaces what the account signs in
    with; rows stay. A consent for another server moves the account there. With ``verify`` False the login is
    not tested.
    """

    display_name: str | Unset | None = UNSET
    metadata: Mapping[str, Any] | None = None
    sync_since: datetime | Unset | None = UNSET
    sync_window_days: int | Unset | None = UNSET
    imap_host: str | None = None
    imap_port: int | None = None
    imap_security: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    consent: Consent | None = None
    verify: bool = True

    @property
    def credential(self) -> NewCredential | None:
        """The new password or consent; None if the account keeps what it signs in with."""
        return self.consent or (None if self.password is None else Password(self.password))

    @property
    def connection(self) -> dict[str, Any]:
        """The changes of host, port, security and user name."""
        names = ("imap_host", "imap_port", "imap_security", "username")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def change_account(
    conn: Connection,
    account_id: int,
    changes: Changes,
    settings: Settings,
    *,
    started_by: str,
    wait: float,
) -> Tested | None:
    """Check the changes, test the login if there is a password, store the changes and wake a worker.

    Returns the result of the login test, None without one. Another host or user name may be another mailbox:
    rows stay, and everything is compared and fetched again. `started_by` names this process and `wait` is in
    seconds. Raises InvalidInput, ForbiddenHost, NotFound, Busy if the account's lock is still held after
    `wait`, and what :func:`mailsync.accounts.try_login.try_login` raises. After an error nothing is changed.
    """
    check_changes(changes)
    removal = accounts.find_removal(conn, account_id)
    if removal is None or removal[1] is not None:
        raise NotFound(f"there is no account {account_id}")
    credential = changes.credential
    if credential is None:
        with transaction(conn):
            before = account_settings.lock_settings(conn, account_id)
            _save(conn, account_id, before, _changed(before, changes), changes)
        return None
    with ExitStack() as secrets:
        for secret in credential.secrets:
            secrets.enter_context(kept_secret(secret))
        return _change_credential(conn, account_id, changes, credential, settings, started_by, wait)


def _change_credential(
    conn: Connection,
    account_id: int,
    changes: Changes,
    credential: NewCredential,
    settings: Settings,
    started_by: str,
    wait: float,
) -> Tested | None:
    with account_lock(conn, account_id, settings, wait=wait) as lock:
        with transaction(conn):
            before = account_settings.lock_settings(conn, account_id)
        wanted = _changed(before, changes)
        if changes.consent and changes.username is None:
            user = _consented_by(conn, account_id, settings)
            refuse_other_user(changes.consent, before.email, before.endpoint.username, user)
        tested = None
        if changes.verify:
            check_endpoint(wanted.endpoint, settings)
            tested = _test(lock, wanted, credential.sign_in, settings, started_by)
            wanted = replace(wanted, capabilities=tested.capabilities)
        elif wanted.endpoint != before.endpoint:
            check_endpoint(wanted.endpoint, settings)
            refuse_private(wanted.endpoint, settings)
        with transaction(conn):
            # another process may have changed name and window during the login test
            before = account_settings.lock_settings(conn, account_id)
            wanted = replace(_changed(before, changes), capabilities=wanted.capabilities)
            _save(conn, account_id, before, wanted, changes)
            keys = settings.encryption_keys()
            accounts.change_credential(conn, account_id, wanted.endpoint, credential.stored, keys)
            if wanted.endpoint != before.endpoint:
                is_other_mailbox = _mailbox(wanted.endpoint) != _mailbox(before.endpoint)
                accounts.reset(conn, account_id, resync=is_other_mailbox)
                if is_other_mailbox:
                    bodies.forget(conn, account_id)
    return tested


def _consented_by(conn: Connection, account_id: int, settings: Settings) -> str | None:
    """Return whose consent is replaced: the user of a shared mailbox may consent again."""
    sealed = credentials.load(conn, account_id)[0]
    try:
        stored = sealed.open(settings.encryption_keys(), account_id, sealed.endpoint)
    except KeyMismatch:
        return None
    return stored.user if isinstance(stored, TokenSet) else None


def set_password(
    conn: Connection,
    account_id: int,
    password: str,
    settings: Settings,
    *,
    started_by: str,
    verify: bool = True,
    wait: float,
) -> Tested | None:
    """Store a new password: :func:`change_account` with only that change."""
    changes = Changes(password=password, verify=verify)
    return change_account(conn, account_id, changes, settings, started_by=started_by, wait=wait)


def check_changes(changes: Changes) -> None:
    """Raise InvalidInput for changes that are wrong whatever is stored."""
    if changes.password is not None:
        check_password(changes.password)
    elif changes.connection and changes.consent is None:
        raise InvalidInput(
            f"{', '.join(changes.connection)}: give the password too; it is stored for one server and user",
            field=next(iter(changes.connection)),
        )
    if changes.imap_host is not None:
        check_host(changes.imap_host)
    if changes.username is not None:
        check_username(changes.username)
    if not isinstance(changes.display_name, Unset):
        check_name(changes.display_name)
    if changes.metadata is not None:
        check_metadata(changes.metadata)
    check_window(
        None if isinstance(changes.sync_since, Unset) else changes.sync_since,
        None if isinstance(changes.sync_window_days, Unset) else changes.sync_window_days,
    )


def _changed(before: AccountSettings, changes: Changes) -> AccountSettings:
    connection = _server_of_client(before, changes) | changes.connection
    endpoint = Endpoint(
        host=bare_host(connection["imap_host"]) if "imap_host" in connection else before.endpoint.host,
        port=connection.get("imap_port", before.endpoint.port),
        security=connection.get("imap_security", before.endpoint.security),
        username=connection.get("username", before.endpoint.username),
    )
    if changes.consent:
        check_host_for(changes.consent.client, endpoint.host)
    name, provider = before.display_name, before.provider
    if not isinstance(changes.display_name, Unset):
        name = check_name(changes.display_name)
    if endpoint.host != before.endpoint.host:
        new_provider = find_provider(before.email, endpoint.host)
        provider = new_provider.name if new_provider else None
    since, days = _window(before, changes)
    return replace(
        before,
        endpoint=endpoint,
        display_name=name,
        provider=provider,
        sync_since=since,
        sync_window_days=days,
    )


def _server_of_client(before: AccountSettings, changes: Changes) -> dict[str, Any]:
    """Return the server for which a consent is, if the account has another one so far."""
    host = changes.consent.client.imap_host if changes.consent else None
    if host is None or host.lower() == before.endpoint.host.lower():
        return {}
    return {"imap_host": host, "imap_port": 993, "imap_security": "tls"}


def _window(before: AccountSettings, changes: Changes) -> tuple[datetime | None, int | None]:
    since, days = before.sync_since, before.sync_window_days
    if not isinstance(changes.sync_since, Unset):
        since = changes.sync_since
        days = None if since else days
    if not isinstance(changes.sync_window_days, Unset):
        # 0 days means all mail, which is stored as no window
        days = changes.sync_window_days or None
        since = None if changes.sync_window_days is not None else since
    return since, days


def _test(
    lock: AccountLock,
    wanted: AccountSettings,
    credential: Credential,
    settings: Settings,
    started_by: str,
) -> Tested:
    """Log in with the wanted settings; the commands count towards the account's budget."""
    conn, account_id = lock.conn, lock.account_id
    limit = settings.imap_max_commands_per_minute
    loaded = turns.begin(
        conn,
        account_id,
        started_by,
        burst=burst(limit),
        refill=refill(limit),
        floor=0.0,
        kind="change",
        silent_for=min(settings.longest_silence, settings.lock_stale_after),
    )
    if loaded is None:
        raise NotFound(f"there is no account {account_id}")
    bucket = TokenBucket(loaded.tokens, limit, 0)
    provider = find_provider(wanted.email, wanted.endpoint.host)
    try:
        return try_login(wanted.endpoint, credential, settings, bucket, provider, on_wait=lock.heartbeat)
    finally:
        turns.leave(conn, account_id, tokens=bucket.tokens)


def _save(
    conn: Connection, account_id: int, before: AccountSettings, wanted: AccountSettings, changes: Changes
) -> None:
    if wanted == before and changes.metadata is None:
        return
    account_settings.save(conn, account_id, wanted, changes.metadata)
    if (wanted.sync_since, wanted.sync_window_days) != (before.sync_since, before.sync_window_days):
        accounts.wake_worker(conn, account_id)


def _mailbox(endpoint: Endpoint) -> tuple[str, str]:
    return bare_host(endpoint.host).lower().rstrip("."), endpoint.username
