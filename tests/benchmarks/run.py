"""Run the benchmarks: ``python -m tests.benchmarks.run [--only PART] [--smoke] [messages ...]``."""

from __future__ import annotations

import argparse
from functools import partial

from tests.benchmarks import bodies, capacity, first_sync, headers, lived_in, push, round_trips, scans, ticks
from tests.benchmarks.bench import servers
from tests.benchmarks.large import Sizes

PARTS = ("first-sync", "ticks", "push", "capacity", "round-trips", "lived-in", "headers", "bodies")


def main() -> None:
    """Print the tables of all parts, or of those that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run")
    parser.add_argument("sizes", type=int, nargs="*", help="messages of first syncs (10000 100000)")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of messages in lived-in")
    parser.add_argument("--rounds", type=int, default=3, help="of lived-in; the median is printed")
    parser.add_argument("--smoke", action="store_true", help="whether all of it runs: tiny sizes, no figures")
    given = parser.parse_args()
    parts = given.only or PARTS
    sizes = given.sizes or ([200] if given.smoke else [10_000, 100_000])
    lived = Sizes.scaled(0.01, 1) if given.smoke else Sizes.scaled(given.scale, given.rounds)
    with servers() as bench:
        if "first-sync" in parts:
            for count in sizes:
                first_sync.run(bench, count, partial(scans.run, bench, count=count))
        if "ticks" in parts:
            ticks.run(bench, *((4, 10) if given.smoke else ()))
        if "push" in parts:
            push.run(bench, *((20, 2.0, 2.0) if given.smoke else ()))
        if "capacity" in parts:
            capacity.run(bench, *((4, 1) if given.smoke else ()))
        if "round-trips" in parts:
            round_trips.run(*(((0.0,), 4) if given.smoke else ()))
        if "lived-in" in parts:
            lived_in.run(bench, lived)
    if "headers" in parts:
        headers.run()
    if "bodies" in parts:
        bodies.run(20 if given.smoke else 1000)


if __name__ == "__main__":
    main()
