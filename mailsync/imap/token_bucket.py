"""How many commands an account may still send: a token bucket that is stepped by every tagged command.

The bucket's state lives in the account's row. A turn reserves tokens from it, steps its own copy here, and
gives back what is left. So this one knows nothing of Postgres and needs no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mailsync.errors import OutOfTokens

WINDOW = 61.0
"""Seconds in which the refill brings the limit less the burst: 60, and one for delays on the wire."""

USEFUL = 12.0
"""Commands with which a turn gets somewhere; begun for fewer, it might never reach a FETCH."""


def burst(limit_per_minute: int) -> float:
    """Return the capacity of the bucket: a quarter of the limit, but 8 if the limit has so much.

    Fewer than 8 commands would not reach from a login to the first message.
    """
    return max(limit_per_minute / 4, min(8.0, float(limit_per_minute)))


def refill(limit_per_minute: int) -> float:
    """Return how many commands a second come back."""
    return (limit_per_minute - burst(limit_per_minute)) / WINDOW


class TokenBucket:
    """Counts down the commands of one turn.

    ``tokens`` is what the turn begins with, ``limit_per_minute`` is IMAP_MAX_COMMANDS_PER_MINUTE, ``floor``
    is what has to stay for others, ``clock`` gives seconds that never go back.

    In any 60 seconds at most ``burst + refill * 60 <= limit_per_minute`` tokens can be taken.
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
        """The tokens in the bucket as of now."""
        now = self._clock()
        self._tokens = min(self.capacity, self._tokens + max(0.0, now - self._at) * self.refill)
        self._at = now
        return self._tokens

    def check(self) -> None:
        """Raise OutOfTokens if one more command would pass the floor."""
        if self.tokens < self.floor + 1:
            raise self.exhausted()

    def acquire(self) -> None:
        """Take one token for one command; raises OutOfTokens if the floor would be passed."""
        self.check()
        self._tokens -= 1

    def exhausted(self, useful: float = USEFUL) -> OutOfTokens:
        """The error that says when there should be enough above the floor to get somewhere."""
        wanted = self.floor + min(useful, self.capacity - self.floor)
        return OutOfTokens(max(1.0, (wanted - self.tokens) / self.refill))
