"""Batches become rows: each in one transaction, together with the cursor that passes over it (SPEC §0.3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Protocol

from mailsync.engine.fetch import single_messages
from mailsync.engine.turn import Turn
from mailsync.errors import MailsyncError, RowsRefused
from mailsync.imap import Batch
from mailsync.model import FolderState, Message
from mailsync.store import attempts
from mailsync.store import messages as store
from mailsync.store.attempts import WITHOUT_CONTENT
from mailsync.store.db import transaction
from mailsync.store.statements import run

log = logging.getLogger(__name__)


class Statement(NamedTuple):
    """A statement of ``sql/queries`` and its parameters; the folder's ids are added to them."""

    name: str
    params: dict[str, object]


class Cursor(Protocol):
    """Knows how a folder's cursor moves once a batch is stored."""

    def after(self, batch: Batch, stored: Sequence[Message]) -> Sequence[Statement]:
        """Return what to execute in the transaction that stores `stored`, the messages inside the window."""


class _Unconfirmed(NamedTuple):
    """A batch whose commit is in flight, with all that is needed to store it again in parts."""

    batch: Batch
    messages: Sequence[Message]
    cursor: Sequence[Statement]
    sent: store.SentBatch


class BatchWriter:
    """Stores the batches of one folder, and is one commit ahead of Postgres.

    As a context manager it leaves no commit in flight. `announce` emits one event a message. A value that
    Postgres refuses costs only its own message's content, never the batch.
    """

    def __init__(self, turn: Turn, folder: FolderState, *, announce: bool) -> None:
        self._turn = turn
        self._folder = folder
        self._announce = announce
        self._unconfirmed: _Unconfirmed | None = None

    def __enter__(self) -> BatchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.finish_commit()
        except MailsyncError:
            # the error that ends the loop explains more than the one of the commit that it interrupts
            if error is None:
                raise

    def write(self, batch: Batch, messages: Sequence[Message], cursor: Cursor | None) -> None:
        """Send the messages inside the window, and the cursor; leaves their commit in flight.

        The attempts at the UIDs that `batch` requested are forgotten. A batch that requested none is a part
        of one that is not complete yet, whose attempts have to stay.
        """
        self.finish_commit()
        self._turn.tally.fetched += len(messages)
        statements = cursor.after(batch, messages) if cursor else ()
        try:
            sent = store.SentBatch(
                self._turn.conn,
                self._folder,
                messages,
                lambda: self._move_cursor(batch, messages, statements),
                announce=self._announce,
            )
        except RowsRefused as error:
            self._write_in_parts(batch, messages, statements, error)
        else:
            self._unconfirmed = _Unconfirmed(batch, messages, statements, sent)

    def finish_commit(self) -> None:
        """Wait for the commit in flight; raises what prevented it."""
        if self._unconfirmed is None:
            return
        (batch, messages, cursor, sent), self._unconfirmed = self._unconfirmed, None
        try:
            self._turn.tally.messages_new += sent.wait()
        except RowsRefused as error:
            self._write_in_parts(batch, messages, cursor, error)

    def _move_cursor(self, batch: Batch, stored: Sequence[Message], cursor: Sequence[Statement]) -> None:
        turn, folder = self._turn, self._folder
        if batch.requested:
            attempts.forget_attempts(turn.conn, folder, batch.requested.lowest, batch.requested.highest)
        if unread := [m.uid for m in stored if not WITHOUT_CONTENT.isdisjoint(m.parse_errors)]:
            turn.tally.without_content += len(unread)
            attempts.plan_retries(turn.conn, folder, unread)
        turn.record_stored_rows()
        ids = {"account_id": folder.account_id, "folder_id": folder.id, "uidvalidity": folder.uidvalidity}
        for statement in cursor:
            run(turn.conn, statement.name, **ids | statement.params)

    def _write_in_parts(
        self, batch: Batch, messages: Sequence[Message], cursor: Sequence[Statement], error: RowsRefused
    ) -> None:
        log.warning(
            "Postgres refused a value; storing the messages apart",
            extra={
                "action": "commit",
                "account_id": self._folder.account_id,
                "folder_id": self._folder.id,
                "error": str(error),
            },
        )
        # The cursor moves last: after an interruption the rows are simply upserted again.
        bare = [single_messages.without_content(message) for message in self._refused(messages)]
        with transaction(self._turn.conn):
            self._store(bare)
            self._move_cursor(batch, [*messages, *bare], cursor)

    def _refused(self, messages: Sequence[Message]) -> list[Message]:
        """Store what can be stored, by halves; return the messages that Postgres refuses even alone."""
        try:
            with transaction(self._turn.conn):
                self._store(messages)
            return []
        except RowsRefused:
            if len(messages) == 1:
                return list(messages)
        half = len(messages) // 2
        return self._refused(messages[:half]) + self._refused(messages[half:])

    def _store(self, messages: Sequence[Message]) -> None:
        if messages:
            self._turn.tally.messages_new += store.store_batch(
                self._turn.conn, self._folder, messages, announce=self._announce
            )
