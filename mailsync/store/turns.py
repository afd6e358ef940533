"""Turns: claim a due account, load it under its lock, save the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from mailsync.model import Account, FolderState, RunResult, Verdict
from mailsync.store import folders, records
from mailsync.store.credentials import SealedCredential
from mailsync.store.db import Connection
from mailsync.store.statements import run, translated


@dataclass(frozen=True, slots=True)
class LostTurn:
    """A turn whose process ended during it: the `count`-th in a row of its `kind`, and its last step."""

    kind: str
    count: int
    step: str | None


@dataclass(frozen=True, slots=True)
class LoadedTurn:
    """An account at the beginning of a turn.

    ``tokens`` is the number of commands in its bucket before the turn reserves any. ``now`` is the database's
    clock. ``sealed`` is its sealed password or tokens. ``without_content`` is the number of live
    rows without content, at most 1,000. ``started_at`` identifies the turn. ``lost`` is the previous turn if
    its process ended during it; ``is_suspect`` says whether that happened to the last turns of this kind.
    """

    account: Account
    folders: list[FolderState]
    tokens: float
    now: datetime
    sealed: SealedCredential
    without_content: int = 0
    started_at: datetime | None = None
    lost: LostTurn | None = None
    is_suspect: bool = False


@dataclass(frozen=True, slots=True)
class Parked:
    """How a worker listens to an account: ``by`` is the worker's name, ``kind`` ``notify`` or ``idle``.

    ``tick_seconds`` is the account's own tick; None for ``SYNC_INTERVAL``.
    """

    by: str
    kind: str
    tick_seconds: float | None


def now(conn: Connection) -> datetime:
    """The time by the database's clock, which all schedules use."""
    row = run(conn, "database_now").fetchone()
    assert row is not None
    time: datetime = row[0]
    return time


def claim(
    conn: Connection, pass_started: datetime, interval: float, worker: str = "", longest: float | None = None
) -> int | None:
    """Claim the account that has been due longest and schedule its next tick.

    That is `interval` seconds from now, unless the account has a tick of its own. Returns None if no account
    was due at `pass_started`. An account is also due if its next tick is later than any tick that is ever
    scheduled, at most `longest` seconds ahead (by default `interval`), because a wrong clock must have set
    it. An account to which another worker than `worker` listens is left to that worker for two seconds.
    """
    row = run(
        conn,
        "claim_account",
        pass_started=pass_started,
        interval=interval,
        worker=worker,
        longest=interval if longest is None else longest,
    ).fetchone()
    return int(row[0]) if row else None


def seconds_until_due(conn: Connection, longest: float = 3600.0, worker: str = "") -> float | None:
    """Seconds until the next account is due, negative if it is overdue; None if there is no account.

    `longest` and `worker` are those of :func:`claim`. An account that is due much later counts as due now,
    because a wrong clock must have set its next tick.
    """
    row = run(conn, "seconds_until_due", longest=longest, worker=worker).fetchone()
    return None if row is None or row[0] is None else float(row[0])


def unpark(conn: Connection, worker: str, ended: Sequence[tuple[int, float | None]], interval: float) -> None:
    """Note that parked sessions of `worker` have ended, each given with the seconds until its account is due.

    None means its ordinary tick, `interval` seconds after the last one began.
    """
    run(
        conn,
        "unpark",
        worker=worker,
        account_ids=[account_id for account_id, _ in ended],
        seconds=[seconds for _, seconds in ended],
        interval=interval,
    )


def lost_parking(conn: Connection, worker: str, account_ids: Sequence[int]) -> list[int]:
    """Return those of the accounts that `worker` lost: another listens, or they are paused or gone."""
    return [row[0] for row in run(conn, "lost_parking", worker=worker, account_ids=list(account_ids))]


def release_parked(conn: Connection, worker: str, interval: float) -> None:
    """Note that `worker` stops listening; its accounts get ordinary ticks, `interval` seconds apart."""
    run(conn, "release_parked", worker=worker, interval=interval)


def release_abandoned(conn: Connection, interval: float, silent_for: float) -> None:
    """Do as :func:`release_parked` for all workers that have sent no heartbeat for `silent_for` seconds."""
    run(conn, "release_abandoned", interval=interval, silent_for=silent_for)


def accounts_to_backfill(conn: Connection) -> list[int]:
    """The ids of accounts that have folders to backfill and are not paused, broken or backed off."""
    return [row[0] for row in run(conn, "accounts_to_backfill")]


def postpone(conn: Connection, account_id: int, delay: float) -> None:
    """Make the account due in `delay` seconds."""
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
    """Mark the account as syncing, reserve its commands down to `floor` and load it; None if it is gone.

    `burst` is the size of its bucket and `refill` the commands that it gains each second. Runs that a dead
    process left open are closed. A previous turn that did not end counts as lost, with two exceptions: it
    began at `survived`, so this process survived it; or it stored something and gave a sign of life less than
    `silent_for` seconds ago, so its process was killed.
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
    try:
        rows = cursor.fetchall()
    except psycopg.Error as error:
        # somebody wrote a time into a row that Python's datetime cannot hold
        leave(conn, account_id, tokens=floor, asked=False)
        raise translated(error) from error
    if not rows:
        return None
    begun = records.reader(_Begun, cursor)(rows[0])
    return LoadedTurn(
        account=records.reader(Account, cursor)(rows[0]),
        # without folders there is one row, which has an account alone
        folders=[*map(folders.reader(cursor), rows)] if begun.folder_id is not None else [],
        tokens=begun.tokens,
        now=begun.now,
        sealed=records.reader(SealedCredential, cursor)(rows[0]),
        without_content=begun.without_content,
        started_at=begun.last_sync_started_at,
        lost=LostTurn(begun.lost_kind, begun.lost_count, begun.lost_step) if begun.lost_count else None,
        is_suspect=begun.is_suspect,
    )


class _Begun(NamedTuple):
    """The columns of ``begin_turn`` beside those of the account and its folders, in each row."""

    folder_id: int | None
    tokens: float
    now: datetime
    without_content: int
    last_sync_started_at: datetime
    lost_kind: str
    lost_count: int | None
    lost_step: str | None
    is_suspect: bool


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
    parked: Parked | None = None,
    tick_at_latest: datetime | None = None,
    worker: str = "",
) -> None:
    """Save the verdict, return the unused `tokens`, and write an event if the state changed.

    `asked` says whether the turn sent a command to the server, which clears the lost turns of its kind.
    `parked` is how the process `worker` listens to the account from now on. None ends the listening of this
    process, and leaves that of another alone. `tick_at_latest` moves a later next tick forward.
    """
    run(
        conn,
        "end_turn",
        account_id=account_id,
        **asdict(verdict),
        next_discovery_at=next_discovery_at,
        folder_rr_cursor=folder_rr_cursor,
        capabilities=None if capabilities is None else list(capabilities),
        tokens=tokens,
        asked=asked,
        parked_by=parked.by if parked else None,
        parked_kind=parked.kind if parked else None,
        tick_seconds=parked.tick_seconds if parked else None,
        worker=worker,
        tick_at_latest=tick_at_latest,
    )


def leave(conn: Connection, account_id: int, *, tokens: float, asked: bool = True) -> None:
    """End a turn that proves nothing about the mirror: keep the state and return the unused `tokens`.

    `asked` means the same as in :func:`end`.
    """
    run(conn, "leave_turn", account_id=account_id, tokens=tokens, asked=asked)


def start_run(conn: Connection, account_id: int, trigger: str, worker: str) -> int:
    """Insert a row of ``sync_runs`` and return its id."""
    row = run(conn, "start_run", account_id=account_id, trigger=trigger, worker=worker).fetchone()
    assert row is not None
    return int(row[0])


def finish_run(conn: Connection, account_id: int, run_id: int, result: RunResult) -> None:
    """Finish the run with its result."""
    run(
        conn,
        "finish_run",
        account_id=account_id,
        run_id=run_id,
        **asdict(result),
    )


def worker_heartbeat(conn: Connection, worker: str, version: str) -> None:
    """Write the worker's heartbeat."""
    run(conn, "worker_heartbeat", worker=worker, version=version)


def list_workers(conn: Connection) -> list[dict[str, Any]]:
    """The workers that have not shut down, as column → value, with the age of their heartbeat in seconds."""
    return records.as_dicts(run(conn, "list_workers"))


def forget_worker(conn: Connection, worker: str) -> None:
    """Delete the row of a worker that shuts down, and those of workers that died a week ago."""
    run(conn, "forget_worker", worker=worker)
