"""The decisions about parked sessions (SPEC §22): pure functions of sessions, what arrived, and the clock.

A parked session listens while its account's lock is free, and sends nothing. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

GATHERING = 0.3
"""Seconds from the first hint to the wake, so that one turn serves what a server says in pieces."""
SHORTEST_BETWEEN_WAKES = 2.0
EARLY_END = 60.0
"""Seconds that a session has to live for its end to be ordinary."""
MOST_EARLY_ENDS = 3
OFF_AFTER_EARLY_ENDS = 3600.0
REOPENED_WITHIN = 10.0
"""Seconds over which sessions that end together are opened again."""
PROVEN_BEFORE = 15.0
"""Seconds before ``PUSH_RENEW`` at which a quiet session is proven; a dead one is replaced by then."""


@dataclass(frozen=True, slots=True)
class ParkedSession:
    """A session that listens.

    ``kind`` is ``notify`` or ``idle``. ``opened_at`` is when it was first parked, ``heard_at`` when its last
    byte came, ``hinted_at`` when the first hint came that no turn has followed yet, and ``woken_at`` when the
    account's last wake began.
    """

    account_id: int
    kind: str
    opened_at: float
    heard_at: float
    hinted_at: float | None = None
    woken_at: float = float("-inf")

    @property
    def wakes_at(self) -> float:
        """The time to take the turn that follows the hints; infinity without hints."""
        if self.hinted_at is None:
            return float("inf")
        return max(self.hinted_at + GATHERING, self.woken_at + SHORTEST_BETWEEN_WAKES)


@dataclass(frozen=True, slots=True)
class History:
    """The facts about an account's parked sessions that outlive them.

    ``early_ends`` counts the last sessions in a row that ended early; ``off_until`` is when the account may
    be parked again.
    """

    early_ends: int = 0
    off_until: float = float("-inf")
    woken_at: float = float("-inf")


class Wakes(NamedTuple):
    """The accounts to wake now, in the order of their first hints, and the seconds until the next wake."""

    accounts: list[int]
    seconds_until_next: float


def wakes(hinted: Iterable[ParkedSession], now: float) -> Wakes:
    """Decide which accounts are woken at `now`, of those with hints."""
    due, following = [], float("inf")
    for parked in hinted:
        if parked.wakes_at <= now:
            due.append(parked)
        else:
            following = min(following, parked.wakes_at - now)
    due.sort(key=lambda parked: parked.hinted_at or 0.0)
    return Wakes([parked.account_id for parked in due], following)


def renewals(parked: Iterable[ParkedSession], now: float, renew_after: float) -> list[int]:
    """Return the accounts whose sessions have been quiet for so long that they may be dead, longest first.

    `renew_after` is ``PUSH_RENEW`` in seconds.
    """
    quiet_for = renew_after - min(PROVEN_BEFORE, renew_after / 2)
    quiet = [session for session in parked if now - session.heard_at >= quiet_for]
    return [session.account_id for session in sorted(quiet, key=lambda session: session.heard_at)]


class Ending(NamedTuple):
    """The consequences of the end of a session.

    ``reopens_in`` is the seconds until the account's next turn opens another; None leaves that to the next
    tick. ``turns_off`` says that the account is not parked for an hour from now on.
    """

    history: History
    reopens_in: float | None
    turns_off: bool


def ending(history: History, parked: ParkedSession, now: float, chance: float) -> Ending:
    """Decide what follows from the end of `parked`; `chance` in 0 … 1 spreads sessions that end together."""
    if now - parked.opened_at >= EARLY_END:
        return Ending(replace(history, early_ends=0), REOPENED_WITHIN * chance, turns_off=False)
    early_ends = history.early_ends + 1
    if early_ends < MOST_EARLY_ENDS:
        return Ending(replace(history, early_ends=early_ends), None, turns_off=False)
    off = replace(history, early_ends=0, off_until=now + OFF_AFTER_EARLY_ENDS)
    return Ending(off, None, turns_off=True)
