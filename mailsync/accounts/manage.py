"""What a person does to an account that exists, by command line and API alike (SPEC §5, §13).

Whatever only says what a person wants needs no lock; what touches cursors or rows takes the account's.
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
"""Characters that the reason of a pause may have."""

_WAITS_FOR = {
    "auth_failed": "the server has rejected its password; give it another one",
    "key_mismatch": "no key in IMAP_ENCRYPTION_KEY opens its password; add it, or give the password again",
    "uidvalidity_reset_limit": "a folder's UIDVALIDITY changes again and again; when that is over, reset it",
}
"""Reasons of ``broken`` for which no turn is taken before a person has acted."""


def existing(conn: Connection, account_id: int) -> AccountRecord:
    """The account as of now; raises NotFound, also while it is being removed."""
    found = account_views.load(conn, account_id)
    if found is None:
        raise NotFound(f"there is no account {account_id}")
    return found


def pause(conn: Connection, account_id: int, reason: str | None) -> None:
    """Hold the account; said again without a reason, the first one stays, and an empty one takes it away."""
    if reason is not None and (len(reason) > LONGEST_REASON or "\0" in reason):
        raise InvalidInput(
            f"reason: expected at most {LONGEST_REASON} characters, without NUL", field="reason"
        )
    existing(conn, account_id)
    accounts.pause(conn, account_id, reason)


def resume(conn: Connection, account_id: int) -> None:
    """Let the account go on, now."""
    existing(conn, account_id)
    accounts.resume(conn, account_id)


def reset(conn: Connection, account_id: int, settings: Settings, *, resync: bool, wait: float) -> None:
    """Clear state, failures and timers under the account's lock; with `resync` the cursors too.

    Raises NotFound, and Busy after `wait` seconds in the lock's queue.
    """
    existing(conn, account_id)
    with account_lock(conn, account_id, settings, wait=wait):
        accounts.reset(conn, account_id, resync=resync)


def request_sync(conn: Connection, account_id: int) -> None:
    """The account is due now, whatever its backoff, but for that of a rejected password; a worker is woken.

    Raises NotFound, Paused, and Broken where no turn would be taken.
    """
    account = existing(conn, account_id)
    if account.paused_at is not None:
        raise Paused(f"account {account.email} is paused; resume it first")
    reason = account.sync_state_reason or ""
    if account.sync_state == "broken" and reason in _WAITS_FOR:
        raise Broken(f"account {account.email} is broken ({reason}): {_WAITS_FOR[reason]}")
    accounts.make_due(conn, account_id)


def remove(conn: Connection, account_id: int, settings: Settings, *, wait: float) -> None:
    """Mark the account and delete all of it under its lock.

    Raises Busy after `wait` seconds in the lock's queue; then it is marked, and a worker deletes the rest.
    """
    request_removal(conn, account_id)
    with account_lock(conn, account_id, settings, wait=wait) as lock:
        accounts.delete(conn, account_id, on_chunk=lock.beat)


def request_removal(conn: Connection, account_id: int) -> tuple[str, datetime]:
    """Mark the account: it is gone for whoever reads, nothing more is synced, a worker deletes its rows.

    Needs no lock, and a holder leaves at its next batch. Said again it changes nothing. Returns the account's
    address and since when it is being removed; raises NotFound when all of it is gone.
    """
    with transaction(conn):
        marked = accounts.mark_deleting(conn, account_id)
        if marked is None:
            raise NotFound(f"there is no account {account_id}")
        accounts.wake_worker(conn, account_id)
    return marked


def choose_folder(conn: Connection, folder: FolderState, *, tracked: bool) -> None:
    """A person mirrors the folder, or leaves it out, whatever the rules say; the account is due now.

    Raises NotPossible for INBOX, which is always mirrored, and for what holds no messages.
    """
    if folder.role == "inbox" and not tracked:
        raise NotPossible("INBOX is always mirrored; to stop an account, pause it")
    if folder.excluded_reason in HOLDS_NONE and tracked:
        raise NotPossible(f"{folder.path} holds no messages, only other folders")
    with transaction(conn):
        folders.choose(conn, folder.account_id, folder.id, tracked=tracked)
        turns.postpone(conn, folder.account_id, 0)
        accounts.wake_worker(conn, folder.account_id)
