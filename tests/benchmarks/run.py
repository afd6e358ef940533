"""Run the benchmarks: ``python -m tests.benchmarks.run [messages ...]``, by default 10,000 and 100,000."""

from __future__ import annotations

import sys
from functools import partial

from tests.benchmarks import first_sync, scans, ticks
from tests.benchmarks.bench import servers


def main(sizes: list[int]) -> None:
    """Print a table of the first sync and one of the scans a size, then the one of the quiet tick."""
    with servers() as bench:
        for count in sizes:
            first_sync.run(bench, count, partial(scans.run, bench, count=count))
        ticks.run(bench)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
