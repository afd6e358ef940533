"""FETCH commands and their answers, with one command ahead of the batch in hand."""

from __future__ import annotations

from collections.abc import Iterator

from mailsync.engine.fetch.batches import Request
from mailsync.engine.turn import Turn
from mailsync.imap import Batch
from mailsync.model import FolderState
from mailsync.store import attempts
from mailsync.uidset import UidSet


class FetchPipeline:
    """Sends a request and receives its batch later; at most one request is ``in_flight``.

    It has to be closed. A batch that takes longer than ``BACKFILL_BATCH_TIMEOUT`` closes the session.
    """

    def __init__(self, turn: Turn, folder: FolderState) -> None:
        self._turn = turn
        self._folder = folder
        self.in_flight: Request | None = None
        self._answers = turn.session.fetch_messages(self._sets())

    def close(self) -> None:
        """Leave no answer unread: drain what is in flight, or close the session."""
        self._answers.close()

    def send(self, request: Request | None) -> None:
        """Count the attempt and send the command; None sends nothing.

        What goes wrong in that is raised by :meth:`receive`, so that the batch in hand is written first. A
        message to isolate is not asked for here: it comes back unanswered.
        """
        self.in_flight = request
        if request and not request.isolate:
            with self._turn.session.deadline(self._turn.settings.backfill_batch_timeout):
                next(self._answers)

    def receive(self) -> Batch:
        """Wait for the batch of the request in flight, and parse it."""
        request, self.in_flight = self.in_flight, None
        assert request is not None
        if request.isolate:
            return Batch(request.uids, unanswered=request.uids)
        with self._turn.session.deadline(self._turn.settings.backfill_batch_timeout):
            return next(self._answers)

    def _sets(self) -> Iterator[UidSet]:
        # fetch_messages takes the next set, and sends its command, before it hands out a batch. An empty set
        # sends nothing: with it the batch comes out before the next request is known.
        while True:
            yield UidSet()
            assert self.in_flight is not None
            # a message that is not even asked for must not count an attempt
            self._turn.session.check_budget()
            attempts.note_attempt(self._turn.conn, self._folder, self.in_flight.uids)
            yield self.in_flight.uids
