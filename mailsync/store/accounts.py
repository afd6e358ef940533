"""Rows of ``accounts`` that a person creates, finds, changes and removes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from mailsync.config import Settings
from mailsync.credentials import TokenSet
from mailsync.errors import Conflict, LimitReached, NotFound
from mailsync.model import Endpoint
from mailsync.store import credentials, messages, records
from mailsync.store.account_settings import AccountSettings
from mailsync.store.db import Connection, transaction
from mailsync.store.statements import run

CHUNK = messages.CHUNK


@dataclass(frozen=True, slots=True)
class NewAccount(AccountSettings):
    """An account to create, as checked by ``add-account`` or ``POST /v1/accounts``."""

    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """A row of the view ``account_status``: the account's state at the time of reading.

    ``push`` is how a worker listens to the account: ``notify``, ``idle`` or ``none``. ``auth_method`` is
    ``password`` or ``oauth2``; the fields after it are None for a password.
    """

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
    push: str
    auth_method: str
    oauth_provider: str | None
    oauth_grant: str | None
    token_expires_at: datetime | None
    token_renewed_at: datetime | None
    token_refused_at: datetime | None
    token_refusal: str | None


def create(conn: Connection, new: NewAccount, credential: str | TokenSet, settings: Settings) -> int:
    """Store an account with its sealed password or tokens, wake a worker and return the account's id.

    Raises Conflict if the address exists, and LimitReached at ``SYNC_MAX_ACCOUNTS``. Concurrent calls wait
    for each other, so that the limit holds.
    """
    with transaction(conn):
        run(conn, "reserve_account_slot")
        check_limit(conn, settings, adding=1)
        row = run(
            conn,
            "insert_account",
            **new.columns,
            email=new.email,
            metadata=json.dumps(new.metadata),
        ).fetchone()
        if row is None:
            raise Conflict(f"{new.email} already exists")
        account_id = int(row[0])
        credentials.store(conn, account_id, new.endpoint, credential, settings.encryption_keys())
        data = json.dumps({"email": new.email})
        run(conn, "emit_event", account_id=account_id, type="account.created", folder_id=None, data=data)
        wake_worker(conn, account_id)
    return account_id


def check_limit(conn: Connection, settings: Settings, *, adding: int = 0) -> int:
    """The number of accounts. Raises LimitReached if `adding` more would exceed ``SYNC_MAX_ACCOUNTS``."""
    row = run(conn, "count_accounts").fetchone()
    count = int(row[0]) if row else 0
    if count + adding > settings.sync_max_accounts:
        raise LimitReached(
            f"{count} accounts exist and SYNC_MAX_ACCOUNTS is {settings.sync_max_accounts};"
            " raise it or remove one"
        )
    return count


def refuse_existing(conn: Connection, email: str) -> None:
    """Raise Conflict if the address is in use, even by an account that is being deleted."""
    row = run(conn, "account_exists", email=email).fetchone()
    if row and row[0]:
        raise Conflict(f"{email} already exists")


def change_credential(
    conn: Connection, account_id: int, endpoint: Endpoint, credential: str | TokenSet, keys: Sequence[bytes]
) -> None:
    """Store a new password or consent, clear the errors of the old one and wake a worker.

    The caller holds the lock.
    """
    with transaction(conn):
        credentials.store(conn, account_id, endpoint, credential, keys)
        run(conn, "forget_rejected_password", account_id=account_id)
        wake_worker(conn, account_id)


def find_to_remove(conn: Connection, email: str) -> int:
    """As :func:`find`, but also find an account whose removal has begun."""
    row = run(conn, "find_account_to_remove", email=email).fetchone()
    return int(row[0]) if row else find(conn, email)


def find(conn: Connection, email: str) -> int:
    """The id of the account with this address. Raises NotFound."""
    row = run(conn, "find_account", email=email.strip().lower()).fetchone()
    if row is None:
        raise NotFound(f"there is no account {email}; `mailsync list-accounts` lists all accounts")
    return int(row[0])


def statuses(conn: Connection, account_id: int | None = None) -> list[AccountStatus]:
    """All accounts, or one of them, by id."""
    rows = run(conn, "list_accounts", after=0, limit=None, account_id=account_id, email=None, state=None)
    return records.all_rows(AccountStatus, rows)


def recent_runs(conn: Connection, account_id: int, limit: int = 5) -> list[dict[str, Any]]:
    """The account's newest runs, newest first, as column → value."""
    return records.as_dicts(run(conn, "list_runs", account_id=account_id, limit=limit))


def newest_messages(conn: Connection, account_id: int, limit: int = 10) -> list[dict[str, Any]]:
    """The account's newest live messages, newest first, as column → value."""
    return records.as_dicts(run(conn, "newest_messages", account_id=account_id, limit=limit))


class LockHolder(NamedTuple):
    """The session that holds an account's lock.

    ``started_by`` (host:pid:role) and ``heartbeat_age`` (seconds) belong to the account's last turn, and
    therefore to this session only if it ``is_mailsync``. ``role`` is the session's Postgres role.
    ``connected_at`` is None if our role may not see it.
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
    """The session that holds the account's lock; None if the lock is free."""
    return records.first_row(LockHolder, run(conn, "lock_holder", account_id=account_id))


def wake_worker(conn: Connection, account_id: int) -> None:
    """Tell the workers by NOTIFY that the account is due."""
    run(conn, "wake_worker", account_id=account_id)


def make_due(conn: Connection, account_id: int) -> None:
    """Make the account due now and wake a worker. Clears its backoff, unless its password was rejected."""
    with transaction(conn):
        run(conn, "make_due", account_id=account_id)
        wake_worker(conn, account_id)


def pause(conn: Connection, account_id: int, reason: str | None) -> None:
    """Pause the account; a running turn ends at its next batch. An empty `reason` clears an earlier one."""
    run(conn, "pause_account", account_id=account_id, reason=reason)


def resume(conn: Connection, account_id: int) -> None:
    """End the account's pause, make it due now and wake a worker."""
    with transaction(conn):
        run(conn, "resume_account", account_id=account_id)
        wake_worker(conn, account_id)


def reset(conn: Connection, account_id: int, *, resync: bool) -> None:
    """Clear state, failures and timers, and with `resync` the cursors. The caller holds the lock."""
    with transaction(conn):
        run(conn, "reset_account", account_id=account_id)
        if resync:
            run(conn, "reset_folder_cursors", account_id=account_id)
        wake_worker(conn, account_id)


def mark_deleting(conn: Connection, account_id: int) -> tuple[str, datetime] | None:
    """Mark the account as being removed, so that it takes no more turns; :func:`delete` deletes its rows.

    Returns its address and when the removal began; None if the account does not exist.
    """
    row = run(conn, "mark_account_deleting", account_id=account_id).fetchone()
    return (row[0], row[1]) if row else None


def find_removal(conn: Connection, account_id: int) -> tuple[str, datetime | None] | None:
    """The account's address and when its removal began, if it did; None if the account does not exist."""
    row = run(conn, "find_removal", account_id=account_id).fetchone()
    return (row[0], row[1]) if row else None


def delete(conn: Connection, account_id: int, *, on_chunk: Callable[[], None] = lambda: None) -> None:
    """Mark the account and delete it in chunks of at most 5,000 rows. The caller holds the account's lock.

    `on_chunk` is called after each chunk, for the lock's heartbeat.
    """
    mark_deleting(conn, account_id)
    while delete_chunk(conn, account_id):
        on_chunk()


def delete_chunk(conn: Connection, account_id: int, limit: int = CHUNK) -> bool:
    """Delete at most `limit` rows of a marked account, and finally the account; whether rows are left.

    The caller holds the account's lock.
    """
    for chunk in ("delete_account_messages", "delete_account_runs", "delete_account_events"):
        if run(conn, chunk, account_id=account_id, limit=limit).rowcount > 0:
            return True
    with transaction(conn):
        run(conn, "delete_account_folders", account_id=account_id)
        run(conn, "delete_account_credentials", account_id=account_id)
        if run(conn, "delete_account", account_id=account_id).rowcount:
            # only the process that deletes the row writes the event: a worker and a person may both get here
            run(conn, "emit_event", account_id=account_id, type="account.deleted", folder_id=None, data="{}")
    return False
