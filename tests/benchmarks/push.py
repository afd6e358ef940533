"""Many parked sessions on one worker: what a quiet minute costs, and how fast a push becomes a row."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from mailsync.store import db
from tests.benchmarks.bench import Bench, note, table
from tests.benchmarks.push_crowd import Cost, PushedWorker, pushed_worker
from tests.support.habits import CAPABILITIES, Habits

ACCOUNTS = 1000
FOLDERS = ("INBOX", ("Sent", r"\Sent"), ("Archive", r"\Archive"))
RATES = (1, 10, 100)
MINUTE = 60.0
BURST = 20.0
"""Seconds for which messages arrive at one rate."""

_LONGEST_WAIT = 120.0
_LOOK_EVERY = 0.02
_EARLY_END = 61.0


def run(bench: Bench, count: int = ACCOUNTS, seconds: float = MINUTE, burst: float = BURST) -> None:
    """Print the tables."""
    with pushed_worker(bench, Habits(capabilities=CAPABILITIES + b" IDLE NOTIFY")) as worker:
        note(f"{count} accounts, each with {len(FOLDERS)} folders")
        is_smoke = seconds < MINUTE
        # sessions that end soon after they were opened wait for the next tick
        worker.begin(count, FOLDERS, parked=True, SYNC_INTERVAL="5s" if is_smoke else "60s")
        _quiet(worker, count, seconds)
        _wakes(worker, burst)
        _cut(worker, wait=not is_smoke)


def _quiet(worker: PushedWorker, count: int, seconds: float) -> None:
    rows = []
    for what, due in (
        ("no account is due", "interval '4 min'"),
        ("ticks every 5 min", "random() * interval '5 min'"),
    ):
        note(f"a quiet minute: {what}")
        with db.connect(worker.settings, "bench") as conn:
            conn.execute(f"update accounts set next_sync_at = now() + {due}".encode())
            conn.execute("select pg_notify('mailsync_wake', '')")
        time.sleep(2)
        with worker.measured() as cost:
            time.sleep(seconds)
            used = cost()
        rows.append((what, f"{used.cpu / used.seconds:.2%}", f"{used.transactions}", f"{used.commands}"))
    table(
        f"{count:,} parked sessions under TLS (NOTIFY): {seconds:.0f} quiet seconds of one worker",
        ("what", "of a core", "statements", "IMAP commands"),
        rows,
    )
    print(f"\nresident memory: {worker.memory:.0f} KB a session")


def _wakes(worker: PushedWorker, burst: float) -> None:
    rows = []
    for rate in RATES:
        note(f"{rate} wakes a second")
        messages = max(10, round(rate * burst))
        with worker.measured() as cost, _arrivals(worker) as seen:
            delays = _deliver(worker, rate, messages, seen)
            used = cost()
        delays.sort()
        rows.append(
            (
                f"{rate}",
                *(f"{delays[int((len(delays) - 1) * share)]:.2f} s" for share in (0.5, 0.95, 1.0)),
                *_each(used, messages),
            )
        )
    table(
        "From push to row",
        ("wakes a second", "median", "p95", "longest", "CPU", "statements", "IMAP commands"),
        rows,
    )


def _each(used: Cost, messages: int) -> tuple[str, str, str]:
    return (
        f"{used.cpu / messages * 1e3:.1f} ms",
        f"{used.transactions / messages:.1f}",
        f"{used.commands / messages:.1f}",
    )


Seen = dict[str, deque[float]]
"""When the rows of each account became visible."""


@contextmanager
def _arrivals(worker: PushedWorker) -> Iterator[Seen]:
    """Look for new rows all the time, as another client of the database would."""
    seen: Seen = {user.name: deque() for user in worker.users}
    over = threading.Event()

    def watch() -> None:
        # one transaction, so that it does not count among those of the worker
        with db.connect(worker.settings, "bench-watch") as conn, db.transaction(conn):
            query = (
                "select m.id, a.email from messages m join accounts a on a.id = m.account_id"
                " where m.id > %s order by m.id"
            )
            row = conn.execute("select coalesce(max(id), 0) from messages").fetchone()
            last = row[0] if row else 0
            ready.set()
            while not over.is_set():
                for message, email in conn.execute(query, [last]).fetchall():
                    seen[email].append(time.monotonic())
                    last = message
                over.wait(_LOOK_EVERY)

    ready = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    ready.wait()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _deliver(worker: PushedWorker, rate: int, messages: int, seen: Seen) -> list[float]:
    """Deliver messages, account by account; returns the seconds from each to its row."""
    sent: list[tuple[str, float]] = []
    began = time.monotonic()
    for number in range(messages):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        user = worker.users[number % len(worker.users)]
        sent.append((user.name, worker.server.deliver(user)))
    until = time.monotonic() + _LONGEST_WAIT
    while sum(map(len, seen.values())) < messages:
        if time.monotonic() > until:
            raise RuntimeError("some messages have not become rows")
        time.sleep(_LOOK_EVERY)
    return [seen[name].popleft() - at for name, at in sent]


def _cut(worker: PushedWorker, *, wait: bool) -> None:
    """Cut all connections at once; sessions that lived for a minute are opened again within 10 s."""
    if wait:
        time.sleep(_EARLY_END)
    states = "select email, sync_state, sync_state_since from accounts order by id"
    with db.connect(worker.settings, "bench") as conn:
        before = conn.execute(states).fetchall()
        note("all connections are cut")
        with worker.measured() as cost:
            cut = worker.server.cut_all()
            seconds = worker.wait_until_parked()
            figures, used = worker.server.figures(), cost()
        changed = sum(old != new for old, new in zip(before, conn.execute(states).fetchall(), strict=True))
    print(
        f"\n{cut} connections cut at once: all back after {seconds:.1f} s, {used.cpu:.1f} s of CPU,"
        f" at most {max(figures.logins.values())} login an account, {changed} states changed"
    )
