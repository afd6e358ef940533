"""Accounts as people see them: what the API shows of each, and the details that ``check-account`` adds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from mailsync.store.db import Connection
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """One account as of now; nothing of its password."""

    id: int
    email: str
    display_name: str | None
    provider: str | None
    imap_host: str
    imap_port: int
    imap_security: str
    username: str
    sync_since: datetime | None
    sync_window_days: int | None
    sync_state: str
    sync_state_reason: str | None
    sync_state_message: str | None
    sync_state_since: datetime
    currently_syncing: bool
    sync_started_by: str | None
    heartbeat_at: datetime | None
    next_sync_at: datetime
    backoff_until: datetime | None
    consecutive_failures: int
    last_sync_started_at: datetime | None
    last_sync_finished_at: datetime | None
    last_success_at: datetime | None
    priority_synced_at: datetime | None
    overall_synced_at: datetime | None
    priority_sync_lag_seconds: float | None
    overall_sync_lag_seconds: float | None
    paused_at: datetime | None
    paused_reason: str | None
    folders: int
    folders_complete: int
    messages: int
    unseen: int
    backfill_remaining: int
    capabilities: tuple[str, ...]
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


_CAPABILITIES = [field.name for field in fields(AccountRecord)].index("capabilities")


def page(
    conn: Connection, *, after: int = 0, limit: int, email: str | None = None, state: str | None = None
) -> list[AccountRecord]:
    """At most `limit` accounts by id, behind the one with the id `after`.

    `email` is an address in lower case, `state` one that ``account_status`` shows.
    """
    return _select(conn, after=after, limit=limit, email=email, state=state)


def load(conn: Connection, account_id: int) -> AccountRecord | None:
    """One account; None without it, also while it is being removed."""
    found = _select(conn, account_id=account_id)
    return found[0] if found else None


def _select(
    conn: Connection,
    *,
    after: int = 0,
    limit: int | None = None,
    account_id: int | None = None,
    email: str | None = None,
    state: str | None = None,
) -> list[AccountRecord]:
    rows = run(
        conn,
        "list_accounts_after",
        after=after,
        limit=limit,
        account_id=account_id,
        email=email,
        state=state,
    )
    return [_record(row) for row in rows]


def _record(row: tuple[Any, ...]) -> AccountRecord:
    values = list(row)
    values[_CAPABILITIES] = tuple(values[_CAPABILITIES])
    return AccountRecord(*values)


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """What the view ``account_status`` leaves out.

    ``healthy_until`` is None unless the account is healthy now. ``marked_syncing`` is what the last turn
    wrote (true after a crash); ``lock_waiters`` counts who queues for the lock, ``unreadable_messages`` the
    live rows without content. ``now`` is the database's clock.
    """

    username: str
    imap_host: str
    imap_port: int
    imap_security: str
    sync_since: datetime | None
    sync_window_days: int | None
    created_at: datetime
    healthy_until: datetime | None
    priority_synced_at: datetime | None
    overall_synced_at: datetime | None
    next_discovery_at: datetime
    consecutive_successes: int
    capabilities: tuple[str, ...]
    marked_syncing: bool
    lock_waiters: int
    unreadable_messages: int
    now: datetime


def details(conn: Connection, account_id: int) -> AccountDetails:
    """The account's details as of now; the account exists."""
    row = run(conn, "check_account", account_id=account_id).fetchone()
    assert row is not None
    values = dict(zip(AccountDetails.__slots__, row, strict=True))
    return AccountDetails(**values | {"capabilities": tuple(values["capabilities"])})


def last_failure(conn: Connection, account_id: int) -> dict[str, Any] | None:
    """The newest run in which something went wrong, column by column; None without any."""
    cursor = run(conn, "last_failure", account_id=account_id)
    names = [column.name for column in cursor.description or ()]
    row = cursor.fetchone()
    return dict(zip(names, row, strict=True)) if row else None
