"""What an operator asks of one account beside its status: promises, plans, the lock, the last failure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailsync.store.db import Connection
from mailsync.store.queries import run


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
