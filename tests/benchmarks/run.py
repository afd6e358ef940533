"""Run the benchmarks: ``python -m tests.benchmarks.run [messages ...]``, by default 10,000 and 100,000."""

from __future__ import annotations

import sys
from functools import partial

from tests.benchmarks import first_sync, headers, scans, ticks
from tests.benchmarks.bench import servers


def main(sizes: list[int]) -> None:
    """Print tables of the first sync and the scans for each size, then the quiet tick and header parsing."""
    with servers() as bench:
        for count in sizes:
            first_sync.run(bench, count, partial(scans.run, bench, count=count))
        ticks.run(bench)
    headers.run()


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
