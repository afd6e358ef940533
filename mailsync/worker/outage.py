"""An outage of the database, as the worker sees it: how long to wait between tries, and what to log.

An outage begins with the first error of the database. It ends when a pass over the accounts has succeeded
and every account whose turn failed has had a turn that succeeded. A connection proves little: a full or a
read-only database accepts connections, and each try to write costs a login at a mail server.
"""

from __future__ import annotations

import logging
import time

from mailsync.errors import MailsyncError
from mailsync.ops import systemd
from mailsync.redaction import redact

log = logging.getLogger(__name__)

_FIRST = 1.0
_AT_MOST = 30.0
_FORGOTTEN_AFTER = 600.0
"""Seconds without an error, after which turns that were never repeated no longer prolong an outage."""
_START_EXTENDED_BY = 60


class Outage:
    """Whether an outage was reported, the delay before the next try, and the turns that it ended."""

    def __init__(self) -> None:
        self._delay = _FIRST
        self._is_reported = False
        self._is_loss = False
        self._had_database = False
        self._failed_turns: set[tuple[int, object]] = set()
        self._failed_at = 0.0

    @property
    def is_first(self) -> bool:
        """Whether no connection has passed the checks of the start yet, and no failure was reported."""
        return not self._had_database and not self._is_reported

    def connected(self) -> None:
        """Note that a connection has passed the checks; that ends a wait at the start, not a later outage."""
        self._is_reported = self._is_reported and self._had_database
        self._had_database = True

    def turn_failed(self, account_id: int, kind: object) -> None:
        """Note that the database has ended this account's turn of this kind."""
        self._failed_turns.add((account_id, kind))

    def turn_went_well(self, account_id: int, kind: object) -> None:
        """Note that this account's turn of this kind has written everything it had to write."""
        self._failed_turns.discard((account_id, kind))

    def failed(self, error: MailsyncError) -> float:
        """Report the outage, once; returns how many seconds to wait before the next try."""
        delay, self._delay = self._delay, min(_AT_MOST, self._delay * 2)
        self._failed_at = time.monotonic()
        what = "Database lost; reconnecting" if self._had_database else "Database not reached; trying again"
        why = redact(str(error))
        # one WARNING for each outage: later tries may fail in other ways and are still the same outage
        level = logging.DEBUG if self._is_reported else logging.WARNING
        log.log(level, what, extra={"action": "reconnect", "error": why, "retry_in_seconds": delay})
        self._is_reported, self._is_loss = True, self._had_database
        status = f"STATUS=Waiting for the database: {why}"
        systemd.notify(status if self._had_database else f"{status}\n{_more_time()}")
        return delay

    def waiting(self) -> None:
        """Keep systemd from ending the worker while it waits; call it at least every second."""
        systemd.notify("WATCHDOG=1" if self._had_database else _more_time())

    def passed(self) -> None:
        """Note that a pass has ended without an error of the database.

        It does not end the outage while an account still waits for the turn that the database has ended.
        """
        # not for ever: an account that was paused, or whose server is away, gets no turn that could succeed
        if self._failed_turns and time.monotonic() - self._failed_at < _FORGOTTEN_AFTER:
            return
        self._failed_turns.clear()
        self._delay = _FIRST
        if self._is_reported and self._is_loss:
            log.info("Database connected again", extra={"action": "reconnect"})
            systemd.notify("STATUS=Poll loop running")
        self._is_reported = False


def _more_time() -> str:
    return f"EXTEND_TIMEOUT_USEC={_START_EXTENDED_BY * 1_000_000}"
