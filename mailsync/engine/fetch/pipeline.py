"""FETCH commands and their answers, with one command ahead of the batch in hand."""

from __future__ import annotations

from mailsync.engine.fetch.batches import Request
from mailsync.engine.turn import Turn
from mailsync.errors import MailsyncError, Transient
from mailsync.imap import Batch
from mailsync.model import FolderState
from mailsync.store import attempts


class FetchPipeline:
    """Sends a request and receives its batch later; at most one request is ``in_flight``.

    It has to be closed. A batch that takes longer than ``BACKFILL_BATCH_TIMEOUT`` closes the session. After
    the turn has reconnected, requests go to its new session.
    """

    def __init__(self, turn: Turn, folder: FolderState) -> None:
        self._turn = turn
        self._folder = folder
        self.in_flight: Request | None = None
        self._session = turn.session
        self._fetcher = turn.session.fetcher()
        self._error: MailsyncError | None = None

    def close(self) -> None:
        """Leave no answer unread: drain what is in flight, or close the session."""
        self._fetcher.close()

    def send(self, request: Request | None) -> None:
        """Count the attempt and send the command; None sends nothing.

        An error in doing so is raised by :meth:`receive`, so that the batch in hand is written first. A
        message to isolate is not asked for here: it comes back unanswered.
        """
        self.in_flight = request
        if request is None or request.isolate:
            return
        turn = self._turn
        if self._session is not turn.session:
            self._session, self._fetcher = turn.session, turn.session.fetcher()
        try:
            with turn.session.deadline(turn.settings.backfill_batch_timeout):
                # checked first: a message that is not even asked for must not count an attempt
                turn.session.check_budget()
                attempts.note_attempt(turn.conn, self._folder, request.uids)
                self._fetcher.send(request.uids)
        except MailsyncError as error:
            self._error = error

    def receive(self) -> Batch:
        """Wait for the batch of the request in flight, and parse it.

        A connection that broke while the command was sent is the batch's ``failure``, as if it had broken
        while the answer was read.
        """
        request, self.in_flight = self.in_flight, None
        assert request is not None
        if (error := self._error) is not None:
            if isinstance(error, Transient) and self._session.closed:
                self._error = None
                return Batch(request.uids, unanswered=request.uids, failure=error)
            raise error
        if request.isolate:
            return Batch(request.uids, unanswered=request.uids)
        with self._turn.session.deadline(self._turn.settings.backfill_batch_timeout):
            return self._fetcher.receive()
