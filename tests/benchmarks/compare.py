"""Compare two checkouts in one run: ``python -m tests.benchmarks.compare BEFORE AFTER``.

Both mirror the same mailbox of the same Dovecot into databases of the same Postgres. Each round runs
:mod:`tests.benchmarks.compared_turns` once in each checkout, with that checkout's own Python and code, in
alternating order. The table shows the best of the rounds, because other work on the machine only adds time,
and their ratio: above 1.00, AFTER is slower.
If the machine has other work, compare the CPU columns; they do not include Postgres.

The checkouts need a virtual environment in ``.venv`` each, and ``tests.benchmarks.turns``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.bench import Bench, environment, note, servers, table
from tests.support.dovecot import User

DRIVER = Path(__file__).with_name("compared_turns.py")

Figures = dict[str, list[tuple[float, float]]]
"""Wall and CPU seconds of each round, by case."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare")
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="another checkout")
    parser.add_argument("--messages", type=int, default=20_000, help="in the mailbox (20000)")
    parser.add_argument("--rounds", type=int, default=7, help="of which the best is shown (7)")
    given = parser.parse_args()
    checkouts = (given.before.resolve(), given.after.resolve())
    with servers() as bench, ExitStack() as stack:
        user = bench.mailbox(given.messages)
        urls = [stack.enter_context(bench.postgres.new_database(template=None)) for _ in checkouts]
        sides = [_Side(bench, user, *side) for side in zip(checkouts, urls, strict=True)]
        figures: list[Figures] = [defaultdict(list), defaultdict(list)]
        for number in range(given.rounds + 1):
            for i in (0, 1) if number % 2 else (1, 0):
                note(f"round {number} of {given.rounds}: {checkouts[i]}")
                measured = sides[i].measure(given.messages)
                # the first round warms the server's cache
                if number:
                    for case, seconds in measured.items():
                        figures[i][case].append(seconds)
    _print(figures[0], figures[1], given.messages, given.rounds)


class _Side:
    """A checkout with a database of its own, in which the mailbox is an account."""

    def __init__(self, bench: Bench, user: User, checkout: Path, url: str) -> None:
        self._python = str(checkout / ".venv" / "bin" / "python")
        self._checkout = checkout
        self._variables = environment(url) | {"PYTHONPATH": str(checkout)}
        self._run("-m", "mailsync", "migrate")
        self._run(
            "-m", "mailsync", "add-account", user.name, "--host", bench.dovecot.host,
            "--port", str(bench.dovecot.port), "--security", "plaintext", "--username", user.name,
            "--password-stdin", "--no-verify",
            text=user.password + "\n",
        )  # fmt: skip

    def measure(self, messages: int) -> dict[str, tuple[float, float]]:
        """One round; wall and CPU seconds by case."""
        lines = self._run(str(DRIVER), str(messages)).splitlines()
        return {case: (wall, cpu) for case, wall, cpu in json.loads(lines[-1])}

    def _run(self, *args: str, text: str = "") -> str:
        done = subprocess.run(
            [self._python, *args],
            cwd=self._checkout,
            env=self._variables,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(args)} failed in {self._checkout}: {done.stderr}")
        return done.stdout


def _print(before: Figures, after: Figures, messages: int, rounds: int) -> None:
    rows = []
    for case in before:
        row = [case]
        for i in (0, 1):
            old, new = (min(seconds[i] for seconds in side[case]) for side in (before, after))
            row += [f"{old * 1e3:,.1f} ms", f"{new * 1e3:,.1f} ms", f"{new / old:.3f}"]
        rows.append(row)
    heads = ("what", "wall before", "after", "ratio", "CPU before", "after", "ratio")
    table(f"Two checkouts, {messages:,} messages, best of {rounds} rounds", heads, rows)


if __name__ == "__main__":
    main()
