"""Renders the metrics of all accounts and workers, read from Postgres, as Prometheus text (SPEC §16).

The worker's metrics server and the API's ``/metrics`` return the same text. Each metric is described in
``docs/reference/metrics.rst``.
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

KINDS_OF_PUSH = ("notify", "idle")

STATES = ("initial_sync", "healthy", "degraded", "broken", "paused")

COUNTERS = {
    "mailsync_messages_total": ("op", "Messages by what happened to their rows."),
    "mailsync_imap_commands_total": ("command", "IMAP commands sent."),
    "mailsync_imap_errors_total": (
        "code",
        "Errors of mail servers, counted per turn or folder.",
    ),
    "mailsync_lock_busy_total": (None, "Failed attempts to acquire an account's lock."),
    "mailsync_push_wakes_total": ("kind", "Turns that began because a mail server reported a change."),
    "mailsync_token_renewals_total": ("provider", "Access tokens that were renewed."),
    "mailsync_token_renewal_failures_total": ("provider", "Failed attempts to renew an access token."),
    "mailsync_throttle_yields_total": (
        None,
        "Turns that ended because the account had used up its IMAP commands.",
    ),
}
"""By name: the label, if there is one, and the help text."""

HISTOGRAMS = {
    "mailsync_arrival_seconds": "Time from a new message's INTERNALDATE to the commit of its row.",
    "mailsync_sync_duration_seconds": "Duration of turns that contacted a mail server.",
    "mailsync_lock_wait_seconds": "Time to acquire an account's lock, or to give up because it is busy.",
}


def render(conn: Connection) -> bytes:
    """The current metrics in Prometheus' text format 0.0.4. Raises DatabaseUnavailable."""
    registry = CollectorRegistry()
    registry.register(_Collector(conn))
    return generate_latest(registry)


class _Collector:
    """Collects the metrics of one scrape for :mod:`prometheus_client`."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def describe(self) -> Iterator[Metric]:
        """Describe nothing: without this, registering the collector would read all metrics once."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read all metrics with three statements."""
        accounts = metrics.accounts(self._conn)
        counters = metrics.counters(self._conn)
        workers = turns.list_workers(self._conn)
        yield from _account_metrics(accounts)
        yield from _counters(counters)
        yield from _histograms(counters)
        age = GaugeMetricFamily(
            "mailsync_worker_heartbeat_age_seconds",
            "Seconds since the worker's last heartbeat.",
            labels=["worker"],
        )
        for worker in workers:
            age.add_metric([worker["worker"]], max(0.0, worker["heartbeat_age_seconds"]))
        yield age
        info = GaugeMetricFamily(
            "mailsync_build_info", "Always 1; the version is a label.", labels=["version"]
        )
        info.add_metric([__version__], 1)
        yield info


def _account_metrics(accounts: list[metrics.AccountFigures]) -> Iterator[Metric]:
    states = Counter(account.state for account in accounts)
    by_state = GaugeMetricFamily("mailsync_accounts", "Accounts by state.", labels=["state"])
    for state in dict.fromkeys((*STATES, *states)):
        by_state.add_metric([state], states[state])
    listened_to = Counter(account.push for account in accounts)
    sessions = GaugeMetricFamily(
        "mailsync_push_sessions", "Sessions by which workers listen between turns.", labels=["kind"]
    )
    for kind in KINDS_OF_PUSH:
        sessions.add_metric([kind], listened_to[kind])
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
            # a paused account is not compared on purpose
            if seconds is not None and account.state != "paused":
                lag.add_metric([key, scope], max(0.0, seconds))
        messages.add_metric([key], account.messages)
        remaining.add_metric([key], account.backfill_remaining)
    yield from (by_state, sessions, lag, messages, remaining)


def _counters(counters: list[metrics.CounterValue]) -> Iterator[Metric]:
    for name, (label, text) in COUNTERS.items():
        family = CounterMetricFamily(name, text, labels=[label] if label else [])
        values = [counter for counter in counters if counter.name == name]
        for counter in values:
            family.add_metric([counter.labels.get(label, "")] if label else [], counter.value)
        if not values and not label:
            # a counter without a value yet is 0, not missing
            family.add_metric([], 0)
        yield family


def _histograms(counters: list[metrics.CounterValue]) -> Iterator[Metric]:
    for name, text in HISTOGRAMS.items():
        counted = {c.labels.get("le", "+Inf"): c.value for c in counters if c.name == f"{name}_bucket"}
        total = sum(c.value for c in counters if c.name == f"{name}_sum")
        buckets, cumulative = [], 0.0
        # also includes bounds that earlier versions used
        for bound in sorted({*counted, *(f"{b:g}" for b in metrics.BUCKETS[name]), "+Inf"}, key=float):
            cumulative += counted.get(bound, 0.0)
            buckets.append((bound, cumulative))
        yield HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
