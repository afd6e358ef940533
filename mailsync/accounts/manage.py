"""Pause, resume, reset, sync and remove an account, and choose its folders (SPEC §5, §13).

Functions that change cursors or rows take the account's lock; the others need none.
"""

from __future__ import annotations

from datetime import datetime

from mailsync.config import Settings
from mailsync.core.folder_roles import HOLDS_NONE
from mailsync.errors import Broken, InvalidInput, NotFound, NotPossible, Paused
from mailsync.model import FolderState
from mailsync.store import account_views, accounts, folders, turns
from mailsync.store.account_views import AccountRecord
from mailsync.store.db import Connection, transaction
from mailsync.store.locks import account_lock

LONGEST_REASON = 500
"""The largest number of characters of a pause's reason."""

_WAITS_FOR = {
    "auth_failed": "the server rejected its password; set another one",
    "key_mismatch": "no key in IMAP_ENCRYPTION_KEY opens its password; add the key or set the password again",
    "uidvalidity_reset_limit": "a folder's UIDVALIDITY keeps changing; reset the account once that is over",
}
"""Reasons of ``broken`` that only a person can end: no turn is taken before."""


def existing(conn: Connection, account_id: int) -> AccountRecord:
    """The account as of now; raises NotFound, also while the account is being removed."""
    account = account_views.load(conn, account_id)
    if account is None:
        raise NotFound(f"there is no account {account_id}")
    return account


def pause(conn: Connection, account_id: int, reason: str | None) -> None:
    """Stop syncing the account. For a paused one, None keeps the stored reason and "" removes it."""
    if reason is not None and (len(reason) > LONGEST_REASON or "\0" in reason):
        raise InvalidInput(
            f"reason: expected at most {LONGEST_REASON} characters, without NUL", field="reason"
        )
    existing(conn, account_id)
    accounts.pause(conn, account_id, reason)


def resume(conn: Connection, account_id: int) -> None:
    """End a pause; the account is due at once."""
    existing(conn, account_id)
    accounts.resume(conn, account_id)


def reset(conn: Connection, account_id: int, settings: Settings, *, resync: bool, wait: float) -> None:
    """Clear state, failures and timers under the account's lock; with `resync` the cursors too.

    Raises NotFound, and Busy if the lock is still held after `wait` seconds.
    """
    existing(conn, account_id)
    with account_lock(conn, account_id, settings, wait=wait):
        accounts.reset(conn, account_id, resync=resync)


def request_sync(conn: Connection, account_id: int) -> None:
    """Make the account due now and wake a worker; only the backoff after a rejected password stays.

    Raises NotFound, Paused, and Broken if no turn would be taken.
    """
    account = existing(conn, account_id)
    if account.paused_at is not None:
        raise Paused(f"account {account.email} is paused; resume it first")
    reason = account.sync_state_reason or ""
    if account.sync_state == "broken" and reason in _WAITS_FOR:
        raise Broken(f"account {account.email} is broken ({reason}): {_WAITS_FOR[reason]}")
    accounts.make_due(conn, account_id)


def remove(conn: Connection, account_id: int, settings: Settings, *, wait: float) -> None:
    """Mark the account as removed and delete it with all its rows under its lock.

    Raises Busy if the lock is still held after `wait` seconds; the mark stays and a worker deletes the rows.
    """
    request_removal(conn, account_id)
    with account_lock(conn, account_id, settings, wait=wait) as lock:
        accounts.delete(conn, account_id, on_chunk=lock.heartbeat)


def request_removal(conn: Connection, account_id: int) -> tuple[str, datetime]:
    """Mark the account as removed: it is hidden, no longer synced, and a worker deletes its rows.

    Needs no lock; a process that holds the lock ends its turn at the next batch. A second request changes
    nothing. Returns the account's address and the time of the first request; raises NotFound if the account
    is deleted.
    """
    with transaction(conn):
        marked = accounts.mark_deleting(conn, account_id)
        if marked is None:
            raise NotFound(f"there is no account {account_id}")
        accounts.wake_worker(conn, account_id)
    return marked


def choose_folder(conn: Connection, folder: FolderState, *, tracked: bool) -> None:
    """Track or exclude the folder, regardless of the rules for its role; the account is due now.

    Raises NotPossible for excluding INBOX, and for tracking a name that holds only other folders.
    """
    if folder.role == "inbox" and not tracked:
        raise NotPossible("INBOX is always mirrored; to stop syncing the account, pause it")
    if folder.excluded_reason in HOLDS_NONE and tracked:
        raise NotPossible(f"{folder.path} holds only other folders, no messages; track those folders instead")
    with transaction(conn):
        folders.choose(conn, folder.account_id, folder.id, tracked=tracked)
        turns.postpone(conn, folder.account_id, 0)
        accounts.wake_worker(conn, folder.account_id)
