"""Rows of ``fetch_attempts``: fetches under way, messages to blame, and when to ask for messages again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mailsync.model import FolderState
from mailsync.store.db import Connection
from mailsync.store.statements import run
from mailsync.uidset import UidSet

WITHOUT_CONTENT = frozenset({"unfetchable", "unstorable"})
"""In ``parse_errors``: the row says only that there is a message."""


class OpenAttempt(NamedTuple):
    """A batch (one message if both UIDs are equal) that was begun ``attempts`` times and never finished."""

    first: int
    last: int
    attempts: int


class Isolation(NamedTuple):
    """How often a message was asked for alone, and how many of these tries the server failed."""

    tries: int
    failures: int


class Retry(NamedTuple):
    """A message that is due; ``is_needed`` is False if its row is gone or has content by now."""

    folder_id: int
    uidvalidity: int
    uid: int
    is_needed: bool


# -- batches: what to be careful with ---------------------------------------------------------------------


def note_attempt(conn: Connection, folder: FolderState, uids: UidSet) -> None:
    """Note that `uids` are about to be asked for, in one command."""
    run(conn, "note_attempt", **_key(folder), uid=uids.lowest, through_uid=uids.highest)


def explain_attempts(conn: Connection, folder: FolderState, error: str) -> None:
    """Note the error by which the open attempts failed."""
    run(conn, "explain_attempts", **_key(folder), error=error)


def open_attempts(conn: Connection, folder: FolderState) -> list[OpenAttempt]:
    """The attempts that earlier turns began and did not finish."""
    return [OpenAttempt(*row) for row in run(conn, "open_attempts", **_key(folder))]


def forget_attempts(conn: Connection, folder: FolderState, lowest: int, highest: int) -> None:
    """Drop the attempts that lie within `lowest` … `highest`, which have succeeded."""
    run(conn, "forget_attempts", **_key(folder), lowest=lowest, highest=highest)


def forget_batches(conn: Connection, folder: FolderState, uids: UidSet) -> None:
    """Drop the attempts at batches that hold any of `uids`; those at one message alone stay counted."""
    run(conn, "forget_batches", **_key(folder), uids=uids.to_multirange())


# -- single messages: what is to blame --------------------------------------------------------------------


def note_isolation(conn: Connection, folder: FolderState, uid: int) -> Isolation:
    """Note that the message is about to be asked for alone; the tries returned include this one."""
    row = run(conn, "note_isolation", **_key(folder), uid=uid).fetchone()
    return Isolation(*row) if row else Isolation(1, 0)


def take_back_isolation(conn: Connection, folder: FolderState, uid: int) -> None:
    """Do not count the last try: it ended for a reason that has nothing to do with the message."""
    run(conn, "take_back_isolation", **_key(folder), uid=uid)


def blame_message(conn: Connection, folder: FolderState, uid: int, error: str) -> int:
    """Count a failure of the server to give the message, asked for alone; returns how many there were."""
    row = run(conn, "blame_message", **_key(folder), uid=uid, error=error).fetchone()
    return int(row[0]) if row else 1


# -- rows without content: when they are asked for again --------------------------------------------------


def count_without_content(conn: Connection, account_id: int) -> int:
    """Count the live rows of the account without content, up to 1,000."""
    row = run(conn, "count_without_content", account_id=account_id).fetchone()
    return int(row[0]) if row else 0


def plan_retries(conn: Connection, folder: FolderState, uids: Iterable[int]) -> None:
    """Plan to ask again for `uids`, which were stored without content, at the next tick."""
    run(conn, "plan_retries", **_key(folder), uids=list(uids))


def replan_retries(conn: Connection, folder: FolderState) -> None:
    """Make the folder's plans agree with its rows: one for each row without content."""
    run(conn, "replan_retries", **_key(folder))


def due_retries(conn: Connection, account_id: int, limit: int) -> list[Retry]:
    """The messages of the account that are due, at most `limit`."""
    return [Retry(*row) for row in run(conn, "due_retries", account_id=account_id, limit=limit)]


def note_retry(conn: Connection, folder: FolderState, uid: int, interval: float) -> None:
    """Plan the next time before the message is asked for again; `interval` is a tick in seconds."""
    run(conn, "note_retry", **_key(folder), uid=uid, interval=interval)


def cancel_retry(conn: Connection, folder: FolderState, uid: int) -> None:
    """Drop the plan of a message that need not be asked for again."""
    run(conn, "cancel_retry", **_key(folder), uid=uid)


def retry_now(conn: Connection, account_id: int) -> None:
    """Make all plans of the account due now."""
    run(conn, "retry_now", account_id=account_id)


def announce_content(conn: Connection, folder: FolderState, uid: int) -> None:
    """If the row has its content now, emit ``message.updated`` and drop the plan."""
    run(conn, "announce_content", **_key(folder), uid=uid)


def _key(folder: FolderState) -> dict[str, int]:
    return {"account_id": folder.account_id, "folder_id": folder.id, "uidvalidity": folder.uidvalidity}
