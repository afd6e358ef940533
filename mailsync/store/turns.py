"""Turns: claiming a due account, loading it under its lock, saving the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from mailsync.model import Account, Endpoint, FolderState, RunResult, Verdict
from mailsync.store import crypto
from mailsync.store.db import Connection
from mailsync.store.folders import reader
from mailsync.store.statements import run, translated


@dataclass(frozen=True, slots=True)
class LostTurn:
    """A turn that ended with its process.

    It is the ``count``-th of its ``kind`` in a row; ``step`` is the last step that was recorded.
    """

    kind: str
    count: int
    step: str | None


@dataclass(frozen=True, slots=True)
class LoadedTurn:
    """An account as of the beginning of a turn.

    ``tokens`` are the commands in its bucket, before the reserve. ``now`` is the database's clock. ``sealed``
    is the password's key_id and ciphertext, which tell nothing. ``without_content`` counts the live rows
    without content, up to 1,000. ``started_at`` names the turn. ``lost`` is the turn before this one if that
    ended with its process; ``is_suspect`` says whether the last turns of this one's kind did.
    """

    account: Account
    folders: list[FolderState]
    tokens: float
    now: datetime
    sealed: tuple[str, bytes]
    without_content: int = 0
    started_at: datetime | None = None
    lost: LostTurn | None = None
    is_suspect: bool = False

    def password(self, keys: Sequence[bytes]) -> str:
        """Open the password; raises KeyMismatch."""
        return crypto.unseal(keys, self.account.id, self.account.endpoint, *self.sealed)


def now(conn: Connection) -> datetime:
    """The database's clock, which is the one that schedules."""
    row = run(conn, "database_now").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def claim(conn: Connection, pass_started: datetime, interval: float) -> int | None:
    """Claim the account that is due longest and set its next tick; None if none was due at `pass_started`.

    One that is due later than any tick of `interval` seconds can be is due now: the clock was corrected.
    """
    row = run(conn, "claim_account", pass_started=pass_started, interval=interval).fetchone()
    return int(row[0]) if row else None


def seconds_until_due(conn: Connection, interval: float = 3600.0) -> float | None:
    """Seconds until the next account is due, negative when one is overdue; None without accounts.

    `interval` is the tick: what is due much later than that was set by a clock that has been corrected since.
    """
    row = run(conn, "seconds_until_due", interval=interval).fetchone()
    return None if row is None or row[0] is None else float(row[0])


def accounts_to_backfill(conn: Connection) -> list[int]:
    """The accounts whose first sync is not complete and which nothing holds back."""
    return [row[0] for row in run(conn, "accounts_to_backfill")]


def postpone(conn: Connection, account_id: int, delay: float) -> None:
    """The account is due again in `delay` seconds."""
    run(conn, "postpone_account", account_id=account_id, delay=delay)


def begin(
    conn: Connection,
    account_id: int,
    started_by: str,
    *,
    burst: float,
    refill: float,
    floor: float,
    kind: str = "sync",
    survived: datetime | None = None,
    silent_for: float = 120.0,
) -> LoadedTurn | None:
    """Mark the account as being synced, reserve its commands down to `floor`, load it; None if it is gone.

    `refill` is commands a second. Runs that a dead process left are closed. A turn of the account whose end
    was not written counts as lost, but for the one that began at `survived`: this process has survived it.
    Nor does it count if it stored something and gave a sign of life less than `silent_for` seconds ago.
    """
    cursor = run(
        conn,
        "begin_turn",
        account_id=account_id,
        started_by=started_by,
        burst=burst,
        refill=refill,
        floor=floor,
        kind=kind,
        survived=survived,
        silent_for=silent_for,
    )
    names = [column.name for column in cursor.description or ()]
    try:
        rows = cursor.fetchall()
    except psycopg.Error as error:
        # a time that Python has no date for, which somebody wrote into a row
        leave(conn, account_id, tokens=floor, asked=False)
        raise translated(error) from error
    if not rows:
        return None
    first = dict(zip(names, rows[0], strict=True))
    folders = [] if first["folder_id"] is None else [*map(reader(names), rows)]
    sealed = (first["key_id"] or "", bytes(first["ciphertext"] or b""))
    count = first["lost_count"]
    return LoadedTurn(
        _account(first),
        folders,
        first["tokens"],
        first["now"],
        sealed,
        first["without_content"],
        started_at=first["last_sync_started_at"],
        lost=LostTurn(first["lost_kind"], count, first["lost_step"]) if count else None,
        is_suspect=first["is_suspect"],
    )


def end(
    conn: Connection,
    account_id: int,
    verdict: Verdict,
    *,
    tokens: float,
    next_discovery_at: datetime | None = None,
    folder_rr_cursor: int | None = None,
    capabilities: Sequence[str] | None = None,
    asked: bool = True,
) -> None:
    """Save the verdict and give the unused commands back; a changed state is an event.

    `asked` says whether the server was asked anything, which clears the lost turns of this kind.
    """
    run(
        conn,
        "end_turn",
        account_id=account_id,
        state=verdict.state,
        reason=verdict.reason,
        message=verdict.message,
        failures=verdict.failures,
        successes=verdict.successes,
        backoff_until=verdict.backoff_until,
        healthy_until=verdict.healthy_until,
        next_sync_at=verdict.next_sync_at,
        last_success_at=verdict.last_success_at,
        priority_synced_at=verdict.priority_synced_at,
        overall_synced_at=verdict.overall_synced_at,
        failing_since=verdict.failing_since,
        next_discovery_at=next_discovery_at,
        folder_rr_cursor=folder_rr_cursor,
        capabilities=None if capabilities is None else list(capabilities),
        tokens=tokens,
        asked=asked,
    )


def leave(conn: Connection, account_id: int, *, tokens: float, asked: bool = True) -> None:
    """End a turn that proves nothing about the mirror: the state stays, the unused commands go back.

    `asked` means the same as in :func:`end`.
    """
    run(conn, "leave_turn", account_id=account_id, tokens=tokens, asked=asked)


def start_run(conn: Connection, account_id: int, trigger: str, worker: str) -> int:
    """Open a row of ``sync_runs``; returns its id."""
    row = run(conn, "start_run", account_id=account_id, trigger=trigger, worker=worker).fetchone()
    assert row is not None
    return int(row[0])


def finish_run(conn: Connection, account_id: int, run_id: int, result: RunResult) -> None:
    """Close the run with what it did."""
    run(
        conn,
        "finish_run",
        account_id=account_id,
        run_id=run_id,
        status=result.status,
        folders=result.folders,
        messages_new=result.messages_new,
        flags_changed=result.flags_changed,
        messages_deleted=result.messages_deleted,
        imap_commands=result.imap_commands,
        bytes_in=result.bytes_in,
        error_code=result.error_code,
        error_message=result.error_message,
    )


def emit(conn: Connection, account_id: int, type_: str, folder_id: int | None, data: str) -> None:
    """Insert one event; `data` is JSON text."""
    run(conn, "emit_event", account_id=account_id, type=type_, folder_id=folder_id, data=data)


def worker_beat(conn: Connection, worker: str, version: str) -> None:
    """The worker is alive."""
    run(conn, "worker_beat", worker=worker, version=version)


def list_workers(conn: Connection) -> list[dict[str, Any]]:
    """The workers that did not end in order, column by column, with their heartbeat's age in seconds."""
    cursor = run(conn, "list_workers")
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def forget_worker(conn: Connection, worker: str) -> None:
    """The worker ends; rows of workers that died a week ago go with it."""
    run(conn, "forget_worker", worker=worker)


def _account(row: Mapping[str, Any]) -> Account:
    return Account(
        id=row["id"],
        email=row["email"],
        endpoint=Endpoint(row["imap_host"], row["imap_port"], row["imap_security"], row["username"]),
        sync_since=row["sync_since"],
        sync_window_days=row["sync_window_days"],
        paused_at=row["paused_at"],
        deleting_at=row["deleting_at"],
        sync_state=row["sync_state"],
        sync_state_reason=row["sync_state_reason"],
        sync_state_message=row["sync_state_message"],
        sync_state_since=row["sync_state_since"],
        consecutive_failures=row["consecutive_failures"],
        consecutive_successes=row["consecutive_successes"],
        backoff_until=row["backoff_until"],
        priority_synced_at=row["priority_synced_at"],
        overall_synced_at=row["overall_synced_at"],
        last_success_at=row["last_success_at"],
        created_at=row["created_at"],
        folder_rr_cursor=row["folder_rr_cursor"],
        next_discovery_at=row["next_discovery_at"],
        capabilities=tuple(row["capabilities"]),
        mirrored_since=row["mirrored_since"],
        failing_since=row["failing_since"],
        last_sync_finished_at=row["last_sync_finished_at"],
    )
