"""One turn in the worker: what its errors mean for the poll loop, and which of them are logged."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

from mailsync.engine.runner import take_turn
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
from mailsync.errors import (
    Busy,
    DatabaseSlow,
    DatabaseUnavailable,
    LeftAlone,
    LockHeld,
    LockLost,
    MailsyncError,
    NotFound,
    OutOfTokens,
    TurnOver,
)
from mailsync.redaction import redact
from mailsync.store import turns
from mailsync.worker.outage import Outage

log = logging.getLogger(__name__)

BUSY_DELAY = 5.0
"""Seconds until an account whose lock is held elsewhere is due again."""


class TurnTaker:
    """Takes turns one after another; notes outages of the database, and logs each account's errors once."""

    def __init__(self, outage: Outage, on_lost: Callable[[int], None] = lambda account_id: None) -> None:
        """`on_lost` is called with each account whose turn the database ended; its session is closed."""
        self._outage = outage
        self._on_lost = on_lost
        self._logged_errors: dict[int, str] = {}

    def take(self, env: TurnEnvironment, account_id: int, kind: TurnKind) -> MailsyncError | None:
        """Take one turn; returns the error that ended it, if any. Raises only if the database is lost."""
        try:
            take_turn(env, account_id, kind)
        except DatabaseSlow as error:
            # counts against the account like an error of its server; the connection still works
            self._log_failure(account_id, error)
            return error
        except (DatabaseUnavailable, LockLost):
            self._outage.turn_failed(account_id, kind.name)
            # the session has seen changes that were not stored
            env.sessions.drop(account_id)
            self._on_lost(account_id)
            raise
        except MailsyncError as error:
            is_done = isinstance(error, TurnOver | NotFound | LeftAlone)
            if is_done and not isinstance(error, OutOfTokens):
                self._outage.turn_went_well(account_id, kind.name)
            if isinstance(error, Busy) and kind.reschedules:
                turns.postpone(env.conn, account_id, BUSY_DELAY)
            if isinstance(error, LockHeld) or not isinstance(error, Busy | TurnOver | NotFound):
                self._log_failure(account_id, error)
            # release the turn's data, which may be large, before other accounts get their turns
            traceback.clear_frames(error.__traceback__)
            return error
        self._outage.turn_went_well(account_id, kind.name)
        self._logged_errors.pop(account_id, None)
        return None

    def _log_failure(self, account_id: int, error: MailsyncError) -> None:
        """Log the error of a turn, unless it is the last one that was logged for the account."""
        text = redact(str(error))
        if self._logged_errors.get(account_id) != text:
            self._logged_errors[account_id] = text
            extra = {"action": "turn", "account_id": account_id, "error_code": error.code, "error": text}
            log.warning("Turn failed", extra=extra)
