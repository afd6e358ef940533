"""Which UIDs to ask for next; pure, without I/O (SPEC §9.5).

Every batch is noted in ``fetch_attempts`` before it is fetched. An attempt that is open when a turn begins
names UIDs that were being fetched when an earlier turn ended, for whatever reason. Their batches hold no
other UIDs, and become half as large with each failed attempt, until a message is alone. That message is
isolated: only a message that is fetched while nothing else is in flight can be blamed
(:mod:`mailsync.engine.fetch.single_messages`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from mailsync.store.attempts import OpenAttempt
from mailsync.uidset import UidSet


class Request(NamedTuple):
    """The UIDs of one FETCH; ``isolate`` if nothing else may be in flight with it."""

    uids: UidSet
    isolate: bool = False


class BatchPlan:
    """Divides `uids` into requests, beginning with the newest or with the oldest.

    `open_attempts` are the folder's, as of now. ``remaining`` are the UIDs that are not yet :meth:`done`.
    """

    def __init__(self, uids: UidSet, open_attempts: Sequence[OpenAttempt], *, newest_first: bool) -> None:
        self.remaining = uids
        self.has_begun = False
        self._uids = self._not_requested = uids
        self._attempts = list(open_attempts)
        self._to_isolate = UidSet.of(a.first for a in open_attempts if a.first == a.last and a.first in uids)
        self.newest_first = newest_first

    def next(self, size: int) -> Request | None:
        """Return the next request, of at most `size` UIDs; None when all UIDs were requested."""
        if not self._not_requested:
            return None
        self.has_begun = True
        together = self.before(self._to_isolate, self._not_requested)
        if together:
            uids = self._apart(self._first(together, size), size)
        else:
            uids = self._first(self._not_requested, 1)
        self._not_requested = self._not_requested.minus(uids)
        return Request(uids, isolate=not together)

    def done(self, uids: UidSet) -> None:
        """Take `uids` out of ``remaining``."""
        self.remaining = self.remaining.minus(uids)

    def forget_attempts(self, uids: UidSet) -> None:
        """Stop reducing the batches of open attempts that hold any of `uids`: the cause is known."""
        self._attempts = [a for a in self._attempts if not uids.between(a.first, a.last)]

    def before(self, stops: UidSet, uids: UidSet) -> UidSet:
        """Return those of `uids` that are requested before the first of `stops`."""
        if not (stops := stops.both(uids)):
            return uids
        if self.newest_first:
            return uids.between(stops.highest + 1, uids.highest)
        return uids.between(uids.lowest, stops.lowest - 1)

    def _first(self, uids: UidSet, size: int) -> UidSet:
        return uids.newest(size) if self.newest_first else uids.oldest(size)

    def _apart(self, uids: UidSet, size: int) -> UidSet:
        """Return the first of `uids`, up to where an open attempt begins or ends.

        `size` is the most; it is halved for each failed attempt.
        """
        edge = uids.highest if self.newest_first else uids.lowest
        attempts = 0
        for a in self._attempts:
            if a.first <= edge <= a.last:
                attempts += a.attempts
                size = min(size, len(self._uids.between(a.first, a.last)))
                uids = uids.between(a.first, a.last)
            elif self.newest_first and a.last < edge:
                uids = uids.between(a.last + 1, edge)
            elif not self.newest_first and a.first > edge:
                uids = uids.between(edge, a.first - 1)
        return self._first(uids, max(1, size >> attempts))
