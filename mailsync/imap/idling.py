"""IDLE on one connection (RFC 2177): whether it runs, whether the server refuses it, and its stray lines."""

from __future__ import annotations

from mailsync.imap.status_responses import StatusResponse


class Idling:
    """The state of IDLE, as :class:`mailsync.imap.connection.Connection` sends and reads it.

    ``is_running`` says that IDLE was sent and DONE was not, ``is_refused`` that an IDLE got NO or BAD.
    """

    def __init__(self) -> None:
        self.is_running = False
        self.is_refused = False
        self._dones = 0

    def end(self) -> bool:
        """Note that IDLE ends now; returns whether DONE has to be sent for that."""
        was_running, self.is_running = self.is_running, False
        self._dones += was_running
        return was_running

    def note_completion(self, completion: StatusResponse) -> None:
        """Note the completion of an IDLE, which a server may send without DONE."""
        self.is_running = False
        self.is_refused = self.is_refused or completion.status != "OK"

    def may_ignore(self, line: bytes, *, in_flight: bool) -> bool:
        """Whether a line that is neither data nor a completion is ``+ idling`` or the refusal of a DONE.

        A server refuses a DONE that crosses the completion of IDLE. `in_flight` says that an IDLE has yet to
        be completed.
        """
        if line.startswith(b"+"):
            return in_flight
        if line[:5].upper() == b"DONE " and self._dones:
            self._dones -= 1
            return True
        return False
