"""Rows of ``messages``: batches in, flags, tombstones, comparisons; all set-wise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from mailsync.errors import RowsRefused
from mailsync.model import FolderState, Message, MessageState
from mailsync.store import copy_format
from mailsync.store.db import Connection
from mailsync.store.statements import run, statements, translated
from mailsync.uidset import UidSet

CHUNK = 5000

# one pipeline: an error does not tell which of its statements failed
_STORING = "upsert_messages, or what is sent with it,"


def store_batch(conn: Connection, folder: FolderState, messages: Sequence[Message], *, announce: bool) -> int:
    """Make rows of a batch, inside the caller's transaction; returns how many are new.

    Messages whose tombstones tell that they were here before take their old rows back, `id` and body too
    (SPEC §11). `announce` writes one event a message (new mail); a backfill writes one a batch instead.
    Raises RowsRefused when Postgres does not take a value.
    """
    _copy(conn, "incoming", copy_format.message_block(_telling(conn, folder, messages, announce)))
    found = _make_rows(conn, folder, announce).fetchone()
    return int(found[0]) if found else 0


class SentBatch:
    """A batch whose rows and cursor are on their way to Postgres, in one transaction not yet confirmed.

    The connection is in pipeline mode meanwhile; :meth:`wait` has to be called before it is used again.
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
        """Send all of it; `advance` moves the cursor. Raises RowsRefused when a refusal is known by then."""
        self._conn = conn
        self._pipeline = conn.pipeline()
        sending = False
        try:
            conn.execute("begin")
            _copy(conn, "incoming", copy_format.message_block(_telling(conn, folder, messages, announce)))
            self._pipeline.__enter__()
            sending = True
            self._found = _make_rows(conn, folder, announce)
            advance()
            conn.execute("commit")
        except BaseException as error:
            # whatever it was, nothing stays open: what is written next would never be committed
            if sending:
                # Postgres may refuse the first statement while the next ones are still being sent
                self._end_pipeline()
            self._roll_back()
            if isinstance(error, psycopg.Error):
                raise translated(error, _STORING) from None
            raise

    def wait(self) -> int:
        """Wait for the commit; returns how many rows are new. Raises RowsRefused if nothing is stored."""
        try:
            self._pipeline.__exit__(None, None, None)
            found = self._found.fetchone()
        except psycopg.Error as error:
            self._roll_back()
            raise translated(error, _STORING) from error
        return int(found[0]) if found else 0

    def _end_pipeline(self) -> None:
        with suppress(psycopg.Error):
            self._pipeline.__exit__(None, None, None)

    def _roll_back(self) -> None:
        with suppress(psycopg.Error):
            self._conn.rollback()


def apply_flags(conn: Connection, folder: FolderState, states: Sequence[MessageState]) -> int:
    """Bring the flags of live rows up to `states`, inside a transaction; returns how many rows changed."""
    _copy(conn, "incoming_flags", copy_format.flags_block(states))
    found = run(conn, "apply_flags", **_key(folder)).fetchone()
    return int(found[0]) if found else 0


def live_uids(
    conn: Connection, folder: FolderState, lowest: int, highest: int, *, since: datetime | None = None
) -> UidSet:
    """The UIDs from `lowest` to `highest` that have a live row, of an ``internal_date`` from `since` on."""
    if since is None:
        found = run(conn, "live_uids", **_key(folder), lowest=lowest, highest=highest).fetchone()
    else:
        found = run(
            conn, "live_uids_since", **_key(folder), lowest=lowest, highest=highest, since=since
        ).fetchone()
    return UidSet.parse(found[0] or "") if found else UidSet()


class RowCounts(NamedTuple):
    """The live rows of a folder: all, unread ones, those outside of its window or of another UIDVALIDITY."""

    live: int
    unseen: int
    outside: int
    stray: int


def count_rows(conn: Connection, folder: FolderState, since: datetime | None) -> RowCounts:
    """Count the folder's live rows, whatever its kept counts say; `since` is where its window begins."""
    found = run(conn, "count_rows", **_key(folder), since=since).fetchone()
    return RowCounts(*found) if found else RowCounts(0, 0, 0, 0)


def lowest_uid(conn: Connection, folder: FolderState) -> int:
    """The lowest UID of the folder's live rows; 1 without any."""
    found = run(conn, "lowest_uid", **_key(folder)).fetchone()
    return int(found[0]) if found else 1


def newest_uid(conn: Connection, folder: FolderState, count: int) -> int:
    """The lowest UID of the `count` newest live rows; 1 where there are no more than that."""
    found = run(conn, "newest_uid", **_key(folder), before=count - 1).fetchone()
    return int(found[0]) if found else 1


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
        found = run(
            conn,
            "tombstone_uids",
            **_key(folder),
            uids=chunk.to_multirange(),
            reason=reason,
        ).fetchone()
        total += int(found[0]) if found else 0
        uids = uids.minus(chunk)
        on_chunk()
    return total


def tombstone_chunk(conn: Connection, folder: FolderState, reason: str, *, keep: int | None = None) -> int:
    """Tombstone at most 5,000 live rows of the folder, except those of the UIDVALIDITY `keep`."""
    found = run(
        conn,
        "tombstone_folder_chunk",
        account_id=folder.account_id,
        folder_id=folder.id,
        reason=reason,
        keep_uidvalidity=keep,
    ).fetchone()
    return int(found[0]) if found else 0


def select_states(
    conn: Connection, folder: FolderState, lowest: int, highest: int
) -> Iterator[tuple[MessageState, frozenset[str]]]:
    """The live rows from UID `lowest` to `highest` with their parse errors, ascending."""
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


def _telling(
    conn: Connection, folder: FolderState, messages: Sequence[Message], announce: bool
) -> Sequence[Message]:
    """`messages` without the stubs of those whose row may say more: one failure destroys nothing.

    A tombstone among those rows lives again, as it is.
    """
    stubs = UidSet.of(m.uid for m in messages if "unfetchable" in m.parse_errors)
    if not stubs:
        return messages
    known = stubs.both(live_uids(conn, folder, stubs.lowest, stubs.highest))
    revived = run(
        conn,
        "revive_unfetchable",
        **_key(folder),
        uids=stubs.minus(known).to_multirange(),
        announce=announce,
    )
    known = known.union(UidSet.of(row[0] for row in revived))
    return [m for m in messages if m.uid not in known]


def _copy(conn: Connection, table: str, block: str) -> None:
    run(conn, f"create_{table}")
    try:
        with conn.cursor() as cursor, cursor.copy(statements()[f"copy_{table}"]) as copy:
            copy.write(block)
    except psycopg.Error as error:
        raise translated(error, f"copy_{table}") from error
    except UnicodeEncodeError as error:
        raise RowsRefused(f"a text holds what UTF-8 cannot: {error.reason}") from error
