"""Rows of ``folders``: what LIST showed, and how far the mirror has come."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg

from mailsync.model import FolderState, FolderTraits, ListedFolder, MailboxStatus, MessageState
from mailsync.store import records
from mailsync.store.db import Connection
from mailsync.store.statements import run


def reader(cursor: psycopg.Cursor[Any]) -> Callable[[Sequence[Any]], FolderState]:
    """The function that reads a folder from a row whose ``folder_id`` is the folder's id."""
    return records.reader(FolderState, cursor, id="folder_id")


def load(conn: Connection, account_id: int, folder_id: int | None = None) -> list[FolderState]:
    """The account's folders, or one of them, by priority."""
    return _select(conn, account_id, folder_id=folder_id)


def page(conn: Connection, account_id: int, after: tuple[int, int] | None, limit: int) -> list[FolderState]:
    """At most `limit` folders, by priority, that follow the one with this ``sync_priority`` and id."""
    return _select(conn, account_id, after=after, limit=limit)


def upsert(
    conn: Connection,
    account_id: int,
    listed: Sequence[tuple[ListedFolder, FolderTraits]],
    *,
    mailbox_ids: Mapping[bytes, str] | None = None,
    untouched: Collection[bytes] = (),
) -> None:
    """Store what LIST showed, inside a transaction. The grace period of folders that it left out begins.

    `mailbox_ids` are the known MAILBOXIDs (RFC 8474) by wire name. `untouched` are listed names that are not
    stored, and whose grace period does not begin.
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
    """Give folders, by id, other wire names and paths, inside a transaction; folders may swap names.

    `displaced` are folders that lose their name to another folder because their mailbox is gone.
    """
    rows = [{"id": folder_id, "wire_name": name.hex(), "path": path} for folder_id, name, path in renamed]
    # in two steps, since a name may never be used twice
    run(conn, "release_names", account_id=account_id, ids=[row[0] for row in renamed] + list(displaced))
    run(conn, "rename_folders", account_id=account_id, renamed=json.dumps(rows))


def restart_grace(conn: Connection, folder: FolderState) -> None:
    """Restart the grace period of a folder that LIST left out but that could be selected by name."""
    run(conn, "restart_grace", **_key(folder))


def newest(
    conn: Connection, account_id: int, ids: Collection[int], count: int
) -> dict[int, list[MessageState]]:
    """The newest `count` live rows of each of these folders, without flags. Skips rows without content."""
    states: dict[int, list[MessageState]] = {}
    rows = run(conn, "newest_states", account_id=account_id, ids=list(ids), count=count)
    for folder_id, uid, date, size in rows:
        states.setdefault(folder_id, []).append(MessageState(uid, None, None, date, size))
    return states


def note_polled(conn: Connection, account_id: int, ids: Collection[int], at: datetime) -> None:
    """Note that a turn which began at `at` compared these folders by single STATUS commands."""
    run(conn, "note_polled", account_id=account_id, ids=list(ids), at=at)


def choose(
    conn: Connection, account_id: int, folder: int | str, *, tracked: bool
) -> tuple[int, str | None] | None:
    """Store a person's choice for a folder, by id or path; returns its id and role, None if it is unknown."""
    folder_id, path = (folder, None) if isinstance(folder, int) else (None, folder)
    row = run(
        conn, "choose_folder", account_id=account_id, folder_id=folder_id, path=path, tracked=tracked
    ).fetchone()
    return (row[0], row[1]) if row else None


def note_sizes(conn: Connection, account_id: int, sizes: Mapping[int, int]) -> None:
    """Store how many messages folders have on the server, by id, unless their first sync has begun."""
    rows = [{"id": folder_id, "messages": messages} for folder_id, messages in sizes.items()]
    run(conn, "note_sizes", account_id=account_id, sizes=json.dumps(rows))


def begin_initial(
    conn: Connection, folder: FolderState, status: MailboxStatus, target: int, remaining: int = 0
) -> None:
    """Begin the first sync: `remaining` messages up to UID `target`, as of `status`, an EXAMINE's."""
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
    """Make the backfill pass fetch missing messages in one folder, or in all folders of the account."""
    run(conn, "rearm_folders", account_id=account_id, folder_id=folder_id)


def note_remaining(conn: Connection, folder: FolderState, remaining: int) -> None:
    """Note how many messages the backfill still has to fetch."""
    run(conn, "note_remaining", **_key(folder), remaining=remaining)


def finish_initial(conn: Connection, folder: FolderState) -> None:
    """Mark the folder as complete; its first flag scan and reconcile become due."""
    run(conn, "finish_initial", **_key(folder))


def save_compared(
    conn: Connection,
    folder: FolderState,
    status: MailboxStatus,
    *,
    highest_modseq: int | None,
    next_flag_scan_at: datetime | None,
) -> None:
    """Store the `status` that was compared, as seen before the work. None keeps the stored value."""
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
    """Note a finished reconcile: `missing` messages had no row, and `gone` rows had no message.

    `suspect` is the digest of a deletion that is too large to be believed at once.
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
    """Note the digest of a deletion that is too large to be believed at once; a reconcile becomes due."""
    run(conn, "suspect_deletion", **_key(folder), suspect=digest)


def recount(conn: Connection, folder: FolderState) -> bool:
    """Correct ``live_count`` and ``live_unseen`` by counting rows; returns whether they were wrong."""
    return bool(run(conn, "recount_folder", **_key(folder)).rowcount)


def note_error(conn: Connection, folder: FolderState, error: str, retry_at: datetime) -> None:
    """Store the folder's `error`, as people read it, and when the folder is tried again."""
    run(conn, "note_folder_error", **_key(folder), error=error, retry_at=retry_at)


def note_limitation(
    conn: Connection, folder: FolderState, limitation: str | None, message: str | None, view_limit: int | None
) -> None:
    """Store what keeps the folder from being mirrored as a whole, in words too; None if nothing does.

    `view_limit` is the number of newest messages to which the server limits its view; None for no such limit.
    """
    run(
        conn,
        "note_limitation",
        **_key(folder),
        limitation=limitation,
        message=message,
        view_limit=view_limit,
    )


def forget_retries(conn: Connection, account_id: int) -> None:
    """Make failed folders due for the next turn."""
    run(conn, "forget_retries", account_id=account_id)


def restart(conn: Connection, folder: FolderState, uidvalidity: int) -> None:
    """Store a new UIDVALIDITY and clear the cursors (RFC 9051 §2.3.1.1). Old rows are tombstoned later."""
    run(conn, "restart_folder", **_key(folder), uidvalidity=uidvalidity)


def adopt_uidvalidity(conn: Connection, folder: FolderState, uidvalidity: int) -> None:
    """Give the folder, whose UIDVALIDITY was unknown, and its rows this one."""
    run(conn, "adopt_uidvalidity", **_key(folder), uidvalidity=uidvalidity)


def clear_cursors(conn: Connection, folder: FolderState, status: str | None = None) -> None:
    """Clear the folder's cursors and make its status `status`, or pending."""
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
    return [*map(reader(cursor), cursor)]


def _key(folder: FolderState) -> dict[str, int]:
    return {"account_id": folder.account_id, "folder_id": folder.id}
