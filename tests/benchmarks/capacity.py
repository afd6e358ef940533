"""How many accounts one worker can tick in time, by what their server offers and by the round trip to it.

A worker takes one turn after another, so its capacity is the interval of the ticks divided by the seconds of
one quiet tick. Those are measured on some accounts, all due at once.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mailsync.store import db
from tests.benchmarks.bench import Bench, note, table
from tests.benchmarks.push_crowd import PushedWorker, pushed_worker
from tests.support.habits import CAPABILITIES, Habits
from tests.support.profiles import exchange_online

ACCOUNTS, ROUNDS = 50, 3
ROUND_TRIPS = (0.0, 0.02, 0.05)
PUSHED_TICK, TICK = 300.0, 60.0
"""The defaults of ``PUSHED_SYNC_INTERVAL`` and ``SYNC_INTERVAL`` in seconds."""

_FIFTEEN = ("INBOX", ("Sent", r"\Sent"), ("Archive", r"\Archive"), *(f"Folder {n}" for n in range(12)))
_EXCHANGE = exchange_online()


@dataclass(frozen=True)
class Kind:
    """One kind of server: what it offers, its folders, and how often its accounts are ticked: seconds."""

    name: str
    habits: Habits
    folders: Sequence[str | Sequence[str]]
    tick: float
    is_parked: bool = True


KINDS = (
    Kind("NOTIFY", Habits(capabilities=CAPABILITIES + b" IDLE NOTIFY"), _FIFTEEN, PUSHED_TICK),
    Kind("LIST-STATUS, IDLE", Habits(capabilities=CAPABILITIES + b" IDLE"), _FIFTEEN, TICK),
    Kind("LIST-STATUS, no IDLE", Habits(capabilities=CAPABILITIES), _FIFTEEN, TICK, is_parked=False),
    Kind("as Exchange Online", _EXCHANGE.habits, _EXCHANGE.folders, TICK),
)


def run(bench: Bench, count: int = ACCOUNTS, rounds: int = ROUNDS) -> None:
    """Print the table."""
    rows = []
    for kind in KINDS:
        with pushed_worker(bench, kind.habits) as worker:
            note(f"{kind.name}: {count} accounts with {len(kind.folders)} folders each")
            # only the ticks that are asked for: none by the clock
            worker.begin(
                count, kind.folders, parked=kind.is_parked, SYNC_INTERVAL="1h", PUSHED_SYNC_INTERVAL="1h",
            )  # fmt: skip
            row = [kind.name]
            for latency in ROUND_TRIPS:
                worker.server.set_latency(latency)
                ticks = [_tick(worker, count) for _ in range(rounds)]
                seconds = statistics.median(seconds for seconds, _ in ticks)
                row += [f"{seconds * 1e3:.1f} ms", f"{kind.tick / seconds:,.0f}"]
            row.append(f"{ticks[-1][1]:.1f}")
            worker.server.set_latency(0.0)
            rows.append(row)
    heads = ["the server offers"]
    for latency in ROUND_TRIPS:
        heads += [f"tick at {latency * 1e3:.0f} ms", "accounts"]
    table("Accounts that one worker ticks in time, by the round trip", (*heads, "commands"), rows)


def _tick(worker: PushedWorker, count: int) -> tuple[float, float]:
    """Tick all accounts once; returns the seconds and the IMAP commands of one account."""
    with db.connect(worker.settings, "bench") as conn:
        row = conn.execute("select clock_timestamp()").fetchone()
        assert row
        conn.execute("update accounts set next_discovery_at = now() + interval '14 min'")
        # without CONDSTORE, MAX_FLAG_SCANS_PER_CYCLE of the priority folders are due in each tick
        conn.execute("update folders set next_flag_scan_at = now()")
        with worker.measured() as cost:
            conn.execute("update accounts set next_sync_at = now()")
            conn.execute("select pg_notify('mailsync_wake', '')")
            done = f"last_sync_started_at > '{row[0].isoformat()}' and not currently_syncing"
            worker.wait_until(f"select count(*) = {count} from accounts where {done}")
            commands = cost().commands
        span = conn.execute(
            "select extract(epoch from max(last_sync_finished_at) - min(last_sync_started_at))::float8"
            " from accounts"
        ).fetchone()
        assert span
        return span[0] / count, commands / count
