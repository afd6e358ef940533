"""What is old enough to go: tombstones, events, runs, removed accounts, mail outside a window (SPEC §15)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from mailsync.store import folders
from mailsync.store.db import Connection, is_broken, transaction
from mailsync.store.statements import run


class Due(NamedTuple):
    """Whether the hour is over, and whether a removed account waits to be emptied."""

    hourly: bool
    removals: bool


@contextmanager
def impatient(conn: Connection) -> Iterator[None]:
    """Wait for other transactions' locks no longer than fresh mail may wait."""
    run(conn, "set_lock_wait", wait="1s")
    try:
        yield
    finally:
        if not is_broken(conn):
            run(conn, "set_lock_wait", wait="10s")


def look(conn: Connection) -> Due:
    """What there is to do now."""
    row = run(conn, "look_at_retention").fetchone()
    return Due(*row) if row else Due(hourly=False, removals=False)


def claim(conn: Connection) -> bool:
    """Try to be the one process that does it; it ends with :func:`release` or with the connection."""
    row = run(conn, "claim_retention").fetchone()
    return bool(row and row[0])


def release(conn: Connection) -> None:
    """Let another process do it."""
    run(conn, "release_retention")


def begin(conn: Connection) -> None:
    """The hourly round begins."""
    run(conn, "begin_retention")


def finish(conn: Connection) -> None:
    """The hourly round is done; the next one is due an hour after this one began."""
    run(conn, "finish_retention")


def hasten(conn: Connection) -> None:
    """It is due now: a window was narrowed."""
    run(conn, "hasten_retention")


def accounts_to_remove(conn: Connection) -> list[int]:
    """The accounts that a person has removed and that still have rows."""
    return [row[0] for row in run(conn, "accounts_to_remove")]


def accounts_to_tidy(conn: Connection, tombstone_days: int) -> list[int]:
    """The accounts with tombstones of that age, or with a window that has moved on."""
    return [row[0] for row in run(conn, "accounts_to_tidy", days=tombstone_days)]


def expire(conn: Connection, account_id: int, limit: int) -> int:
    """Tombstone a chunk of what is older than the account's window; the caller holds the account's lock.

    Returns how many rows. How far back the mirror reaches moves in the same statement.
    """
    found = run(conn, "expire_rows", account_id=account_id, limit=limit).fetchone()
    return int(found[0]) if found else 0


def purge_tombstones(conn: Connection, account_id: int, days: int, limit: int) -> int:
    """Delete a chunk of old tombstones; the caller holds the account's lock. Returns how many rows."""
    return run(conn, "purge_tombstones", account_id=account_id, days=days, limit=limit).rowcount


def purge_runs(conn: Connection, days: int, limit: int) -> int:
    """Delete a chunk of old finished runs, of all accounts; returns how many."""
    return run(conn, "purge_runs", days=days, limit=limit).rowcount


def purge_events(conn: Connection, days: int, limit: int) -> int:
    """Delete a chunk of old events, those of removed accounts too; returns how many."""
    return run(conn, "purge_events", days=days, limit=limit).rowcount


def move_reach(conn: Connection, account_id: int, begins: datetime | None) -> None:
    """Note that mail from `begins` on (None: all mail) is mirrored or about to be."""
    run(conn, "move_reach", account_id=account_id, begins=begins)


def reach_back(conn: Connection, account_id: int, begins: datetime | None) -> None:
    """The window begins earlier than the mirror: backfill every folder anew, down to `begins`."""
    with transaction(conn):
        run(conn, "reopen_folders", account_id=account_id)
        folders.rearm(conn, account_id)
        move_reach(conn, account_id, begins)
