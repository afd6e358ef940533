"""How many commands an account may still send: a token bucket with one token for each tagged command.

The bucket itself is stored in the account's row. A turn reserves tokens from there, counts them down here,
and gives the rest back. So this module needs neither Postgres nor a lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mailsync.errors import OutOfTokens

WINDOW = 61.0
"""Seconds in which limit minus burst tokens are refilled: 60, and one for delays of the network."""

USEFUL = 12.0
"""Commands that a turn needs to make progress; with fewer it might never reach a FETCH."""


def burst(limit_per_minute: int) -> float:
    """Return the capacity of the bucket: a quarter of the limit, but at least 8 if the limit allows it.

    Fewer than 8 commands would not last from a login to the first message.
    """
    return max(limit_per_minute / 4, min(8.0, float(limit_per_minute)))


def refill(limit_per_minute: int) -> float:
    """Return how many tokens a second are refilled."""
    return (limit_per_minute - burst(limit_per_minute)) / WINDOW


class TokenBucket:
    """Counts down the commands of one turn.

    ``tokens`` is how many the turn begins with, ``limit_per_minute`` is IMAP_MAX_COMMANDS_PER_MINUTE,
    ``floor`` is the reserve for others, and ``clock`` returns monotonic seconds.

    In any 60 seconds at most ``burst + refill * 60 <= limit_per_minute`` tokens can be acquired.
    """

    def __init__(
        self,
        tokens: float,
        limit_per_minute: int,
        floor: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = burst(limit_per_minute)
        self.refill = refill(limit_per_minute)
        self.floor = floor
        self._clock = clock
        self._tokens = min(tokens, self.capacity)
        self._at = clock()

    @property
    def tokens(self) -> float:
        """The tokens in the bucket now."""
        now = self._clock()
        self._tokens = min(self.capacity, self._tokens + max(0.0, now - self._at) * self.refill)
        self._at = now
        return self._tokens

    def check(self) -> None:
        """Raise OutOfTokens if one more command would use the reserve."""
        if self.tokens < self.floor + 1:
            raise self.out_of_tokens()

    def acquire(self) -> None:
        """Take one token for one command; raises OutOfTokens if that would use the reserve."""
        self.check()
        self._tokens -= 1

    def out_of_tokens(self, useful: float = USEFUL) -> OutOfTokens:
        """Return the error that says when `useful` tokens above the reserve should be there."""
        wanted = self.floor + min(useful, self.capacity - self.floor)
        return OutOfTokens(max(1.0, (wanted - self.tokens) / self.refill))
