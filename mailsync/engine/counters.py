"""The sums that turns add to the metrics (SPEC §16): collected in the process, and stored at intervals.

A quiet turn stores nothing, since that would cost it a statement. A process that is killed loses what it
counted since it last stored: at most 15 seconds of quiet turns.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
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
    "AUTHENTICATE CAPABILITY CLOSE ENABLE EXAMINE FETCH ID IDLE LIST LOGIN LOGOUT NOOP NOTIFY SEARCH STARTTLS"
    " STATUS UNSELECT".split()
)
"""The IMAP commands that are counted by name; all others count as ``other``."""

_OF_SERVERS = (AuthenticationFailed, FolderError, ProtocolError, Throttled, Transient)


class Counters:
    """Sums that have yet to be stored; several threads may add to them.

    ``rows_written`` is how many messages this process has stored, changed or deleted.
    """

    def __init__(self) -> None:
        self.rows_written = 0.0
        self._sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._lock = threading.Lock()
        self._counted: WeakKeyDictionary[Session, Counter[str]] = WeakKeyDictionary()

    def add(self, name: str, value: float = 1, **labels: str) -> None:
        """Add `value` to the counter with this name and these labels."""
        key = name, json.dumps(labels, sort_keys=True)
        with self._lock:
            self._sums[key] += value
            if name == "mailsync_messages_total":
                self.rows_written += value

    def observe(self, name: str, seconds: float) -> None:
        """Add one observation to a histogram: to its bucket and its sum."""
        self.observe_all(name, (seconds,))

    def observe_all(self, name: str, seconds: Iterable[float]) -> None:
        """Add many observations to a histogram."""
        bounds = metrics.BUCKETS[name]
        buckets, total = Counter[int](), 0.0
        for value in seconds:
            buckets[bisect_left(bounds, value)] += 1
            total += value
        for i, count in buckets.items():
            self.add(f"{name}_bucket", count, le=f"{bounds[i]:g}" if i < len(bounds) else "+Inf")
        if buckets:
            self.add(f"{name}_sum", total)

    @contextmanager
    def waiting(self, lock: AbstractContextManager[T]) -> Iterator[T]:
        """Enter `lock`; count how long that took, or that it was busy."""
        began, is_acquired = time.monotonic(), False
        try:
            with lock as acquired:
                is_acquired = True
                self.observe("mailsync_lock_wait_seconds", time.monotonic() - began)
                yield acquired
        except Busy:
            if not is_acquired:
                self.observe("mailsync_lock_wait_seconds", time.monotonic() - began)
                self.add("mailsync_lock_busy_total")
            raise

    def turn(self, turn: Turn, error: MailsyncError | None) -> None:
        """Count a turn: its duration, commands and rows, the error that ended it, its folders' errors."""
        if turn.is_connected:
            self.observe("mailsync_sync_duration_seconds", turn.clock.elapsed)
            self.commands(turn.session)
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

    def renewal(self, provider: str, is_renewed: bool) -> None:
        """Count a renewal of an access token, or a failure to renew one, by the provider of its client."""
        name = "mailsync_token_renewals_total" if is_renewed else "mailsync_token_renewal_failures_total"
        self.add(name, provider=provider)

    def commands(self, session: Session) -> None:
        """Count the session's commands since the last call for it, those of its login included."""
        sent = Counter(session.commands)
        with self._lock:
            new = sent - self._counted.get(session, Counter())
            self._counted[session] = sent
        for name, times in new.items():
            command = name if name in COMMANDS else "other"
            self.add("mailsync_imap_commands_total", times, command=command)

    def store(self, conn: Connection) -> None:
        """Add the sums to ``metric_counters``, in one statement; none if there are no sums.

        If that fails, the sums are kept for the next time.
        """
        with self._lock:
            sums, self._sums = self._sums, defaultdict(float)
        if not sums:
            return
        try:
            metrics.add(conn, [(*key, value) for key, value in sums.items()])
        except BaseException:
            with self._lock:
                for key, value in sums.items():
                    self._sums[key] += value
            raise
