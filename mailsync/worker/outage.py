"""Database outages in the worker: how long to wait between attempts, and what to log.

An outage begins with the first database error. It ends when a pass over the accounts has succeeded, and each
account whose turn failed has had a successful turn. A connection alone proves little: full and read-only
databases accept connections, and each attempt to write costs a login to a mail server.
"""

from __future__ import annotations

import logging
import time

from mailsync.errors import MailsyncError
from mailsync.ops import systemd
from mailsync.redaction import redact

log = logging.getLogger(__name__)

_FIRST_DELAY = 1.0
_MAX_DELAY = 30.0
_FORGOTTEN_AFTER = 600.0
"""Seconds without an error after which failed turns that were never repeated no longer prolong an outage."""
_START_EXTENSION = 60


class Outage:
    """The state of an outage: whether it was reported, the next delay, and the turns that failed."""

    def __init__(self) -> None:
        self._delay = _FIRST_DELAY
        self._is_reported = False
        self._is_loss = False
        self.had_database = False
        """Whether a connection has passed the checks of the start."""
        self._failed_turns: set[tuple[int, object]] = set()
        self._failed_at = 0.0

    @property
    def is_first(self) -> bool:
        """Whether this is the first failure, before any connection has passed the checks of the start."""
        return not self.had_database and not self._is_reported

    def connected(self) -> None:
        """Note that a connection has passed the checks. It ends a wait at the start, but no later outage."""
        self._is_reported = self._is_reported and self.had_database
        self.had_database = True

    def turn_failed(self, account_id: int, kind: object) -> None:
        """Note that a database error ended this account's turn of this kind."""
        self._failed_turns.add((account_id, kind))

    def turn_went_well(self, account_id: int, kind: object) -> None:
        """Note that this account's turn of this kind has written everything."""
        self._failed_turns.discard((account_id, kind))

    def failed(self, error: MailsyncError) -> float:
        """Report the outage once; returns the seconds to wait before the next attempt."""
        delay, self._delay = self._delay, min(_MAX_DELAY, self._delay * 2)
        self._failed_at = time.monotonic()
        message = "Database lost; reconnecting" if self.had_database else "Database not reached; trying again"
        reason = redact(str(error))
        # one WARNING per outage: later attempts may fail in other ways but belong to the same outage
        level = logging.DEBUG if self._is_reported else logging.WARNING
        log.log(level, message, extra={"action": "reconnect", "error": reason, "retry_in_seconds": delay})
        self._is_reported, self._is_loss = True, self.had_database
        status = f"STATUS=Waiting for the database: {reason}"
        systemd.notify(status if self.had_database else f"{status}\n{_more_time()}")
        return delay

    def waiting(self) -> None:
        """Keep systemd from ending the worker while it waits; call it at least every second."""
        systemd.notify("WATCHDOG=1" if self.had_database else _more_time())

    def passed(self) -> None:
        """Note that a pass has ended without a database error.

        The outage continues while an account still waits to repeat a turn that failed.
        """
        # with a limit, because a paused account, or one whose server is away, cannot succeed
        if self._failed_turns and time.monotonic() - self._failed_at < _FORGOTTEN_AFTER:
            return
        self._failed_turns.clear()
        self._delay = _FIRST_DELAY
        if self._is_reported and self._is_loss:
            log.info("Database connected again", extra={"action": "reconnect"})
            systemd.notify("STATUS=Poll loop running")
        self._is_reported = False


def _more_time() -> str:
    return f"EXTEND_TIMEOUT_USEC={_START_EXTENSION * 1_000_000}"
