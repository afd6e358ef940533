"""Turns of the worker, taken one by one in this process and timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mailsync.config import Settings
from mailsync.engine.cycle import backfill_turn, hot_turn
from mailsync.engine.runner import take_turn
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
from mailsync.errors import TurnOver
from mailsync.store import db, turns


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a turn, or the mean of several: seconds and IMAP commands."""

    wall: float
    cpu: float
    commands: float


class Walker:
    """A worker's connection and kept sessions."""

    def __init__(
        self, conn: db.Connection, settings: Settings, disabled_capabilities: frozenset[str]
    ) -> None:
        self.conn = conn
        self.settings = settings
        self.env = TurnEnvironment(
            conn, settings, "bench", SessionCache(settings, disabled_capabilities=disabled_capabilities)
        )

    def take(self, account_id: int, work: TurnKind) -> tuple[Turn | None, Cost]:
        """One turn."""
        wall, cpu = time.perf_counter(), time.process_time()
        turn = take_turn(self.env, account_id, work)
        cost = Cost(time.perf_counter() - wall, time.process_time() - cpu, _commands(turn))
        return turn, cost

    def hot(self, account_id: int) -> Cost:
        """A turn of the hot pass."""
        return self.take(account_id, hot_turn(self.settings))[1]

    def fill(self, account_id: int) -> None:
        """Take turns of the backfill pass until nothing is left."""
        while True:
            try:
                self.take(account_id, backfill_turn(self.settings))
            except TurnOver:
                continue
            return

    def tick(self) -> Cost:
        """Take a turn of each account that is due; returns the mean of a turn, including its claim."""
        count, commands = 0, 0.0
        wall, cpu = time.perf_counter(), time.process_time()
        started = turns.now(self.conn)
        while (account_id := turns.claim(self.conn, started, self.settings.sync_interval)) is not None:
            commands += self.take(account_id, hot_turn(self.settings))[1].commands
            count += 1
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return Cost(wall / count, cpu / count, commands / count)

    def value(self, query: str, *params: object) -> Any:
        """The first column of the first row."""
        row = self.conn.execute(query, params).fetchone()  # type: ignore[call-overload]
        return row[0] if row else None

    def make_due(self, columns: str = "next_reconcile_at") -> None:
        """Make the safety net due in every folder."""
        self.conn.execute(f"update folders set {columns} = now()")  # type: ignore[call-overload]


def _commands(turn: Turn | None) -> int:
    return turn.run_result(None).imap_commands if turn else 0


@contextmanager
def walker(settings: Settings, *disabled_capabilities: str) -> Iterator[Walker]:
    """A walker over the accounts of a database, at servers whose capabilities are `disabled_capabilities`."""
    with db.connect(settings, "bench") as conn:
        walker = Walker(conn, settings, frozenset(disabled_capabilities))
        try:
            yield walker
        finally:
            walker.env.sessions.close()
