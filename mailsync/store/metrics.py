"""The figures behind the metrics (SPEC §16): counters that outlive processes, and the accounts as of now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mailsync.store.db import Connection
from mailsync.store.statements import run

BUCKETS: Mapping[str, tuple[float, ...]] = {
    "mailsync_sync_duration_seconds": (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    "mailsync_lock_wait_seconds": (0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30),
}
"""The histograms and the upper bounds of their buckets, in seconds.

In ``metric_counters`` each bucket counts only what is above the one before; readers add up.
"""


class AccountFigures(NamedTuple):
    """An account's figures as of now; lags in seconds, None where nothing was ever compared."""

    account_id: int
    state: str
    priority_lag: float | None
    overall_lag: float | None
    messages: int
    backfill_remaining: int


class StateFigures(NamedTuple):
    """The accounts of one state: how many, and the worst of their lags in seconds (None if paused)."""

    state: str
    accounts: int
    priority_lag: float | None
    overall_lag: float | None


class CounterValue(NamedTuple):
    """One row of ``metric_counters``."""

    name: str
    labels: dict[str, str]
    value: float


def add(conn: Connection, sums: Iterable[tuple[str, str, float]]) -> None:
    """Add to counters: name, labels as JSON text, value; a counter begins at 0."""
    rows = [{"name": name, "labels": json.loads(labels), "value": value} for name, labels, value in sums]
    run(conn, "add_to_counters", sums=json.dumps(rows))


def counters(conn: Connection) -> list[CounterValue]:
    """All counters."""
    return [CounterValue(*row) for row in run(conn, "read_counters")]


def accounts(conn: Connection) -> list[AccountFigures]:
    """The figures of all accounts but removed ones."""
    return [AccountFigures(*row) for row in run(conn, "read_account_figures")]


def states(conn: Connection) -> list[StateFigures]:
    """The accounts by state, as of now; states that none has are not among them."""
    return [StateFigures(*row) for row in run(conn, "read_state_figures")]


def only_read(conn: Connection) -> None:
    """Let Postgres refuse, from now on, whatever this connection would write."""
    run(conn, "only_read")
