"""The effect on others while a worker is busy, measured on a small account that gets mail all the time.

Each piece of work goes through a real ``mailsync worker`` process, in a fresh database and in one that has
lived. Meanwhile a message is appended to the small account's inbox at fixed intervals. Measured are the
longest time from APPEND to row, and by how much the account's lag exceeded a tick.
"""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mailsync.accounts import manage
from mailsync.config import Settings
from mailsync.store import accounts, db
from tests.benchmarks.bench import Bench, TooSlow, environment, note, run_mailsync, table
from tests.benchmarks.large import Sizes, change_flags, expunge
from tests.support import run_directory
from tests.support.bulk_messages import varied_message
from tests.support.dovecot import User
from tests.support.programs import Running

INTERVAL = 5.0
"""The worker's SYNC_INTERVAL in seconds."""
EVERY = 1.5
"""Seconds between two messages to the small account."""

_QUIET = 4 * INTERVAL
_LOOK_EVERY = 0.1
_WATCH = """
select s.priority_sync_lag_seconds, f.last_uid
from account_status s join folders f on f.account_id = s.account_id and f.path = 'INBOX'
where s.email = %s
"""


@dataclass
class Felt:
    """The neighbour's worst seconds from APPEND to row, and its worst lag."""

    delay: float = 0.0
    lag: float = 0.0


class Neighbour:
    """The small account of one database."""

    def __init__(self, bench: Bench, settings: Settings) -> None:
        self._bench, self._settings = bench, settings
        self._user = bench.mailbox(10)
        self._uid = 10
        self.email = bench.add_account(settings, self._user)
        run_mailsync(settings, "sync", self.email)

    @contextmanager
    def watched(self) -> Iterator[Felt]:
        """Append messages and time their rows until the block has ended and the last row is there."""
        felt, over = Felt(), threading.Event()
        failures: list[BaseException] = []

        def watch() -> None:
            try:
                self._watch(felt, over)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield felt
        finally:
            over.set()
            thread.join()
        if failures:
            raise failures[0]

    def _watch(self, felt: Felt, over: threading.Event) -> None:
        rng = random.Random(self._uid)
        waiting: deque[tuple[int, float]] = deque()
        due, until = time.monotonic(), math.inf
        with (
            db.connect(self._settings, "bench-watch") as conn,
            self._bench.dovecot.imap(self._user) as client,
        ):
            while waiting or not over.is_set():
                if time.monotonic() >= due and not over.is_set():
                    message = varied_message(self._uid, rng)
                    assert client.append("INBOX", None, None, message)[0] == "OK"  # type: ignore[arg-type]
                    self._uid += 1
                    waiting.append((self._uid, time.monotonic()))
                    due += EVERY
                row = conn.execute(_WATCH, [self.email]).fetchone()
                assert row
                felt.lag = max(felt.lag, row[0] or 0.0)
                if waiting:
                    # a message that still waits counts, too
                    felt.delay = max(felt.delay, time.monotonic() - waiting[0][1])
                while waiting and waiting[0][0] <= row[1]:
                    waiting.popleft()
                if over.is_set():
                    until = min(until, time.monotonic() + run_directory.PATIENCE)
                    if time.monotonic() > until:
                        break
                time.sleep(_LOOK_EVERY)


class WorkerAtWork:
    """A worker process on one database, and the account that keeps it busy."""

    def __init__(self, bench: Bench, settings: Settings) -> None:
        self.bench, self.settings = bench, settings
        self._process = self._start()

    def _start(self) -> Running:
        variables = {
            **environment(self.settings.database_url),
            "SYNC_INTERVAL": f"{INTERVAL:g}s",
            run_directory.VARIABLE: str(run_directory.current()),
        }
        command = [str(Path(sys.executable).with_name("mailsync")), "worker"]
        process = Running(command, variables, run_directory.current())
        process.wait_for("Ready")
        return process

    def restart(self) -> None:
        """Start the worker again, with no statement still running and with fresh statistics."""
        self._process.close()
        self.bench.end_backends(self.settings)
        with db.connect(self.settings, "bench") as conn:
            conn.execute("analyze")
        self._process = self._start()

    def close(self) -> None:
        """Stop the worker regularly."""
        self._process.terminate()
        self._process.wait()
        self._process.close()

    def wait_for(self, condition: str, email: str, at_most: float) -> float:
        """Wait until the condition holds for the account; returns the seconds. Raises TooSlow."""
        began = time.monotonic()
        with db.connect(self.settings, "bench-watch") as conn:
            while True:
                row = conn.execute(f"select {condition}".encode(), [email]).fetchone()
                if row and row[0]:
                    return time.monotonic() - began
                if time.monotonic() - began > at_most:
                    raise TooSlow
                assert self._process.returncode is None, f"the worker ended:\n{self._process.output}"
                time.sleep(_LOOK_EVERY)


_OF_FOLDERS = (
    "(select sum({}) = {} from folders where account_id = (select id from accounts where email = %s))"
)
_SYNCED = "(select overall_synced_at is not null from accounts where email = %s)"
_JUST_SYNCED = "(select priority_sync_lag_seconds < 1 from account_status where email = %s)"
_REMOVED = "not exists (select from accounts where email = %s)"


def run(bench: Bench, lived: Settings, sizes: Sizes, limit: float) -> None:
    """Print the table; a line that takes longer than `limit` seconds is ended and shown as too slow."""
    large, names = bench.spread_mailbox(sizes.large, sizes.folders)
    first, _ = bench.spread_mailbox(sizes.first, sizes.folders)
    with bench.settings() as fresh:
        columns = []
        for number, settings in enumerate((fresh, lived)):
            work = _Work(bench, settings, limit)
            work.do(sizes, large, names, first, number)
            columns.append(work.felt)
    table(
        f"A worker at work, and another account that gets a message every {EVERY:g} s"
        f" (SYNC_INTERVAL {INTERVAL:g} s)",
        ("what", "fresh", "delay", "lag beyond a tick", "lived-in", "delay", "lag beyond a tick"),
        [
            (title, *(cell for column in columns for cell in _cells(*column[title], limit)))
            for title in columns[0]
        ],
    )


def _cells(seconds: float, felt: Felt, limit: float) -> tuple[str, str, str]:
    took = f"> {limit:.0f} s" if seconds == math.inf else f"{seconds:.1f} s"
    return took, f"{felt.delay:.1f} s", f"{max(0.0, felt.lag - INTERVAL):.1f} s"


class _Work:
    """The pieces of work in one database, and their effect on the neighbour, by title."""

    def __init__(self, bench: Bench, settings: Settings, limit: float) -> None:
        self._bench, self._settings, self._limit = bench, settings, limit
        self.felt: dict[str, tuple[float, Felt]] = {}

    def do(self, sizes: Sizes, user: User, names: Sequence[str], first: User, number: int) -> None:
        """Do all pieces of work; `number` is how often the flags of the user's mail were changed before."""
        bench, settings = self._bench, self._settings
        email, new = "large-worker@example.test", "first-worker@example.test"
        bench.add_account(settings, user, email)
        run_mailsync(settings, "sync", email)
        self._neighbour = Neighbour(bench, settings)
        with db.connect(settings, "bench") as conn:
            account_id = accounts.find(conn, email)

            def resume() -> None:
                manage.resume(conn, account_id)

            # the worker must not see a part of the change
            manage.pause(conn, account_id, None)
            self._worker = WorkerAtWork(bench, settings)
            try:
                self._measure("nothing", lambda: time.sleep(_QUIET), "%s <> ''", email)
                title = f"first sync of {sizes.first:,} messages"
                self._measure(title, lambda: bench.add_account(settings, first, new), _SYNCED, new)
                flags = change_flags(bench, user, names, number)
                done = _OF_FOLDERS.format("live_unseen", 0 if flags else sizes.large)
                self._measure(f"all flags of {sizes.large:,} changed", resume, done, email)
                manage.pause(conn, account_id, None)
                gone = expunge(bench, user, names, sizes.deleted)
                left = sizes.large - sizes.deleted
                done = _OF_FOLDERS.format("live_count", left)
                self._measure(f"{sizes.deleted:,} messages deleted", resume, done, email)
                self._measure(
                    f"an account of {left:,} removed",
                    lambda: manage.request_removal(conn, account_id),
                    _REMOVED,
                    email,
                )
            finally:
                self._worker.close()
        for name in names:
            bench.fill(user, name, gone, flags=flags)

    def _measure(self, title: str, begin: Callable[[], object], condition: str, email: str) -> None:
        self._bench.execute("checkpoint")
        # its turn has just ended, so every line begins at the same point of a tick
        with suppress(TooSlow):
            self._worker.wait_for(_JUST_SYNCED, self._neighbour.email, self._limit)
        note(f"a worker, {title}")
        with self._neighbour.watched() as felt:
            begin()
            try:
                seconds = self._worker.wait_for(condition, email, self._limit)
            except TooSlow:
                seconds = math.inf
                self._worker.restart()
                self._worker.wait_for(condition, email, 10 * self._limit)
        self.felt[title] = seconds, felt
