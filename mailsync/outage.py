"""An outage of the database as the worker lives through it: how long it waits, and what it says of it.

An outage begins with the first error of the database and ends when a pass over the accounts has come to its
end, those that it failed among them. Connecting proves little: a full or a read-only database takes
connections, and each try to write costs a login at a mail server.
"""

from __future__ import annotations

import logging
import time

from mailsync import systemd
from mailsync.errors import MailsyncError
from mailsync.logs import redact

log = logging.getLogger(__name__)

_FIRST = 1.0
_AT_MOST = 30.0
_FORGOTTEN_AFTER = 600.0
_START_EXTENDED_BY = 60


class Outage:
    """Whether there is one, the delay before the next try, and the accounts whose turns it ended."""

    def __init__(self) -> None:
        self._delay = _FIRST
        self._is_told = False
        self._is_lost = False
        self._had_database = False
        self._failed_turns: set[tuple[int, object]] = set()
        self._failed_at = 0.0

    @property
    def is_first(self) -> bool:
        """Whether there was no connection that worked yet, and nothing was said of that."""
        return not self._had_database and not self._is_told

    def connected(self) -> None:
        """The checks of the start have passed; an outage that came later is not over by that."""
        self._is_told = self._is_told and self._had_database
        self._had_database = True

    def turn_failed(self, account_id: int, kind: object) -> None:
        """The database has ended this account's turn of this kind."""
        self._failed_turns.add((account_id, kind))

    def turn_went_well(self, account_id: int, kind: object) -> None:
        """Everything that this account's turn of this kind had to write was written."""
        self._failed_turns.discard((account_id, kind))

    def failed(self, error: MailsyncError) -> float:
        """Say it, once; returns how many seconds to wait before the next try."""
        delay, self._delay = self._delay, min(_AT_MOST, self._delay * 2)
        self._failed_at = time.monotonic()
        what = "Database lost; reconnecting" if self._had_database else "Database not reached; trying again"
        why = redact(str(error))
        # once for each outage, whatever the tries after the first one come to
        level = logging.DEBUG if self._is_told else logging.WARNING
        log.log(level, what, extra={"action": "reconnect", "error": why, "retry_in_seconds": delay})
        self._is_told, self._is_lost = True, self._had_database
        status = f"STATUS=Waiting for the database: {why}"
        systemd.notify(status if self._had_database else f"{status}\n{_patience()}")
        return delay

    def waiting(self) -> None:
        """Called at least every second while waiting: systemd's patience with a start is made to last."""
        systemd.notify("WATCHDOG=1" if self._had_database else _patience())

    def passed(self) -> None:
        """A pass has come to its end without an error of the database.

        It proves nothing while an account waits for the turn that the database has ended.
        """
        # an account that was paused, or whose server is away, gets no turn that could go well
        if self._failed_turns and time.monotonic() - self._failed_at < _FORGOTTEN_AFTER:
            return
        self._failed_turns.clear()
        self._delay = _FIRST
        if self._is_told and self._is_lost:
            log.info("Database connected again", extra={"action": "reconnect"})
            systemd.notify("STATUS=Poll loop running")
        self._is_told = False


def _patience() -> str:
    return f"EXTEND_TIMEOUT_USEC={_START_EXTENDED_BY * 1_000_000}"
