"""Rows of ``fetch_attempts``: what is being fetched, what is to blame, what is asked for again and when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mailsync.model import FolderState
from mailsync.store.db import Connection
from mailsync.store.queries import run
from mailsync.uids import UidSet

WITHOUT_CONTENT = frozenset({"unfetchable", "unstorable"})
"""In ``parse_errors``: the row says only that there is a message."""


class OpenAttempt(NamedTuple):
    """A batch, or one message where both UIDs are the same, that ``attempts`` turns began and did not end."""

    first: int
    last: int
    attempts: int


class Isolation(NamedTuple):
    """How often a message was asked for alone, and how often of these the server failed to give it."""

    tries: int
    failures: int


class Retry(NamedTuple):
    """A message whose row has no content and is due; not ``is_needed`` if that is no longer so."""

    folder_id: int
    uidvalidity: int
    uid: int
    is_needed: bool


# -- batches: what to be careful with ---------------------------------------------------------------------


def note_attempt(conn: Connection, folder: FolderState, uids: UidSet) -> None:
    """Note that `uids` are about to be asked for, in one command."""
    run(conn, "note_attempt", **_key(folder), uid=uids.lowest, through_uid=uids.highest)


def explain_attempts(conn: Connection, folder: FolderState, error: str) -> None:
    """Note by what the open attempts failed."""
    run(conn, "explain_attempts", **_key(folder), error=error)


def open_attempts(conn: Connection, folder: FolderState) -> list[OpenAttempt]:
    """What earlier turns began and did not end."""
    return [OpenAttempt(*row) for row in run(conn, "open_attempts", **_key(folder))]


def forget_attempts(conn: Connection, folder: FolderState, lowest: int, highest: int) -> None:
    """The attempts that lie within `lowest` … `highest` have succeeded."""
    run(conn, "forget_attempts", **_key(folder), lowest=lowest, highest=highest)


def forget_batches(conn: Connection, folder: FolderState, uids: UidSet) -> None:
    """Drop the attempts at batches that hold any of `uids`; those at one message alone stay counted."""
    run(conn, "forget_batches", **_key(folder), uids=uids.to_multirange())


# -- single messages: what is to blame --------------------------------------------------------------------


def note_isolation(conn: Connection, folder: FolderState, uid: int) -> Isolation:
    """Note that the message is about to be asked for alone; this time is among the tries returned."""
    row = run(conn, "note_isolation", **_key(folder), uid=uid).fetchone()
    return Isolation(*row) if row else Isolation(1, 0)


def take_back_isolation(conn: Connection, folder: FolderState, uid: int) -> None:
    """That request ended for a reason that is not the message's."""
    run(conn, "take_back_isolation", **_key(folder), uid=uid)


def blame_message(conn: Connection, folder: FolderState, uid: int, error: str) -> int:
    """The server failed at the message, which was asked for alone; returns how often that was so."""
    row = run(conn, "blame_message", **_key(folder), uid=uid, error=error).fetchone()
    return int(row[0]) if row else 1


# -- rows without content: when they are asked for again --------------------------------------------------


def count_without_content(conn: Connection, account_id: int) -> int:
    """How many live rows of the account have no content; 1,000 stands for more, too."""
    row = run(conn, "count_without_content", account_id=account_id).fetchone()
    return int(row[0]) if row else 0


def plan_retries(conn: Connection, folder: FolderState, uids: Iterable[int]) -> None:
    """The rows of `uids` were stored without content: they are due at the next tick."""
    run(conn, "plan_retries", **_key(folder), uids=list(uids))


def replan_retries(conn: Connection, folder: FolderState) -> None:
    """Bring the folder's plans in line with its rows."""
    run(conn, "replan_retries", **_key(folder))


def due_retries(conn: Connection, account_id: int, limit: int) -> list[Retry]:
    """What is due in the account, at most `limit` of it."""
    return [Retry(*row) for row in run(conn, "due_retries", account_id=account_id, limit=limit)]


def note_retry(conn: Connection, folder: FolderState, uid: int, interval: float) -> None:
    """The message is about to be asked for again, and the next time is planned; `interval` is the tick."""
    run(conn, "note_retry", **_key(folder), uid=uid, interval=interval)


def cancel_retry(conn: Connection, folder: FolderState, uid: int) -> None:
    """There is nothing to ask for again."""
    run(conn, "cancel_retry", **_key(folder), uid=uid)


def retry_now(conn: Connection, account_id: int) -> None:
    """Everything that is planned in the account is due."""
    run(conn, "retry_now", account_id=account_id)


def announce_content(conn: Connection, folder: FolderState, uid: int) -> None:
    """Emit ``message.updated`` and end the plan, if the row has its content now."""
    run(conn, "announce_content", **_key(folder), uid=uid)


def _key(folder: FolderState) -> dict[str, int]:
    return {"account_id": folder.account_id, "folder_id": folder.id, "uidvalidity": folder.uidvalidity}
