"""Retention: old tombstones, events and runs, removed accounts, mail outside a window (SPEC §15)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from mailsync.store import folders, records
from mailsync.store.db import Connection, is_broken, transaction
from mailsync.store.session_settings import LOCK_TIMEOUT
from mailsync.store.statements import run


class Due(NamedTuple):
    """Whether the hourly round is due, and whether a removed account still has rows."""

    hourly: bool
    removals: bool


@contextmanager
def short_lock_timeout(conn: Connection) -> Iterator[None]:
    """Limit waits for locks of other transactions to a second, so that new mail is not delayed."""
    run(conn, "set_lock_wait", wait="1s")
    try:
        yield
    finally:
        if not is_broken(conn):
            run(conn, "set_lock_wait", wait=LOCK_TIMEOUT)


def due(conn: Connection) -> Due:
    """The tasks that are due now."""
    due = records.first_row(Due, run(conn, "look_at_retention"))
    return due or Due(hourly=False, removals=False)


def claim(conn: Connection) -> bool:
    """Try to become the one process that does retention, until :func:`release` or the connection's end."""
    row = run(conn, "claim_retention").fetchone()
    return bool(row and row[0])


def release(conn: Connection) -> None:
    """Give up the claim, so that another process can do retention."""
    run(conn, "release_retention")


def begin(conn: Connection) -> None:
    """Note that the hourly round begins."""
    run(conn, "begin_retention")


def finish(conn: Connection) -> None:
    """Note that the hourly round is done; the next one is due an hour after this one began."""
    run(conn, "finish_retention")


def make_due(conn: Connection) -> None:
    """Make the hourly round due now, because a window became narrower."""
    run(conn, "hasten_retention")


def accounts_to_remove(conn: Connection) -> list[int]:
    """The ids of removed accounts that still have rows."""
    return [row[0] for row in run(conn, "accounts_to_remove")]


def accounts_to_tidy(conn: Connection, tombstone_days: int) -> list[int]:
    """The ids of accounts for which retention has work.

    They have tombstones older than `tombstone_days`, mail outside their window, or rows without authors.
    """
    return [row[0] for row in run(conn, "accounts_to_tidy", days=tombstone_days)]


def expire(conn: Connection, account_id: int, limit: int) -> int:
    """Tombstone at most `limit` rows older than the account's window; returns how many.

    Moves ``mirrored_since`` in the same statement. The caller holds the account's lock.
    """
    row = run(conn, "expire_rows", account_id=account_id, limit=limit).fetchone()
    return int(row[0]) if row else 0


def fill_authors(conn: Connection, account_id: int, limit: int) -> int:
    """Fill ``from_emails`` of rows that are older than this column; returns how many rows were looked at.

    At most `limit` rows, the newest first. The caller holds the account's lock.
    """
    row = run(conn, "fill_authors", account_id=account_id, limit=limit).fetchone()
    return int(row[0]) if row else 0


def purge_tombstones(conn: Connection, account_id: int, days: int, limit: int) -> int:
    """Delete at most `limit` old tombstones; returns how many. The caller holds the account's lock."""
    return run(conn, "purge_tombstones", account_id=account_id, days=days, limit=limit).rowcount


def purge_runs(conn: Connection, days: int, limit: int) -> int:
    """Delete at most `limit` old finished runs of all accounts; returns how many."""
    return run(conn, "purge_runs", days=days, limit=limit).rowcount


def purge_events(conn: Connection, days: int, limit: int) -> int:
    """Delete at most `limit` old events, including those of removed accounts; returns how many."""
    return run(conn, "purge_events", days=days, limit=limit).rowcount


def set_mirrored_since(conn: Connection, account_id: int, begins: datetime | None) -> None:
    """Note that mail since `begins` (None: all mail) is mirrored, or is being backfilled."""
    run(conn, "set_mirrored_since", account_id=account_id, begins=begins)


def backfill_window(conn: Connection, account_id: int, begins: datetime | None) -> None:
    """Backfill every folder back to `begins`, because the window now begins earlier than the mirror."""
    with transaction(conn):
        run(conn, "reopen_folders", account_id=account_id)
        folders.rearm(conn, account_id)
        set_mirrored_since(conn, account_id, begins)
