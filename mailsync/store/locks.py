"""The advisory lock of an account, which allows one IMAP session and one writer for it (SPEC §8).

The connection that holds the lock is the connection that writes. If Postgres drops it, the process loses the
lock and the ability to write at the same moment.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psycopg

from mailsync.config import Settings
from mailsync.errors import (
    Busy,
    ConfigError,
    DatabaseSlow,
    DatabaseUnavailable,
    LockHeld,
    LockLost,
    MailsyncError,
    RowsLocked,
)
from mailsync.store.accounts import lock_holder
from mailsync.store.db import Connection, connect, is_broken
from mailsync.store.session_settings import LOCK_TIMEOUT
from mailsync.store.statements import run, translated

log = logging.getLogger(__name__)

HEARTBEAT_INTERVAL = 10.0
"""Seconds between two heartbeats of a turn."""

_WANTED_INTERVAL = 0.5
_RELEASED_WITHIN = 5.0


class AccountLock:
    """The lock of an account while it is held; created only by :func:`account_lock`."""

    def __init__(self, conn: Connection, account_id: int, clock: Callable[[], float]) -> None:
        self.conn = conn
        self.account_id = account_id
        self._clock = clock
        self._heartbeat_at = clock()
        self._checked_at = clock()
        self._wanted = False
        self.step: str | None = None
        """The holder's current step, written with the next heartbeat; None if there is none."""
        self.progressed = False
        """Whether the turn has stored anything, written with the next heartbeat."""

    def heartbeat(self, *, now: bool = False) -> None:
        """Write a heartbeat if one is due, or `now`.

        Raises DatabaseUnavailable, which :func:`account_lock` turns into LockLost.
        """
        if now or self._clock() - self._heartbeat_at >= HEARTBEAT_INTERVAL:
            account_id = self.account_id
            run(self.conn, "heartbeat", account_id=account_id, step=self.step, progressed=self.progressed)
            self._heartbeat_at = self._clock()

    def is_wanted(self) -> bool:
        """Whether to end the turn: a session queues for the lock, or a person paused or removed the account.

        Queries Postgres at most twice a second. Once true, the answer stays true until the lock is released.
        """
        if not self._wanted and self._clock() - self._checked_at >= _WANTED_INTERVAL:
            self._checked_at = self._clock()
            row = run(self.conn, "lock_is_wanted", account_id=self.account_id).fetchone()
            self._wanted = bool(row and row[0])
        return self._wanted


@contextmanager
def account_lock(
    conn: Connection,
    account_id: int,
    settings: Settings,
    *,
    wait: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[AccountLock]:
    """Hold the lock of `account_id` on `conn`. This is the only way to acquire it.

    Workers only try: `wait` is None. Others queue for up to `wait` seconds. A holder that has been silent for
    ``LOCK_STALE_AFTER`` is ended first.

    Raises Busy if another session holds the lock, LockHeld if that session is not mailsync's, and LockLost if
    the connection is lost while the lock is held. A DatabaseSlow from within the block is raised unchanged,
    because the lock is still held.
    """
    _acquire(conn, account_id, settings, wait)
    try:
        yield AccountLock(conn, account_id, clock)
    except DatabaseSlow:
        raise
    except DatabaseUnavailable as error:
        raise LockLost(f"the lock of account {account_id} was lost: {error}") from error
    finally:
        _release(conn, "unlock", account_id=account_id)


def _acquire(conn: Connection, account_id: int, settings: Settings, wait: float | None) -> None:
    if _try(conn, account_id):
        return
    if _end_stale_holder(conn, account_id, settings) and _try(conn, account_id):
        return
    if wait is not None and _queue(conn, wait, lambda: run(conn, "queue_for_lock", account_id=account_id)):
        return
    holder = lock_holder(conn, account_id)
    if holder and not holder.is_mailsync:
        raise LockHeld(
            f"the lock of account {account_id} is held by {holder.session}, which is not a mailsync process;"
            f" end it with: select pg_terminate_backend({holder.pid})"
        )
    by = f" by {holder.started_by or holder.application_name}" if holder else ""
    raise Busy(f"account {account_id} is being synced{by}; try again in a few seconds")


def _try(conn: Connection, account_id: int) -> bool:
    row = run(conn, "try_lock", account_id=account_id).fetchone()
    return bool(row and row[0])


def _queue(conn: Connection, wait: float, acquire: Callable[[], object]) -> bool:
    """Run a statement that waits for a lock, for up to `wait` seconds; whether the lock was acquired."""
    if wait <= 0:
        return False
    deadline = time.monotonic() + wait
    try:
        while (left := deadline - time.monotonic()) > 0:
            run(conn, "set_lock_wait", wait=f"{max(1, int(left * 1000))}ms")
            try:
                acquire()
                return True
            except RowsLocked:
                return False
            except DatabaseSlow:
                # STATEMENT_TIMEOUT is shorter than the wait, so queue again
                continue
        return False
    finally:
        if not is_broken(conn):
            run(conn, "set_lock_wait", wait=LOCK_TIMEOUT)


def _end_stale_holder(conn: Connection, account_id: int, settings: Settings) -> bool:
    ended = run(
        conn, "end_stale_holder", account_id=account_id, stale_after=settings.lock_stale_after
    ).fetchone()
    if ended is None:
        return False
    pid = ended[0]
    log.warning(
        "Ended a stale lock holder",
        extra={"action": "stale_lock", "account_id": account_id, "backend_pid": pid},
    )
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        row = run(conn, "backend_is_alive", pid=pid).fetchone()
        if not (row and row[0]):
            return True
        time.sleep(0.05)
    return False


def _release(conn: Connection, statement: str, **key: int) -> None:
    """Run a statement that unlocks; close the connection, which unlocks too, if that is not confirmed."""
    row = None
    with suppress(MailsyncError):
        row = None if is_broken(conn) else run(conn, statement, **key).fetchone()
    if not (row and row[0]):
        with suppress(psycopg.Error):
            conn.close()


@contextmanager
def body_lock(conn: Connection, account_id: int, message_id: int, *, wait: float) -> Iterator[None]:
    """Keep other processes from fetching the same message's body until it is stored.

    Acquire it before the account's lock, never inside: it is held longer, because bodies are parsed and
    stored after the account's lock was released. Raises Busy after `wait` seconds.
    """
    row = run(conn, "try_body_lock", account_id=account_id, message_id=message_id).fetchone()
    if not (row and row[0]) and not _queue(
        conn, wait, lambda: run(conn, "queue_for_body", account_id=account_id, message_id=message_id)
    ):
        raise Busy(f"message {message_id} is being fetched by another process; try again in a few seconds")
    try:
        yield
    finally:
        _release(conn, "unlock_body", account_id=account_id, message_id=message_id)


def self_test(settings: Settings) -> None:
    """Verify that session locks work with this DATABASE_URL (SPEC §8). Raises ConfigError if they do not.

    Uses two connections: the lock must exclude the second, survive a commit and a rollback and end with its
    session, and the backend must stay the same between transactions. A transaction pooler fails this. Raises
    DatabaseUnavailable if the test is inconclusive: a connection fails, or a closed one keeps its lock for
    some seconds.
    """
    # account ids begin at 1, so a negative key is nobody's, and a random one is no other self-test's
    probe = -1 - secrets.randbelow(2**31 - 1)
    try:
        with connect(settings, "self-test") as first, connect(settings, "self-test") as second:
            for conn in (first, second):
                # until the schema exists, the current schema would be that of temporary tables
                run(conn, "leave_schema")
            _prove(first, second, probe)
    except psycopg.Error as error:
        raise translated(error) from error


def _prove(first: Connection, second: Connection, probe: int) -> None:
    pid = _pid(first)
    if not _try(first, probe):
        raise _no_session_locks("a free lock could not be acquired")
    for end in ("commit", "rollback"):
        for statement in ("begin", "select 1", end):
            first.execute(statement)
        if _pid(first) != pid:
            raise _no_session_locks("the backend changes between transactions")
        # if the first backend was ended, which frees the lock, _pid raises
        if _try(second, probe) and _pid(first) == pid:
            raise _no_session_locks(f"a lock does not survive a {end}")
    first.close()
    deadline = time.monotonic() + _RELEASED_WITHIN
    while not _try(second, probe):
        if time.monotonic() > deadline:
            # inconclusive, because a backend may take this long to end on a busy machine
            raise DatabaseUnavailable(
                f"the lock self-test is inconclusive: a lock is still held {_RELEASED_WITHIN:g} s after its"
                " connection was closed"
            )
        time.sleep(0.05)


def _pid(conn: Connection) -> int:
    row = conn.execute("select pg_catalog.pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def _no_session_locks(why: str) -> ConfigError:
    return ConfigError(
        f"session locks do not work here: {why}. DATABASE_URL probably points to a transaction pooler;"
        " use a direct connection or a session pooler (port 5432)"
    )
