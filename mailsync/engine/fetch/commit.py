"""Rows and cursor of one batch after another, each batch in one transaction (SPEC §0.3).

Postgres works on a batch while the next one is read and parsed: a commit is sent, and its result is collected
when the connection is needed again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType

from mailsync.engine.fetch import single_messages
from mailsync.engine.turn import Turn
from mailsync.errors import MailsyncError, RowsRefused
from mailsync.model import FolderState, Message
from mailsync.store import attempts
from mailsync.store import messages as store
from mailsync.store.attempts import WITHOUT_CONTENT
from mailsync.store.db import transaction
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)


class Committer:
    """Stores the batches of one folder; as a context manager it leaves nothing in flight behind.

    `announce` tells of each message by an event of its own. A value that Postgres refuses costs only its own
    message's content, never the batch.
    """

    def __init__(self, turn: Turn, folder: FolderState, *, announce: bool) -> None:
        self._turn = turn
        self._folder = folder
        self._announce = announce

    def __enter__(self) -> Committer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._turn.settle()
        except MailsyncError:
            # what is under way already says more of what went wrong
            if error is None:
                raise

    def commit(self, asked: UidSet, messages: list[Message], advance: Callable[[], None]) -> None:
        """Send rows and cursor; `advance` moves the cursor, in the same transaction."""
        turn, conn = self._turn, self._turn.conn
        turn.tally.fetched += len(messages)

        def move(stored: Sequence[Message]) -> None:
            attempts.forget_attempts(conn, self._folder, asked.lowest, asked.highest)
            if unread := [m.uid for m in stored if not WITHOUT_CONTENT.isdisjoint(m.parse_errors)]:
                turn.tally.without_content += len(unread)
                attempts.plan_retries(conn, self._folder, unread)
            turn.stores()
            advance()

        try:
            sent = store.SentBatch(
                conn, self._folder, messages, partial(move, messages), announce=self._announce
            )
        except RowsRefused as error:
            self._one_by_one(messages, move, error)
            return

        def settle() -> None:
            try:
                turn.tally.messages_new += sent.wait()
            except RowsRefused as error:
                self._one_by_one(messages, move, error)

        turn.in_flight = settle

    def _one_by_one(
        self, messages: list[Message], move: Callable[[Sequence[Message]], None], error: RowsRefused
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
        # the cursor comes last: should this end in the middle, the rows are simply upserted again
        bare = [single_messages.without_content(message) for message in self._refused(messages)]
        with transaction(self._turn.conn):
            self._store(bare)
            move([*messages, *bare])

    def _refused(self, messages: list[Message]) -> list[Message]:
        """Store what can be stored, by halves; returns the messages that Postgres does not take."""
        try:
            with transaction(self._turn.conn):
                self._store(messages)
            return []
        except RowsRefused:
            if len(messages) == 1:
                return messages
        half = len(messages) // 2
        return self._refused(messages[:half]) + self._refused(messages[half:])

    def _store(self, messages: list[Message]) -> None:
        if messages:
            self._turn.tally.messages_new += store.store_batch(
                self._turn.conn, self._folder, messages, announce=self._announce
            )
