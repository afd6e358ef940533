"""The values behind the metrics (SPEC §16): counters that outlive processes, and accounts by state."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from mailsync.store import records
from mailsync.store.db import Connection
from mailsync.store.statements import run

BUCKETS: Mapping[str, tuple[float, ...]] = {
    "mailsync_arrival_seconds": (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
    "mailsync_sync_duration_seconds": (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
    "mailsync_lock_wait_seconds": (0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30),
}
"""The histograms and the upper bounds of their buckets, in seconds.

In ``metric_counters`` a bucket counts only values above the previous bound; readers add the buckets up.
"""


class AccountFigures(NamedTuple):
    """An account's values; lags are in seconds, None if nothing was ever compared.

    ``push`` is how a worker listens to it: ``notify``, ``idle`` or ``none``.
    """

    account_id: int
    state: str
    priority_lag: float | None
    overall_lag: float | None
    messages: int
    backfill_remaining: int
    push: str


class StateFigures(NamedTuple):
    """The number of accounts in a state, and their greatest lags in seconds (None if paused)."""

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
    """Add to counters, each given as name, labels (JSON text) and value. A counter begins at 0."""
    rows = [{"name": name, "labels": json.loads(labels), "value": value} for name, labels, value in sums]
    run(conn, "add_to_counters", sums=json.dumps(rows))


def counters(conn: Connection) -> list[CounterValue]:
    """All counters."""
    return records.all_rows(CounterValue, run(conn, "read_counters"))


def accounts(conn: Connection) -> list[AccountFigures]:
    """The values of all accounts that are not being removed."""
    return records.all_rows(AccountFigures, run(conn, "read_account_figures"))


def states(conn: Connection) -> list[StateFigures]:
    """The accounts by state, without states that no account has."""
    return records.all_rows(StateFigures, run(conn, "read_state_figures"))


def refuse_writes(conn: Connection) -> None:
    """Make Postgres refuse all further writes of this connection."""
    run(conn, "only_read")
