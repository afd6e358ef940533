"""Rows of ``accounts``: made, found, changed and removed on a person's word."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from mailsync.config import Settings
from mailsync.errors import Conflict, LimitReached, NotFound
from mailsync.model import Endpoint
from mailsync.store import crypto
from mailsync.store.db import Connection, transaction
from mailsync.store.statements import run

CHUNK = 5000
"""The most rows that one transaction deletes."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What ``add-account`` and ``POST /v1/accounts`` have checked and now store."""

    email: str
    endpoint: Endpoint
    display_name: str | None = None
    provider: str | None = None
    sync_since: datetime | None = None
    sync_window_days: int | None = None
    capabilities: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SealedAccount:
    """An account with its sealed password."""

    id: int
    email: str
    endpoint: Endpoint
    key_id: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """A row of the view ``account_status``: the account as of now."""

    account_id: int
    email: str
    display_name: str | None
    provider: str | None
    sync_state: str
    sync_state_reason: str | None
    sync_state_message: str | None
    sync_state_since: datetime
    priority_sync_lag_seconds: float | None
    overall_sync_lag_seconds: float | None
    currently_syncing: bool
    sync_started_by: str | None
    heartbeat_at: datetime | None
    next_sync_at: datetime
    last_sync_started_at: datetime | None
    last_sync_finished_at: datetime | None
    last_success_at: datetime | None
    consecutive_failures: int
    backoff_until: datetime | None
    paused_at: datetime | None
    folders: int
    folders_complete: int
    messages: int
    unseen: int
    backfill_remaining: int


def create(conn: Connection, new: NewAccount, password: str, settings: Settings) -> int:
    """Store an account with its sealed password and wake a worker; returns its id.

    Raises Conflict when the address exists and LimitReached at ``SYNC_MAX_ACCOUNTS``; creations queue, so
    the limit holds under concurrency.
    """
    with transaction(conn):
        run(conn, "reserve_account_slot")
        check_limit(conn, settings, adding=1)
        row = run(
            conn,
            "insert_account",
            email=new.email,
            display_name=new.display_name,
            provider=new.provider,
            host=new.endpoint.host,
            port=new.endpoint.port,
            security=new.endpoint.security,
            username=new.endpoint.username,
            sync_since=new.sync_since,
            sync_window_days=new.sync_window_days,
            capabilities=list(new.capabilities),
            metadata=json.dumps(new.metadata),
        ).fetchone()
        if row is None:
            raise Conflict(f"{new.email} exists already")
        account_id = int(row[0])
        store_password(conn, account_id, new.endpoint, password, settings.encryption_keys())
        data = json.dumps({"email": new.email})
        run(conn, "emit_event", account_id=account_id, type="account.created", folder_id=None, data=data)
        wake_worker(conn, account_id)
    return account_id


def check_limit(conn: Connection, settings: Settings, *, adding: int = 0) -> int:
    """The number of accounts; raises LimitReached if `adding` makes more than ``SYNC_MAX_ACCOUNTS``."""
    row = run(conn, "count_accounts").fetchone()
    count = int(row[0]) if row else 0
    if count + adding > settings.sync_max_accounts:
        raise LimitReached(
            f"{count} accounts exist and SYNC_MAX_ACCOUNTS is {settings.sync_max_accounts};"
            " raise it or remove one"
        )
    return count


def store_password(
    conn: Connection, account_id: int, endpoint: Endpoint, password: str, keys: Sequence[bytes]
) -> None:
    """Seal the password under the first key, for this account and endpoint."""
    sealed_with, ciphertext = crypto.seal(keys, account_id, endpoint, password)
    run(conn, "seal_password", account_id=account_id, key_id=sealed_with, ciphertext=ciphertext)


def refuse_existing(conn: Connection, email: str) -> None:
    """Raise Conflict if the address is taken, also by an account that is being deleted."""
    row = run(conn, "account_exists", email=email).fetchone()
    if row and row[0]:
        raise Conflict(f"{email} exists already")


def change_password(
    conn: Connection, account_id: int, endpoint: Endpoint, password: str, keys: Sequence[bytes]
) -> None:
    """Seal another password, clear what came of the old one, wake a worker. The caller holds the lock."""
    with transaction(conn):
        store_password(conn, account_id, endpoint, password, keys)
        run(conn, "forget_rejected_password", account_id=account_id)
        wake_worker(conn, account_id)


def find_to_remove(conn: Connection, email: str) -> int:
    """As :func:`find`, and an account whose removal was begun but not ended is found too."""
    row = run(conn, "find_account_to_remove", email=email).fetchone()
    return int(row[0]) if row else find(conn, email)


def find(conn: Connection, email: str) -> int:
    """The id of the account of that address; raises NotFound."""
    row = run(conn, "find_account", email=email.strip().lower()).fetchone()
    if row is None:
        raise NotFound(f"no account {email}; `mailsync list-accounts` shows those that exist")
    return int(row[0])


def sealed(conn: Connection, account_id: int | None = None) -> list[SealedAccount]:
    """All accounts, or one, with their sealed passwords."""
    rows = run(conn, "select_credentials", account_id=account_id)
    return [SealedAccount(r[0], r[1], Endpoint(r[2], r[3], r[4], r[5]), r[6], bytes(r[7])) for r in rows]


def statuses(conn: Connection, account_id: int | None = None) -> list[AccountStatus]:
    """The accounts, or one, as of now."""
    return [AccountStatus(*row) for row in run(conn, "list_account_status", account_id=account_id)]


def recent_runs(conn: Connection, account_id: int, limit: int = 5) -> list[dict[str, Any]]:
    """The newest runs, newest first, column by column."""
    cursor = run(conn, "list_runs", account_id=account_id, limit=limit)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def newest_messages(conn: Connection, account_id: int, limit: int = 10) -> list[dict[str, Any]]:
    """The newest live messages of all folders, newest first, column by column."""
    cursor = run(conn, "newest_messages", account_id=account_id, limit=limit)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


class LockHolder(NamedTuple):
    """The session that holds an account's lock.

    ``started_by`` (host:pid:role) and ``heartbeat_age`` (seconds) are those of the account's last turn, so of
    this session only if it ``is_mailsync``. ``role`` is its Postgres role. ``connected_at`` is None where our
    role may not see it.
    """

    pid: int
    application_name: str
    started_by: str | None
    heartbeat_age: float | None
    role: str | None
    connected_at: datetime | None
    is_mailsync: bool

    @property
    def session(self) -> str:
        """``pid 123 (role joe, psql)``."""
        named = f", {self.application_name}" if self.application_name else ""
        return f"pid {self.pid} (role {self.role}{named})"


def lock_holder(conn: Connection, account_id: int) -> LockHolder | None:
    """The session that holds the account's lock; None if it is free."""
    row = run(conn, "lock_holder", account_id=account_id).fetchone()
    return LockHolder(*row) if row else None


def wake_worker(conn: Connection, account_id: int) -> None:
    """NOTIFY the workers that the account is due."""
    run(conn, "wake_worker", account_id=account_id)


def make_due(conn: Connection, account_id: int) -> None:
    """The account is due now; clears backoff, except after rejected passwords. Wakes a worker."""
    with transaction(conn):
        run(conn, "make_due", account_id=account_id)
        wake_worker(conn, account_id)


def pause(conn: Connection, account_id: int, reason: str | None) -> None:
    """A person holds the account; the worker leaves it at its next batch."""
    run(conn, "pause_account", account_id=account_id, reason=reason)


def resume(conn: Connection, account_id: int) -> None:
    """The account goes on, now."""
    with transaction(conn):
        run(conn, "resume_account", account_id=account_id)
        wake_worker(conn, account_id)


def reset(conn: Connection, account_id: int, *, resync: bool) -> None:
    """Clear state, failures and timers; with `resync` the cursors too. The caller holds the lock."""
    with transaction(conn):
        run(conn, "reset_account", account_id=account_id)
        if resync:
            run(conn, "reset_folder_cursors", account_id=account_id)
        wake_worker(conn, account_id)


def mark_deleting(conn: Connection, account_id: int) -> tuple[str, datetime] | None:
    """From now on the account is left alone; its rows go by :func:`delete`.

    Returns its address and since when it is being removed, None when all of it is gone.
    """
    row = run(conn, "mark_account_deleting", account_id=account_id).fetchone()
    return (row[0], row[1]) if row else None


def find_removal(conn: Connection, account_id: int) -> tuple[str, datetime | None] | None:
    """The account's address and since when it is being removed; None when all of it is gone."""
    row = run(conn, "find_removal", account_id=account_id).fetchone()
    return (row[0], row[1]) if row else None


def delete(conn: Connection, account_id: int, *, on_chunk: Callable[[], None] = lambda: None) -> None:
    """Mark the account and delete it in chunks of at most 5,000 rows. The caller holds the account's lock.

    `on_chunk` is called after each, to keep the lock's heartbeat.
    """
    mark_deleting(conn, account_id)
    while delete_chunk(conn, account_id):
        on_chunk()


def delete_chunk(conn: Connection, account_id: int, limit: int = CHUNK) -> bool:
    """Delete at most `limit` rows of an account that is marked, in the end itself; whether there is more.

    The caller holds the account's lock.
    """
    for chunk in ("delete_account_messages", "delete_account_runs", "delete_account_events"):
        if run(conn, chunk, account_id=account_id, limit=limit).rowcount > 0:
            return True
    with transaction(conn):
        run(conn, "delete_account_folders", account_id=account_id)
        run(conn, "delete_account_credentials", account_id=account_id)
        if run(conn, "delete_account", account_id=account_id).rowcount:
            # once, though a worker and a person may both be at it
            run(conn, "emit_event", account_id=account_id, type="account.deleted", folder_id=None, data="{}")
    return False
