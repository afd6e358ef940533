"""What turns add to the metrics (SPEC §16), collected in the process and stored now and then.

A quiet turn stores nothing: that would cost it a statement. A process that is killed loses what it has
counted since it last stored, at most 15 seconds' worth of quiet turns.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar
from weakref import WeakKeyDictionary

from mailsync.engine.turn import Turn
from mailsync.errors import (
    AuthenticationFailed,
    Busy,
    FolderError,
    MailsyncError,
    OutOfTokens,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.imap import Session
from mailsync.store import metrics
from mailsync.store.db import Connection

T = TypeVar("T")

COMMANDS = frozenset(
    "CAPABILITY CLOSE ENABLE EXAMINE FETCH ID LIST LOGIN LOGOUT NOOP SEARCH STARTTLS STATUS UNSELECT".split()
)
"""The IMAP commands that are counted by name; all else is ``other``."""

_OF_SERVERS = (AuthenticationFailed, FolderError, ProtocolError, Throttled, Transient)


class Counters:
    """Sums that wait to be stored; several threads may add to them.

    ``rows_written`` is how many messages this process has stored, changed and deleted so far.
    """

    def __init__(self) -> None:
        self.rows_written = 0.0
        self._sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._changing = threading.Lock()
        self._sent: WeakKeyDictionary[Session, Counter[str]] = WeakKeyDictionary()

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to the counter of that name and labels."""
        key = name, json.dumps(labels, sort_keys=True)
        with self._changing:
            self._sums[key] += value
            if name == "mailsync_messages_total":
                self.rows_written += value

    def observe(self, name: str, seconds: float) -> None:
        """Add one observation to a histogram: to its bucket, and to its sum."""
        bounds = metrics.BUCKETS[name]
        place = bisect_left(bounds, seconds)
        self.add(f"{name}_bucket", le=f"{bounds[place]:g}" if place < len(bounds) else "+Inf")
        self.add(f"{name}_sum", seconds)

    @contextmanager
    def waiting(self, lock: AbstractContextManager[T]) -> Iterator[T]:
        """Enter `lock`, and count how long that took, or that it was busy."""
        began, had = time.monotonic(), False
        try:
            with lock as held:
                had = True
                self.observe("mailsync_lock_wait_seconds", time.monotonic() - began)
                yield held
        except Busy:
            if not had:
                self.observe("mailsync_lock_wait_seconds", time.monotonic() - began)
                self.add("mailsync_lock_busy_total")
            raise

    def turn(self, turn: Turn, error: MailsyncError | None) -> None:
        """Count a turn: how long it took, what it sent and did, what ended it, its folders' errors."""
        if turn.is_connected:
            self.observe("mailsync_sync_duration_seconds", turn.clock.elapsed)
            self._commands(turn.session)
        tally = turn.tally
        for op, count in (
            ("new", tally.messages_new),
            ("flags_changed", tally.flags_changed),
            ("deleted", tally.messages_deleted),
        ):
            if count:
                self.add("mailsync_messages_total", count, op=op)
        for code, times in tally.error_codes.items():
            self.add("mailsync_imap_errors_total", times, code=code)
        if isinstance(error, OutOfTokens):
            self.add("mailsync_throttle_yields_total")
        elif isinstance(error, _OF_SERVERS):
            self.add("mailsync_imap_errors_total", code=error.code)

    def store(self, conn: Connection) -> None:
        """Add what was collected to ``metric_counters``, in one statement; nothing if there is nothing.

        Should it fail, all of it is kept for the next time.
        """
        with self._changing:
            sums, self._sums = self._sums, defaultdict(float)
        if not sums:
            return
        try:
            metrics.add(conn, _flat(sums))
        except BaseException:
            with self._changing:
                for key, value in sums.items():
                    self._sums[key] += value
            raise

    def unstored(self) -> list[tuple[str, str, float]]:
        """What was collected: name, labels as JSON text, value."""
        with self._changing:
            return _flat(self._sums)

    def _commands(self, session: Session) -> None:
        """Count what the session sent since it was last looked at, its login included."""
        sent = Counter(session.commands)
        with self._changing:
            new = sent - self._sent.get(session, Counter())
            self._sent[session] = sent
        for name, times in new.items():
            command = name if name in COMMANDS else "other"
            self.add("mailsync_imap_commands_total", times, command=command)


def _flat(sums: Mapping[tuple[str, str], float]) -> list[tuple[str, str, float]]:
    return [(*key, value) for key, value in sums.items()]
