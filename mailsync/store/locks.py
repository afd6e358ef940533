"""The per-account advisory lock: one conversation per account, one writer, always (SPEC §8).

The connection that holds the lock is the connection that writes. If Postgres drops it, lock and ability to
write vanish together.
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
from mailsync.store.statements import run, translated

log = logging.getLogger(__name__)

HEARTBEAT_INTERVAL = 10.0
_WANTED_INTERVAL = 0.5
_RELEASED_WITHIN = 5.0


class AccountLock:
    """The lock of one account while it is held; made only by :func:`account_lock`."""

    def __init__(self, conn: Connection, account_id: int, clock: Callable[[], float]) -> None:
        self.conn = conn
        self.account_id = account_id
        self._clock = clock
        self._beaten_at = clock()
        self._looked_at = clock()
        self._wanted = False
        self.step: str | None = None
        """The holder's current step, for the next heartbeat; None if there is none."""
        self.progressed = False

    def beat(self, *, now: bool = False) -> None:
        """Write the heartbeat and the step when that is due, or `now`.

        Raises LockLost when the connection no longer answers.
        """
        if now or self._clock() - self._beaten_at >= HEARTBEAT_INTERVAL:
            run(
                self.conn,
                "beat",
                account_id=self.account_id,
                step=self.step,
                progressed=self.progressed,
            )
            self._beaten_at = self._clock()

    def is_wanted(self) -> bool:
        """Whether to end the turn: somebody queues for this lock, or a person paused or removed the account.

        Asks Postgres at most twice a second. Once wanted it stays so: the holder looks again on its way out.
        """
        if not self._wanted and self._clock() - self._looked_at >= _WANTED_INTERVAL:
            self._looked_at = self._clock()
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
    """Hold the lock of `account_id` on `conn`: the one way in.

    `wait` is None for workers, which only try; others stand in the queue for up to `wait` seconds. Raises
    Busy when another session holds the lock, LockHeld if that session is not mailsync's, LockLost when the
    connection is lost meanwhile; a DatabaseSlow from within passes as it is, since the lock was kept. A
    holder that gave no sign of life for ``LOCK_STALE_AFTER`` is ended first.
    """
    _take(conn, account_id, settings, wait)
    try:
        yield AccountLock(conn, account_id, clock)
    except DatabaseSlow:
        raise
    except DatabaseUnavailable as error:
        raise LockLost(f"the lock of account {account_id} was lost: {error}") from error
    finally:
        _release(conn, account_id)


def _take(conn: Connection, account_id: int, settings: Settings, wait: float | None) -> None:
    if _try(conn, account_id):
        return
    if _end_stale_holder(conn, account_id, settings) and _try(conn, account_id):
        return
    if wait is not None and _queued(conn, wait, lambda: run(conn, "queue_for_lock", account_id=account_id)):
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


def _queued(conn: Connection, wait: float, ask: Callable[[], object]) -> bool:
    """Run a statement that waits for a lock, for up to `wait` seconds; whether it came back with it."""
    if wait <= 0:
        return False
    until = time.monotonic() + wait
    try:
        while (left := until - time.monotonic()) > 0:
            run(conn, "set_lock_wait", wait=f"{max(1, int(left * 1000))}ms")
            try:
                ask()
                return True
            except RowsLocked:
                return False
            except DatabaseSlow:
                # STATEMENT_TIMEOUT is shorter than the wait: queue again
                continue
        return False
    finally:
        if not is_broken(conn):
            run(conn, "set_lock_wait", wait="10s")


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
    until = time.monotonic() + 5
    while time.monotonic() < until:
        row = run(conn, "backend_is_alive", pid=pid).fetchone()
        if not (row and row[0]):
            return True
        time.sleep(0.05)
    return False


def _release(conn: Connection, account_id: int) -> None:
    """Unlock; when that is not confirmed, close the connection, which releases for certain."""
    try:
        row = None if is_broken(conn) else run(conn, "unlock", account_id=account_id).fetchone()
    except MailsyncError:
        row = None
    if not (row and row[0]):
        with suppress(psycopg.Error):
            conn.close()


@contextmanager
def body_lock(conn: Connection, account_id: int, message_id: int, *, wait: float) -> Iterator[None]:
    """Keep others from fetching the body of the same message until this one is stored.

    Taken before the account's lock, never inside of it, and held longer: what was fetched is parsed and
    stored without the account's lock. Raises Busy after `wait` seconds.
    """
    row = run(conn, "try_body_lock", account_id=account_id, message_id=message_id).fetchone()
    if not (row and row[0]) and not _queued(
        conn, wait, lambda: run(conn, "queue_for_body", account_id=account_id, message_id=message_id)
    ):
        raise Busy(f"message {message_id} is being fetched by another process; try again in a few seconds")
    try:
        yield
    finally:
        try:
            row = (
                None
                if is_broken(conn)
                else run(conn, "unlock_body", account_id=account_id, message_id=message_id).fetchone()
            )
        except MailsyncError:
            row = None
        if not (row and row[0]):
            with suppress(psycopg.Error):
                conn.close()


def self_test(settings: Settings) -> None:
    """Prove that session locks hold here (SPEC §8); raises ConfigError with the reason if they do not.

    Two connections: the lock excludes the other, survives a commit and a rollback, dies with its session,
    and the backend's pid does not change between transactions. A transaction pooler fails this. A connection
    that fails meanwhile proves nothing, nor does a lock that a closed connection keeps for some seconds: both
    raise DatabaseUnavailable.
    """
    # account ids begin at 1, so a negative key disturbs nobody, and a random one no other self-test
    probe = -1 - secrets.randbelow(2**31 - 1)
    try:
        with connect(settings, "self-test") as first, connect(settings, "self-test") as second:
            for conn in (first, second):
                # before the schema is made, that of temporary tables would be the current one
                run(conn, "leave_schema")
            _prove(first, second, probe)
    except psycopg.Error as error:
        raise translated(error) from error


def _prove(first: Connection, second: Connection, probe: int) -> None:
    pid = _pid(first)
    if not _try(first, probe):
        raise _no_session_locks("a lock that nobody holds is refused")
    for end in ("commit", "rollback"):
        for statement in ("begin", "select 1", end):
            first.execute(statement)
        if _pid(first) != pid:
            raise _no_session_locks("the backend changes between transactions")
        # unless its backend was ended meanwhile, which frees the lock: then this raises
        if _try(second, probe) and _pid(first) == pid:
            raise _no_session_locks(f"a lock does not survive a {end}")
    first.close()
    until = time.monotonic() + _RELEASED_WITHIN
    while not _try(second, probe):
        if time.monotonic() > until:
            # no proof: on a busy machine a backend may take as long to end
            raise DatabaseUnavailable(
                f"the lock self-test did not end: a lock is still held {_RELEASED_WITHIN:g} s after the"
                " connection that took it was closed"
            )
        time.sleep(0.05)


def _pid(conn: Connection) -> int:
    row = conn.execute("select pg_catalog.pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


def _no_session_locks(why: str) -> ConfigError:
    return ConfigError(
        f"session locks do not work here: {why}. DATABASE_URL probably leads to a transaction pooler;"
        " give a direct connection or a session pooler (port 5432)"
    )
