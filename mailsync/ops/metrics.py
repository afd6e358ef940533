"""The metrics as Prometheus text (SPEC §16): all figures from Postgres, for every account and every worker.

The worker's listener and the API's ``/metrics`` render the same. What each metric means stands in
``docs/metrics.rst``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest

from mailsync import __version__
from mailsync.store import metrics, turns
from mailsync.store.db import Connection

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

STATES = ("initial_sync", "healthy", "degraded", "broken", "paused")

COUNTERS = {
    "mailsync_messages_total": ("op", "Messages by what became of their rows."),
    "mailsync_imap_commands_total": ("command", "IMAP commands sent."),
    "mailsync_imap_errors_total": (
        "code",
        "What went wrong with mail servers, by turn or folder.",
    ),
    "mailsync_lock_busy_total": (None, "Times that an account's lock was not had."),
    "mailsync_throttle_yields_total": (None, "Turns that ended for want of IMAP commands."),
}
"""Name → its label, if it has one, and its help."""

HISTOGRAMS = {
    "mailsync_sync_duration_seconds": "How long turns took in which a mail server was talked to.",
    "mailsync_lock_wait_seconds": "How long it took to get an account's lock, or to find it busy.",
}


def render(conn: Connection) -> bytes:
    """All metrics as of now, in Prometheus' text format 0.0.4. Raises DatabaseUnavailable."""
    registry = CollectorRegistry()
    registry.register(_Collector(conn))
    return generate_latest(registry)


class _Collector:
    """What :mod:`prometheus_client` asks for the metrics of one scrape."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def describe(self) -> Iterator[Metric]:
        """Nothing: that would be asked for in advance, and cost a scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics, from three statements."""
        accounts = metrics.accounts(self._conn)
        counters = metrics.counters(self._conn)
        workers = turns.list_workers(self._conn)
        yield from _of_accounts(accounts)
        yield from _counters(counters)
        yield from _histograms(counters)
        age = GaugeMetricFamily(
            "mailsync_worker_heartbeat_age_seconds",
            "Seconds since a worker last said that it is alive.",
            labels=["worker"],
        )
        for worker in workers:
            age.add_metric([worker["worker"]], max(0.0, worker["heartbeat_age_seconds"]))
        yield age
        info = GaugeMetricFamily("mailsync_build_info", "The version; always 1.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info


def _of_accounts(accounts: list[metrics.AccountFigures]) -> Iterator[Metric]:
    states = Counter(account.state for account in accounts)
    by_state = GaugeMetricFamily("mailsync_accounts", "Accounts by state.", labels=["state"])
    for state in dict.fromkeys((*STATES, *states)):
        by_state.add_metric([state], states[state])
    lag = GaugeMetricFamily(
        "mailsync_account_lag_seconds",
        "Seconds since the account's folders were last compared with the server.",
        labels=["account_id", "scope"],
    )
    messages = GaugeMetricFamily("mailsync_messages", "Live messages.", labels=["account_id"])
    remaining = GaugeMetricFamily(
        "mailsync_backfill_remaining", "Messages that first syncs still have to fetch.", labels=["account_id"]
    )
    for account in accounts:
        key = str(account.account_id)
        for scope, seconds in (("priority", account.priority_lag), ("overall", account.overall_lag)):
            # a paused account is compared with nothing on purpose
            if seconds is not None and account.state != "paused":
                lag.add_metric([key, scope], max(0.0, seconds))
        messages.add_metric([key], account.messages)
        remaining.add_metric([key], account.backfill_remaining)
    yield from (by_state, lag, messages, remaining)


def _counters(counters: list[metrics.CounterValue]) -> Iterator[Metric]:
    for name, (label, text) in COUNTERS.items():
        family = CounterMetricFamily(name, text, labels=[label] if label else [])
        values = [counter for counter in counters if counter.name == name]
        for counter in values:
            family.add_metric([counter.labels.get(label, "")] if label else [], counter.value)
        if not values and not label:
            # a counter that has not counted yet is 0, not missing
            family.add_metric([], 0)
        yield family


def _histograms(counters: list[metrics.CounterValue]) -> Iterator[Metric]:
    for name, text in HISTOGRAMS.items():
        counted = {c.labels.get("le", "+Inf"): c.value for c in counters if c.name == f"{name}_bucket"}
        total = sum(c.value for c in counters if c.name == f"{name}_sum")
        buckets, below = [], 0.0
        # bounds of earlier versions count too, where they stand
        for bound in sorted({*counted, *(f"{b:g}" for b in metrics.BUCKETS[name]), "+Inf"}, key=float):
            below += counted.get(bound, 0.0)
            buckets.append((bound, below))
        yield HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
