"""Rows of ``folders``: what LIST showed, and how far the mirror has come."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from operator import itemgetter
from typing import Any

from mailsync.model import FolderState, FolderTraits, ListedFolder, MailboxStatus, MessageState
from mailsync.store.db import Connection
from mailsync.store.statements import run

_COLUMNS = ["folder_id" if f.name == "id" else f.name for f in fields(FolderState)]
_RESETS = _COLUMNS.index("uidvalidity_resets")


def reader(names: Sequence[str]) -> Callable[[Sequence[Any]], FolderState]:
    """What makes records of rows whose columns have these names; a folder's id is ``folder_id``."""
    pick = itemgetter(*map(names.index, _COLUMNS))

    def read(row: Sequence[Any]) -> FolderState:
        values = list(pick(row))
        values[_RESETS] = tuple(values[_RESETS])
        return FolderState(*values)

    return read


def load(conn: Connection, account_id: int, folder_id: int | None = None) -> list[FolderState]:
    """The account's folders, or one of them, by priority."""
    return _select(conn, account_id, folder_id=folder_id)


def page(conn: Connection, account_id: int, after: tuple[int, int] | None, limit: int) -> list[FolderState]:
    """At most `limit` folders by priority, behind the one with this ``sync_priority`` and id."""
    return _select(conn, account_id, after=after, limit=limit)


def upsert(
    conn: Connection,
    account_id: int,
    listed: Sequence[tuple[ListedFolder, FolderTraits]],
    *,
    mailbox_ids: Mapping[bytes, str] | None = None,
    untouched: Collection[bytes] = (),
) -> None:
    """Store what LIST showed, inside a transaction; folders that are not in it begin their grace.

    `mailbox_ids` are those that are known (RFC 8474), by wire name. `untouched` are further names that are
    listed: nothing is stored of them, and no grace begins.
    """
    ids = mailbox_ids or {}
    rows = [
        {
            "wire_name": folder.wire_name.hex(),
            "path": folder.path,
            "delimiter": folder.delimiter,
            "role": traits.role,
            "sync_priority": traits.sync_priority,
            "excluded_reason": traits.excluded_reason,
            "mailbox_id": ids.get(folder.wire_name),
        }
        for folder, traits in listed
    ]
    run(conn, "upsert_folders", account_id=account_id, listed=json.dumps(rows))
    names = json.dumps([row["wire_name"] for row in rows] + [name.hex() for name in untouched])
    run(conn, "mark_unlisted_folders", account_id=account_id, listed=names)


def rename(
    conn: Connection,
    account_id: int,
    renamed: Sequence[tuple[int, bytes, str]],
    displaced: Collection[int] = (),
) -> None:
    """Give folders, by id, other wire names and paths, inside a transaction; names may change hands.

    `displaced` are those that lose their name to another and get none: their mailbox is gone.
    """
    rows = [{"id": folder_id, "wire_name": name.hex(), "path": path} for folder_id, name, path in renamed]
    # two steps: no moment may see one name twice
    run(conn, "release_names", account_id=account_id, ids=[row[0] for row in renamed] + list(displaced))
    run(conn, "rename_folders", account_id=account_id, renamed=json.dumps(rows))


def restart_grace(conn: Connection, folder: FolderState) -> None:
    """The folder is not listed, but was there when asked for by name: its grace begins anew."""
    run(conn, "restart_grace", **_key(folder))


def newest(
    conn: Connection, account_id: int, ids: Collection[int], count: int
) -> dict[int, list[MessageState]]:
    """The newest `count` live rows of each of these folders, without their flags; stubs are left out."""
    found: dict[int, list[MessageState]] = {}
    for folder_id, uid, date, size in run(
        conn, "newest_states", account_id=account_id, ids=list(ids), count=count
    ):
        found.setdefault(folder_id, []).append(MessageState(uid, None, None, date, size))
    return found


def note_polled(conn: Connection, account_id: int, ids: Collection[int], at: datetime) -> None:
    """These folders were asked for their status, one by one, and worked off, in a turn that began at `at`."""
    run(conn, "note_polled", account_id=account_id, ids=list(ids), at=at)


def choose(
    conn: Connection, account_id: int, folder: int | str, *, tracked: bool
) -> tuple[int, str | None] | None:
    """Record the user's choice for the folder of that id or path; its id and role, None without one."""
    folder_id, path = (folder, None) if isinstance(folder, int) else (None, folder)
    row = run(
        conn, "choose_folder", account_id=account_id, folder_id=folder_id, path=path, tracked=tracked
    ).fetchone()
    return (row[0], row[1]) if row else None


def note_sizes(conn: Connection, account_id: int, sizes: Mapping[int, int]) -> None:
    """How many messages the server has in folders, by id, whose first sync has not begun."""
    rows = [{"id": folder_id, "messages": messages} for folder_id, messages in sizes.items()]
    run(conn, "note_sizes", account_id=account_id, sizes=json.dumps(rows))


def begin_initial(
    conn: Connection, folder: FolderState, status: MailboxStatus, target: int, remaining: int = 0
) -> None:
    """The snapshot of so many messages is taken at `target`, with the HIGHESTMODSEQ of the same EXAMINE."""
    run(
        conn,
        "begin_initial",
        **_key(folder),
        uidvalidity=status.uidvalidity or 0,
        target=target,
        remaining=remaining,
        modseq=status.modseq or 0,
        messages=status.messages,
        uidnext=status.uidnext,
        mailbox_id=status.mailbox_id,
    )


def rearm(conn: Connection, account_id: int, folder_id: int | None = None) -> None:
    """Let the backfill pass fetch what is missing in one folder, or in all of the account's."""
    run(conn, "rearm_folders", account_id=account_id, folder_id=folder_id)


def advance_initial(conn: Connection, folder: FolderState, oldest: int, done: int) -> None:
    """All that the snapshot holds from UID `oldest` upwards has a row, `done` of them with this batch."""
    run(conn, "advance_initial", **_key(folder), oldest=oldest, done=done)


def note_remaining(conn: Connection, folder: FolderState, remaining: int) -> None:
    """So many messages are still to be fetched in a backfill."""
    run(conn, "note_remaining", **_key(folder), remaining=remaining)


def finish_initial(conn: Connection, folder: FolderState) -> None:
    """The folder is complete; a first reconcile is due."""
    run(conn, "finish_initial", **_key(folder))


def advance_new(conn: Connection, folder: FolderState, last_uid: int) -> None:
    """New mail up to `last_uid` has rows."""
    run(conn, "advance_new", **_key(folder), last_uid=last_uid)


def save_compared(
    conn: Connection,
    folder: FolderState,
    status: MailboxStatus,
    *,
    highest_modseq: int | None,
    next_flag_scan_at: datetime | None,
) -> None:
    """The server's tuple as compared; `status` was seen before the work. None keeps what is stored."""
    run(
        conn,
        "save_compared",
        **_key(folder),
        uidnext=status.uidnext,
        messages=status.messages,
        unseen=status.unseen,
        modseq=status.modseq,
        mailbox_id=status.mailbox_id,
        highest_modseq=highest_modseq,
        next_flag_scan_at=next_flag_scan_at,
    )


def save_reconciled(
    conn: Connection,
    folder: FolderState,
    *,
    next_at: datetime,
    clean: bool,
    suspect: str | None,
    missing: int,
    gone: int,
) -> None:
    """A reconcile is done that found so many messages `missing` here and rows `gone` there.

    `suspect` is the digest of a deletion too large to be believed at once.
    """
    run(
        conn,
        "save_reconciled",
        **_key(folder),
        next_reconcile_at=next_at,
        clean=clean,
        suspect=suspect,
        missing=missing,
        gone=gone,
    )


def suspect_deletion(conn: Connection, folder: FolderState, digest: str) -> None:
    """A deletion was seen that is too large to be believed at once; a reconcile is due."""
    run(conn, "suspect_deletion", **_key(folder), suspect=digest)


def recount(conn: Connection, folder: FolderState) -> bool:
    """Make ``live_count`` and ``live_unseen`` what the rows say; returns whether they were wrong."""
    return bool(run(conn, "recount_folder", **_key(folder)).rowcount)


def note_error(conn: Connection, folder: FolderState, error: str, retry_at: datetime) -> None:
    """What went wrong with the folder, for people, and when it is tried again."""
    run(conn, "note_folder_error", **_key(folder), error=error, retry_at=retry_at)


def forget_retries(conn: Connection, account_id: int) -> None:
    """Folders that failed are tried again with the next turn."""
    run(conn, "forget_retries", account_id=account_id)


def restart(conn: Connection, folder: FolderState, uidvalidity: int) -> None:
    """A new UIDVALIDITY and cleared cursors (RFC 9051 §2.3.1.1); the old rows are tombstoned afterwards."""
    run(conn, "restart_folder", **_key(folder), uidvalidity=uidvalidity)


def adopt_uidvalidity(conn: Connection, folder: FolderState, uidvalidity: int) -> None:
    """The UIDVALIDITY that was unknown is known now."""
    run(conn, "adopt_uidvalidity", **_key(folder), uidvalidity=uidvalidity)


def clear_cursors(conn: Connection, folder: FolderState, status: str | None = None) -> None:
    """Forget how far the folder was mirrored; `status` is what it becomes, pending by default."""
    run(conn, "clear_folder_cursors", **_key(folder), status=status)


def _select(
    conn: Connection,
    account_id: int,
    *,
    folder_id: int | None = None,
    after: tuple[int, int] | None = None,
    limit: int | None = None,
) -> list[FolderState]:
    priority, last = after or (None, None)
    cursor = run(
        conn,
        "select_folders",
        account_id=account_id,
        folder_id=folder_id,
        after_priority=priority,
        after_id=last,
        limit=limit,
    )
    return [*map(reader([column.name for column in cursor.description or ()]), cursor)]


def _key(folder: FolderState) -> dict[str, int]:
    return {"account_id": folder.account_id, "folder_id": folder.id}
