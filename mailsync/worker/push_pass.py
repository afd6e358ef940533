"""The turns that parked sessions ask for, and what their ends mean in Postgres (SPEC §22)."""

from __future__ import annotations

import time

from mailsync.config import Settings
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
from mailsync.engine.wake import renewal_turn, wake_turn
from mailsync.errors import LeftAlone, NotFound, OutOfTokens, TurnOver
from mailsync.store import turns
from mailsync.worker.listening import Listening
from mailsync.worker.turn_taker import TurnTaker

_LONGEST_WITHOUT_TICK = 5.0
_LONGEST_RENEWING = 1.0


class PushPass:
    """Takes the turns of accounts whose parked sessions were told of changes, or have been quiet for long."""

    def __init__(self, settings: Settings, listening: Listening, taker: TurnTaker) -> None:
        self._settings = settings
        self._listening = listening
        self._taker = taker
        self._has_woken = False
        self._calm_at = float("-inf")
        """When there was last no account to wake."""

    def wake_next(self, env: TurnEnvironment) -> bool:
        """Take the turn of the account whose hints came first; returns False if it is time for a tick.

        That is so if no account is to be woken. Once that has not been so for 5 s, because servers report
        faster than turns can follow, every second turn is a tick's.
        """
        now = time.monotonic()
        has_woken, self._has_woken = self._has_woken, False
        if has_woken and now - self._calm_at > _LONGEST_WITHOUT_TICK:
            return False
        wake = self._listening.next_wake()
        if wake is None:
            self._calm_at = now
            return False
        self._has_woken = True
        account_id, kind = wake
        env.counters.add("mailsync_push_wakes_total", kind=kind)
        self._take(env, account_id, wake_turn(self._settings))
        return True

    def renew(self, env: TurnEnvironment) -> bool:
        """Prove the sessions that have been quiet for so long that they may be dead; returns if any was.

        After a second the others are left to the next call: each dead one costs 10 s, and ticks wait.
        """
        accounts, began = self._listening.renewals(), time.monotonic()
        for account_id in accounts:
            is_long = time.monotonic() - began > _LONGEST_RENEWING
            if env.stop or is_long or self._listening.seconds_until_wake() <= 0:
                break
            self._take(env, account_id, renewal_turn(self._settings))
            env.on_alive()
            self._listening.wait(0.0)
        return bool(accounts)

    def _take(self, env: TurnEnvironment, account_id: int, kind: TurnKind) -> None:
        error = self._taker.take(env, account_id, kind)
        if isinstance(error, OutOfTokens):
            self._listening.calm(account_id)
            turns.postpone(env.conn, account_id, error.retry_after)
        elif isinstance(error, TurnOver):
            turns.postpone(env.conn, account_id, 0)
        elif isinstance(error, NotFound | LeftAlone):
            # the account is gone, or not to be listened to: a tick follows
            env.sessions.drop(account_id)
            self._listening.lost(account_id, 0.0)

    def settle(self, env: TurnEnvironment) -> bool:
        """Write down which sessions have ended, so that their accounts get ordinary ticks; returns if any."""
        if not self._listening.ended:
            return False
        ended = list(self._listening.ended)
        turns.unpark(env.conn, env.started_by, ended, self._settings.sync_interval)
        del self._listening.ended[: len(ended)]
        for account_id, _ in ended:
            env.sessions.drop_closed(account_id)
        return True

    def drop_lost(self, env: TurnEnvironment) -> None:
        """Close the sessions of accounts that are paused or gone, or that another worker listens to."""
        accounts = self._listening.accounts
        for account_id in turns.lost_parking(env.conn, env.started_by, accounts) if accounts else ():
            env.sessions.drop(account_id)
