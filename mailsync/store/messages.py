"""Rows of ``messages``: store batches, apply flags, tombstone and compare, always for many rows at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from mailsync.errors import RowsRefused
from mailsync.model import FolderState, Message, MessageState
from mailsync.store import copy_format, records
from mailsync.store.db import Connection
from mailsync.store.statements import finish_pipeline, run, statements, translated
from mailsync.uidset import UidSet

CHUNK = 5000
"""The maximum number of rows that one transaction tombstones or deletes."""

# an error in a pipeline does not say which of its statements failed
_STORING = "upsert_messages or a statement sent with it"


def store_batch(conn: Connection, folder: FolderState, messages: Sequence[Message], *, announce: bool) -> int:
    """Store a batch as rows, inside the caller's transaction, and return how many are new.

    A message that has a tombstone gets its old row back, with its `id` and body (SPEC §11). `announce` writes
    one event for each message; a backfill writes one for each batch instead. Raises RowsRefused if Postgres
    rejects a value.
    """
    _copy(conn, "incoming", copy_format.message_block(_to_store(conn, folder, messages, announce)))
    return _number(_make_rows(conn, folder, announce))


class SentBatch:
    """A batch whose rows and cursor were sent to Postgres in one transaction that is not confirmed yet.

    The connection is in pipeline mode until :meth:`collect`, which the next statement on it calls first.
    """

    def __init__(
        self,
        conn: Connection,
        folder: FolderState,
        messages: Sequence[Message],
        advance: Callable[[], None],
        *,
        announce: bool,
    ) -> None:
        """Send the batch; `advance` moves the cursor. Raises RowsRefused if Postgres rejects it at once."""
        self._conn = conn
        self._pipeline = conn.pipeline()
        self._new = 0
        self._error: psycopg.Error | None = None
        finish_pipeline(conn)
        sending = False
        try:
            conn.execute("begin")
            _copy(
                conn,
                "incoming",
                copy_format.message_block(_to_store(conn, folder, messages, announce)),
            )
            self._pipeline.__enter__()
            sending = True
            self._created = _make_rows(conn, folder, announce)
            advance()
            conn.execute("commit")
        except BaseException as error:
            # end the transaction after any error, or later writes would never be committed
            if sending:
                # Postgres may reject the first statement while later ones are still being sent
                self._end_pipeline()
            self._roll_back()
            if isinstance(error, psycopg.Error):
                raise translated(error, _STORING) from None
            raise
        conn.sent_batch = self

    def collect(self) -> None:
        """Wait until the transaction has ended, and keep its result for :meth:`wait`."""
        self._conn.sent_batch = None
        try:
            self._pipeline.__exit__(None, None, None)
            self._new = _number(self._created)
        except psycopg.Error as error:
            self._roll_back()
            self._error = error

    def wait(self) -> int:
        """Wait for the commit and return how many rows are new. Raises RowsRefused if nothing was stored."""
        if self._conn.sent_batch is self:
            self.collect()
        if self._error is not None:
            raise translated(self._error, _STORING) from self._error
        return self._new

    def _end_pipeline(self) -> None:
        with suppress(psycopg.Error):
            self._pipeline.__exit__(None, None, None)

    def _roll_back(self) -> None:
        with suppress(psycopg.Error):
            self._conn.rollback()


def apply_flags(conn: Connection, folder: FolderState, states: Sequence[MessageState]) -> int:
    """Set the flags of live rows to those of `states`, inside a transaction; returns how many changed."""
    _copy(conn, "incoming_flags", copy_format.flags_block(states))
    return _number(run(conn, "apply_flags", **_key(folder)))


def live_uids(
    conn: Connection, folder: FolderState, lowest: int, highest: int, *, since: datetime | None = None
) -> UidSet:
    """The UIDs from `lowest` to `highest` with a live row whose ``internal_date`` is not before `since`."""
    if since is None:
        row = run(conn, "live_uids", **_key(folder), lowest=lowest, highest=highest).fetchone()
    else:
        row = run(
            conn, "live_uids_since", **_key(folder), lowest=lowest, highest=highest, since=since
        ).fetchone()
    return UidSet.parse(row[0] or "") if row else UidSet()


def neighbour_date(conn: Connection, folder: FolderState, uid: int) -> datetime | None:
    """The ``internal_date`` of the nearest message above `uid`, else below; None if none has content."""
    row = run(conn, "neighbour_date", **_key(folder), uid=uid).fetchone()
    return row[0] if row else None


class RowCounts(NamedTuple):
    """How many live rows a folder has: all, unread, outside its window, and with another UIDVALIDITY."""

    live: int
    unseen: int
    outside: int
    stray: int


def count_rows(conn: Connection, folder: FolderState, since: datetime | None) -> RowCounts:
    """Count the folder's live rows themselves, not by its stored counts; its window begins at `since`."""
    counts = records.first_row(RowCounts, run(conn, "count_rows", **_key(folder), since=since))
    return counts or RowCounts(0, 0, 0, 0)


def lowest_uid(conn: Connection, folder: FolderState) -> int:
    """The lowest UID of the folder's live rows; 1 if there is none."""
    return _number(run(conn, "lowest_uid", **_key(folder)), default=1)


def newest_uid(conn: Connection, folder: FolderState, count: int) -> int:
    """The lowest UID of the `count` newest live rows; 1 if there are no more than that."""
    return _number(run(conn, "newest_uid", **_key(folder), before=count - 1), default=1)


def tombstone(
    conn: Connection,
    folder: FolderState,
    uids: UidSet,
    reason: str,
    *,
    on_chunk: Callable[[], None] = lambda: None,
) -> int:
    """Tombstone the live rows of `uids`, in transactions of at most 5,000 rows; returns how many.

    `on_chunk` is called after each transaction.
    """
    total = 0
    while uids:
        chunk = uids.oldest(CHUNK)
        total += _number(
            run(conn, "tombstone_uids", **_key(folder), uids=chunk.to_multirange(), reason=reason)
        )
        uids = uids.minus(chunk)
        on_chunk()
    return total


def tombstone_chunk(conn: Connection, folder: FolderState, reason: str, *, keep: int | None = None) -> int:
    """Tombstone at most 5,000 live rows of the folder, except those with the UIDVALIDITY `keep`."""
    return _number(
        run(
            conn,
            "tombstone_folder_chunk",
            account_id=folder.account_id,
            folder_id=folder.id,
            reason=reason,
            keep_uidvalidity=keep,
            limit=CHUNK,
        )
    )


def select_states(
    conn: Connection, folder: FolderState, lowest: int, highest: int
) -> Iterator[tuple[MessageState, frozenset[str]]]:
    """The live rows from UID `lowest` to `highest` and their parse errors, in ascending order."""
    for uid, modseq, flags, date, size, errors in run(
        conn, "select_states", **_key(folder), lowest=lowest, highest=highest
    ):
        yield MessageState(uid, modseq, tuple(flags), date, size), frozenset(errors)


def _key(folder: FolderState) -> dict[str, int]:
    return {"account_id": folder.account_id, "folder_id": folder.id, "uidvalidity": folder.uidvalidity}


def _make_rows(conn: Connection, folder: FolderState, announce: bool) -> psycopg.Cursor[Any]:
    run(conn, "relink_incoming", **_key(folder))
    run(conn, "land_relinked", **_key(folder))
    return run(conn, "upsert_messages", **_key(folder), announce=announce)


def _to_store(
    conn: Connection, folder: FolderState, messages: Sequence[Message], announce: bool
) -> Sequence[Message]:
    """`messages` without placeholders for messages whose row may hold content from an earlier fetch.

    If that row is a tombstone, it is restored as it is.
    """
    placeholders = UidSet.of(m.uid for m in messages if "unfetchable" in m.parse_errors)
    if not placeholders:
        return messages
    known = placeholders.both(live_uids(conn, folder, placeholders.lowest, placeholders.highest))
    restored = run(
        conn,
        "revive_unfetchable",
        **_key(folder),
        uids=placeholders.minus(known).to_multirange(),
        announce=announce,
    )
    known = known.union(UidSet.of(row[0] for row in restored))
    return [m for m in messages if m.uid not in known]


def _copy(conn: Connection, table: str, block: str) -> None:
    run(conn, f"create_{table}")
    try:
        with conn.cursor() as cursor, cursor.copy(statements()[f"copy_{table}"]) as copy:
            copy.write(block)
    except psycopg.Error as error:
        raise translated(error, f"copy_{table}") from error
    except UnicodeEncodeError as error:
        raise RowsRefused(f"a text cannot be encoded as UTF-8: {error.reason}") from error


def _number(cursor: psycopg.Cursor[Any], default: int = 0) -> int:
    row = cursor.fetchone()
    return int(row[0]) if row else default
