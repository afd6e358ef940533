"""Rows of ``fetch_attempts``: unfinished fetches, failures of single messages, and planned retries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mailsync.model import FolderState
from mailsync.store import records
from mailsync.store.db import Connection
from mailsync.store.statements import run
from mailsync.uidset import UidSet

WITHOUT_CONTENT = frozenset({"unfetchable", "unstorable"})
"""The ``parse_errors`` of a row that only says that there is a message."""


class OpenAttempt(NamedTuple):
    """A batch that was begun `attempts` times and never finished; one message if both UIDs are equal."""

    first: int
    last: int
    attempts: int


class Isolation(NamedTuple):
    """How often a message was fetched alone, and how often the server failed to return it."""

    tries: int
    failures: int


class Retry(NamedTuple):
    """A message whose retry is due. It is not needed if its row is gone or has content by now."""

    folder_id: int
    uidvalidity: int
    uid: int
    is_needed: bool


# -- batches ---------------------------------------------------------------------------------------------


def note_attempt(conn: Connection, folder: FolderState, uids: UidSet) -> None:
    """Note that `uids` are about to be fetched with one command."""
    run(conn, "note_attempt", **_key(folder), uid=uids.lowest, through_uid=uids.highest)


def record_attempt_error(conn: Connection, folder: FolderState, error: str) -> None:
    """Note the error that the open attempts failed with."""
    run(conn, "explain_attempts", **_key(folder), error=error)


def open_attempts(conn: Connection, folder: FolderState) -> list[OpenAttempt]:
    """The attempts that earlier turns began and did not finish."""
    return records.all_rows(OpenAttempt, run(conn, "open_attempts", **_key(folder)))


def forget_attempts(conn: Connection, folder: FolderState, lowest: int, highest: int) -> None:
    """Delete the attempts from UID `lowest` to `highest`, which have succeeded."""
    run(conn, "forget_attempts", **_key(folder), lowest=lowest, highest=highest)


def forget_batches(conn: Connection, folder: FolderState, uids: UidSet) -> None:
    """Delete the attempts at batches that include any of `uids`, but not those at single messages."""
    run(conn, "forget_batches", **_key(folder), uids=uids.to_multirange())


# -- single messages -------------------------------------------------------------------------------------


def note_isolation(conn: Connection, folder: FolderState, uid: int) -> Isolation:
    """Note that the message is about to be fetched alone; the result includes this try."""
    counts = records.first_row(Isolation, run(conn, "note_isolation", **_key(folder), uid=uid))
    return counts or Isolation(1, 0)


def uncount_isolation(conn: Connection, folder: FolderState, uid: int) -> None:
    """Uncount the last try, which ended for a reason unrelated to the message."""
    run(conn, "take_back_isolation", **_key(folder), uid=uid)


def count_failure(conn: Connection, folder: FolderState, uid: int, error: str) -> int:
    """Count a failure to return the message when it was fetched alone; returns the number of failures."""
    row = run(conn, "blame_message", **_key(folder), uid=uid, error=error).fetchone()
    return int(row[0]) if row else 1


# -- retries of rows without content ---------------------------------------------------------------------


def count_without_content(conn: Connection, account_id: int) -> int:
    """The number of the account's live rows without content, at most 1,000."""
    row = run(conn, "count_without_content", account_id=account_id).fetchone()
    return int(row[0]) if row else 0


def silent_uids(conn: Connection, folder: FolderState) -> UidSet:
    """Return the UIDs of live rows of which the server gave nothing, at most 1,000."""
    row = run(conn, "silent_uids", **_key(folder)).fetchone()
    return UidSet.parse(row[0] or "") if row else UidSet()


def plan_retries(conn: Connection, folder: FolderState, uids: Iterable[int]) -> None:
    """Plan to fetch `uids`, which were stored without content, again at the next tick."""
    run(conn, "plan_retries", **_key(folder), uids=list(uids))


def replan_retries(conn: Connection, folder: FolderState) -> None:
    """Make the folder's planned retries match its rows: one for each row without content."""
    run(conn, "replan_retries", **_key(folder))


def due_retries(conn: Connection, account_id: int, limit: int) -> list[Retry]:
    """At most `limit` of the account's messages whose retry is due."""
    return records.all_rows(Retry, run(conn, "due_retries", account_id=account_id, limit=limit))


def note_retry(conn: Connection, folder: FolderState, uid: int, interval: float) -> None:
    """Plan the retry after this one, before the message is fetched; `interval` is a tick in seconds."""
    run(conn, "note_retry", **_key(folder), uid=uid, interval=interval)


def cancel_retry(conn: Connection, folder: FolderState, uid: int) -> None:
    """Delete the planned retry of a message that need not be fetched again."""
    run(conn, "cancel_retry", **_key(folder), uid=uid)


def retry_now(conn: Connection, account_id: int) -> None:
    """Make all planned retries of the account due now."""
    run(conn, "retry_now", account_id=account_id)


def _key(folder: FolderState) -> dict[str, int]:
    return {"account_id": folder.account_id, "folder_id": folder.id, "uidvalidity": folder.uidvalidity}
