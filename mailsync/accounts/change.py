"""What a person changes of an account: name, metadata, window, connection, password (SPEC §0.10, §4, §5).

Another host, port, security or user name needs the password anew, since the stored one is sealed for where it
was sent. Connection and password change under the account's lock; all that one call changes is one
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

from mailsync.accounts.add import (
    check_host,
    check_metadata,
    check_name,
    check_password,
    check_username,
    check_window,
    find_provider,
)
from mailsync.accounts.try_login import Tested, refuse_private, try_login
from mailsync.config import Settings
from mailsync.errors import InvalidInput, NotFound
from mailsync.imap import TokenBucket, burst, check_endpoint
from mailsync.imap.token_bucket import refill
from mailsync.model import Endpoint
from mailsync.redaction import kept_secret
from mailsync.store import account_settings, accounts, bodies, turns
from mailsync.store.account_settings import AccountSettings
from mailsync.store.db import Connection, transaction
from mailsync.store.locks import AccountLock, account_lock


class Unset(Enum):
    """Stands for what is to stay as it is, where None means "none"."""

    UNSET = "unsaid"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be another; what is not said stays.

    ``sync_since`` or ``sync_window_days`` takes the place of whichever of them there was; None takes the one
    away that it is said of. ``metadata`` replaces all of it. With ``verify`` False nothing is connected to.
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
    verify: bool = True

    @property
    def of_connection(self) -> dict[str, Any]:
        """Those of where and as whom to log in that are said."""
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
    """Check, test the connection if there is a password, store; a worker is woken.

    Returns what the test showed, None without one. Another host or user name may be another mailbox: rows
    stay, and everything is compared and fetched anew. Raises InvalidInput, ForbiddenHost, NotFound, Busy
    after `wait` seconds in the lock's queue, and what the test raises; everything stays as it was then.
    """
    _check(changes)
    found = accounts.find_removal(conn, account_id)
    if found is None or found[1] is not None:
        raise NotFound(f"there is no account {account_id}")
    if changes.password is None:
        with transaction(conn):
            before = account_settings.hold(conn, account_id)
            _save(conn, account_id, before, _changed(before, changes), changes)
        return None
    with kept_secret(changes.password):
        return _change_password(conn, account_id, changes, changes.password, settings, started_by, wait)


def _change_password(
    conn: Connection,
    account_id: int,
    changes: Changes,
    password: str,
    settings: Settings,
    started_by: str,
    wait: float,
) -> Tested | None:
    with account_lock(conn, account_id, settings, wait=wait) as lock:
        with transaction(conn):
            before = account_settings.hold(conn, account_id)
        wanted = _changed(before, changes)
        tested = None
        if changes.verify:
            check_endpoint(wanted.endpoint, settings)
            tested = _test(lock, wanted, password, settings, started_by)
            wanted = replace(wanted, capabilities=tested.capabilities)
        elif wanted.endpoint != before.endpoint:
            check_endpoint(wanted.endpoint, settings)
            refuse_private(wanted.endpoint, settings)
        with transaction(conn):
            # name and window may have been changed while the server was waited for
            before = account_settings.hold(conn, account_id)
            wanted = replace(_changed(before, changes), capabilities=wanted.capabilities)
            _save(conn, account_id, before, wanted, changes)
            keys = settings.encryption_keys()
            accounts.change_password(conn, account_id, wanted.endpoint, password, keys)
            if wanted.endpoint != before.endpoint:
                another = _mailbox(wanted.endpoint) != _mailbox(before.endpoint)
                accounts.reset(conn, account_id, resync=another)
                if another:
                    bodies.forget(conn, account_id)
    return tested


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
    """Store a new password; as :func:`change_account` with nothing else."""
    changes = Changes(password=password, verify=verify)
    return change_account(conn, account_id, changes, settings, started_by=started_by, wait=wait)


def _check(changes: Changes) -> None:
    """Raise InvalidInput for what can be judged without the account."""
    if changes.password is not None:
        check_password(changes.password)
    elif said := changes.of_connection:
        raise InvalidInput(
            f"{', '.join(said)}: give the password too, which is sealed for where it is sent",
            field=next(iter(said)),
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
    """The settings as they are to be."""
    said = changes.of_connection
    endpoint = Endpoint(
        host=said.get("imap_host", before.endpoint.host),
        port=said.get("imap_port", before.endpoint.port),
        security=said.get("imap_security", before.endpoint.security),
        username=said.get("username", before.endpoint.username),
    )
    name, provider = before.display_name, before.provider
    if not isinstance(changes.display_name, Unset):
        name = check_name(changes.display_name)
    if endpoint.host != before.endpoint.host:
        known = find_provider(before.email, endpoint.host)
        provider = known.name if known else None
    since, days = _window(before, changes)
    return replace(
        before,
        endpoint=endpoint,
        display_name=name,
        provider=provider,
        sync_since=since,
        sync_window_days=days,
    )


def _window(before: AccountSettings, changes: Changes) -> tuple[datetime | None, int | None]:
    since, days = before.sync_since, before.sync_window_days
    if not isinstance(changes.sync_since, Unset):
        since = changes.sync_since
        days = None if since else days
    if not isinstance(changes.sync_window_days, Unset):
        # 0 days is all mail, and as good as none
        days = changes.sync_window_days or None
        since = None if changes.sync_window_days is not None else since
    return since, days


def _test(
    lock: AccountLock, wanted: AccountSettings, password: str, settings: Settings, started_by: str
) -> Tested:
    """Log in as it would be from now on; its commands count as the account's."""
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
        return try_login(wanted.endpoint, password, settings, bucket, provider, on_wait=lock.beat)
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
    return endpoint.host.lower().rstrip("."), endpoint.username
