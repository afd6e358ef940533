"""Measures how fresh a mirror is: the time from a client's change on the server to the committed row."""

from __future__ import annotations

import contextlib
import imaplib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg

from tests.support.imap_server import ImapServer, User, done, quoted
from tests.support.patience import pause
from tests.support.programs import Running
from tests.support.run_directory import PATIENCE

Database = psycopg.Connection[Any]
Row = tuple[str, Sequence[object]]
"""An SQL condition that is true once the change is mirrored, and its parameters."""

TICK = 1.0
_EVERY = 0.02


@dataclass
class Promise:
    """One cell of the table: a kind of change, where it happens, and the seconds within which it is mirrored.

    ``act`` makes the n-th change and returns the condition that shows it. Each of the ``times`` changes is
    made as soon as the one before was mirrored, so just after a tick, when the wait is longest. On a machine
    too slow for a tick every ``TICK`` seconds, the ticks are counted instead: a change that the first tick
    afterwards shows took one tick of ``turns`` turns.
    """

    account: int
    change: str
    server: str
    within: float
    act: Callable[[int], Row]
    times: int = 1
    turns: int = 1
    seconds: list[float] = field(default_factory=list)
    by_the_clock: list[float] = field(default_factory=list)
    _waiting: Row | None = None
    _since: float = 0.0
    _made_at: datetime | None = None
    _begun: set[datetime] = field(default_factory=set)

    @property
    def is_done(self) -> bool:
        """Whether all changes were mirrored."""
        return len(self.seconds) == self.times

    @property
    def age(self) -> float:
        """The seconds since a change that is not mirrored yet; 0 if there is none."""
        if not self._waiting:
            return 0.0
        return min(time.monotonic() - self._since, len(self._begun) / self.turns * TICK)

    def step(self, database: Database) -> None:
        """Make the next change, or look for the last one."""
        if self.is_done:
            return
        if self._waiting is None:
            self._waiting, self._since = self.act(len(self.seconds)), time.monotonic()
            (self._made_at,) = database.execute("select clock_timestamp()").fetchone() or (None,)
            self._begun.clear()
            return
        condition, params = self._waiting
        row = database.execute(
            f"select ({condition}), last_sync_started_at from accounts where id = %s",  # type: ignore[arg-type]
            [*params, self.account],
        ).fetchone()
        assert row and self._made_at
        if row[1] > self._made_at:
            self._begun.add(row[1])
        if row[0]:
            self.seconds.append(self.age)
            self.by_the_clock.append(time.monotonic() - self._since)
            self._waiting = None

    @property
    def slowest(self) -> float:
        """The longest time that a change took, or has taken so far."""
        return max([*self.seconds, self.age])

    @property
    def mean(self) -> float:
        """The mean time until a change was mirrored; infinite if none was."""
        return sum(self.seconds) / len(self.seconds) if self.seconds else math.inf

    def is_kept(self, slack: float, usual_slack: float) -> bool:
        """Whether each change was mirrored in time plus `slack`, and the mean in time plus `usual_slack`.

        By the clock it may have been later, but not so late that the worker cannot have ticked at all.
        """
        if not self.is_done or sum(self.by_the_clock) / self.times > 8 * self.within:
            return False
        return self.slowest <= self.within + slack and self.mean <= self.within + usual_slack

    def __str__(self) -> str:
        return (
            f"{self.change:<44} {self.server:<15} promised {self.within:>4.0f} s"
            f"   mean {self.mean:5.2f} s   slowest {self.slowest:5.2f} s   of {len(self.seconds)}"
        )


def measure(promises: Iterable[Promise], database: Database, worker: Running) -> None:
    """Make all changes and wait for their rows, for all promises at once."""
    waiting = list(promises)
    until = time.monotonic() + PATIENCE
    while not all(promise.is_done for promise in waiting) and time.monotonic() < until:
        assert worker.returncode is None, worker.output
        for promise in waiting:
            promise.step(database)
        pause(_EVERY, "rows are looked at so often")


class Client:
    """Another mail client of a user; keeps a connection per folder, so that changes are quick."""

    def __init__(self, server: ImapServer, user: User, stack: contextlib.ExitStack) -> None:
        self.server, self.user, self._stack = server, user, stack
        self._open: dict[str, imaplib.IMAP4] = {}

    def create(self, folder: str, message: bytes) -> None:
        """Create a folder with a message in it."""
        done(self._in("INBOX").create(quoted(folder)))
        done(self._in("INBOX").append(quoted(folder), "", "", message))

    def rename(self, folder: str, new: str) -> None:
        """Rename a folder, and stay: Dovecot may not report a rename of a client that leaves at once."""
        done(self._in("INBOX").rename(quoted(folder), quoted(new)))

    def delete(self, folder: str) -> None:
        """Delete a folder."""
        done(self._in("INBOX").delete(quoted(folder)))

    def _in(self, folder: str) -> imaplib.IMAP4:
        if folder not in self._open:
            self._open[folder] = self._stack.enter_context(self.server.imap(self.user, folder))
        return self._open[folder]

    def append(self, folder: str, message: bytes) -> None:
        """Append a message."""
        done(self._in(folder).append(quoted(folder), "", "", message))

    def store(self, folder: str, uid: int, how: str, flags: str) -> None:
        """Change flags: ``store("INBOX", 1, "+FLAGS", r"\\Seen")``."""
        done(self._in(folder).uid("STORE", str(uid), how, f"({flags})"))

    def expunge(self, folder: str, uid: int) -> None:
        """Delete a message for good."""
        self.store(folder, uid, "+FLAGS.SILENT", r"\Deleted")
        done(self._in(folder).uid("EXPUNGE", str(uid)))

    def move(self, folder: str, uid: int, target: str) -> None:
        """Move a message to another folder (RFC 6851)."""
        done(self._in(folder).uid("MOVE", str(uid), quoted(target)))
