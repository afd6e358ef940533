"""Accounts as people see them: what the API shows of each, and the details that ``check-account`` adds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailsync.store import records
from mailsync.store.accounts import AccountStatus
from mailsync.store.db import Connection
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class AccountRecord(AccountStatus):
    """An account's status and its settings, without its password."""

    imap_host: str
    imap_port: int
    imap_security: str
    username: str
    sync_since: datetime | None
    sync_window_days: int | None
    priority_synced_at: datetime | None
    overall_synced_at: datetime | None
    paused_reason: str | None
    capabilities: tuple[str, ...]
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    @property
    def id(self) -> int:
        return self.account_id


def page(
    conn: Connection, *, after: int = 0, limit: int, email: str | None = None, state: str | None = None
) -> list[AccountRecord]:
    """At most `limit` accounts, by id, that follow the account with the id `after`.

    `email` is an address in lower case; `state` is a state as ``account_status`` shows it.
    """
    rows = run(conn, "list_accounts", after=after, limit=limit, account_id=None, email=email, state=state)
    return records.all_rows(AccountRecord, rows)


def load(conn: Connection, account_id: int) -> AccountRecord | None:
    """The account; None if it does not exist or is being removed."""
    rows = run(conn, "list_accounts", after=0, limit=1, account_id=account_id, email=None, state=None)
    return records.first_row(AccountRecord, rows)


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """The details that ``check-account`` shows beside an AccountStatus.

    ``healthy_until`` is None unless the account is healthy now. ``marked_syncing`` is what the last turn
    wrote, and stays true after a crash. ``lock_waiters`` counts the sessions that queue for the lock,
    ``unreadable_messages`` the live rows without content. ``now`` is the database's clock.
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
    """The details of an account that exists."""
    row = records.first_row(AccountDetails, run(conn, "check_account", account_id=account_id))
    assert row is not None
    return row


def last_failure(conn: Connection, account_id: int) -> dict[str, Any] | None:
    """The newest run that failed or had an error, as column → value; None if there is none."""
    return next(iter(records.as_dicts(run(conn, "last_failure", account_id=account_id))), None)
