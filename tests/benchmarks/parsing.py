"""Compare the parsing of two checkouts: ``python -m tests.benchmarks.parsing BEFORE AFTER``.

Each round reads the same headers and messages in each checkout, with that checkout's own Python and code,
in alternating order. The table shows the best CPU time of the rounds, because other work on the machine only
adds time, and their ratio: above 1.00, AFTER is slower. The checkouts need a virtual environment in ``.venv``
each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

from tests.benchmarks import bodies
from tests.benchmarks.bench import note, table
from tests.support.header_blocks import varied_blocks

DRIVER = Path(__file__).with_name("compared_parsing.py")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.parsing")
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another checkout")
    parser.add_argument("--messages", type=int, default=500, help="of each kind (500)")
    parser.add_argument("--rounds", type=int, default=10, help="of which the best is shown (10)")
    given = parser.parse_args()
    checkouts = (given.before.resolve(), given.after.resolve())
    corpus = {
        "headers": varied_blocks(4 * given.messages, seed=2),
        "structures": bodies.structures(10 * given.messages),
        **bodies.corpus(given.messages),
    }
    figures: list[dict[str, list[float]]] = [defaultdict(list), defaultdict(list)]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "corpus.json"
        text = {case: [raw.decode("latin-1") for raw in raws] for case, raws in corpus.items()}
        path.write_text(json.dumps(text), "ascii")
        for number in range(given.rounds):
            note(f"round {number + 1} of {given.rounds}")
            for i in (0, 1) if number % 2 else (1, 0):
                for case, seconds in _measure(checkouts[i], path).items():
                    figures[i][case].append(seconds)
    _print({case: len(raws) for case, raws in corpus.items()}, figures[0], figures[1])


def _measure(checkout: Path, corpus: Path) -> dict[str, float]:
    done = subprocess.run(
        [str(checkout / ".venv" / "bin" / "python"), str(DRIVER), str(corpus)],
        cwd=checkout,
        env={"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{DRIVER.name} failed in {checkout}: {done.stderr}")
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def _print(counts: dict[str, int], before: dict[str, list[float]], after: dict[str, list[float]]) -> None:
    rows = []
    for case, count in counts.items():
        old, new = min(before[case]), min(after[case])
        rows.append(
            [case, f"{old / count * 1e6:,.1f} µs", f"{new / count * 1e6:,.1f} µs", f"{new / old:.3f}"]
        )
    table("Parsing in two checkouts, CPU time a message", ("what", "before", "after", "ratio"), rows)


if __name__ == "__main__":
    main()
