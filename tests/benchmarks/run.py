"""Run the benchmarks: ``python -m tests.benchmarks.run [messages ...]``, by default 10,000 and 100,000."""

from __future__ import annotations

import sys

from tests.benchmarks import first_sync
from tests.benchmarks.bench import servers


def main(sizes: list[int]) -> None:
    """Print a table a size."""
    with servers() as bench:
        for count in sizes:
            first_sync.run(bench, count)


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [10_000, 100_000])
