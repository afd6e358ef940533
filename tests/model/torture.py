"""Random stories of any length: ``python -m tests.model.torture [--actions N] [--seed S] [--pymap]``.

Without a seed, one is drawn and printed; the same seed gives the same stories. After a failure the shortest
story that fails is printed.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.clients import LISTS_AT_ONCE
from tests.model.machine import World, machine
from tests.support import postgres, run_directory
from tests.support.dovecot import Dovecot
from tests.support.pymap_server import Pymap


def main() -> None:
    """Run stories until the requested number of actions is reached."""
    parser = argparse.ArgumentParser(description="Random mail clients against the mirror, on a real server.")
    parser.add_argument("--actions", type=int, default=2_500, help="what clients do, at least (2,500)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="the same stories again")
    parser.add_argument("--steps", type=int, default=60, help="the length of a story (60)")
    parser.add_argument("--pymap", action="store_true", help="on pymap instead of Dovecot")
    parser.add_argument("--no-shrink", action="store_true", help="tell the first story that fails as it is")
    chosen = parser.parse_args()
    with world_of(chosen.pymap) as world:
        began = time.monotonic()
        print(f"seed {chosen.seed}", flush=True)
        number = chosen.seed
        try:
            while world.actions < chosen.actions:
                run(world, number, chosen.steps, shrink=not chosen.no_shrink)
                number += 1
                print(f"{world.actions:>6} actions, {time.monotonic() - began:.0f} s", flush=True)
        finally:
            report(world, time.monotonic() - began)
            print(f"To begin with these stories: --seed {number} --steps {chosen.steps}")


def run(world: World, number: int, steps: int, *, shrink: bool, examples: int = 10) -> None:
    """Run ten stories with one seed."""
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    how = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(seed(number)(machine(world)), settings=how)


def report(world: World, seconds: float) -> None:
    """Print how often each kind of action was done."""
    print(f"\n{world.actions} actions in {seconds:.0f} s")
    for kind, count in sorted(world.done.items()):
        print(f"{count:>6}  {kind}")
    print(f"{world.most_turns:>6}  turns until settled, at most")


@contextmanager
def world_of(pymap: bool) -> Iterator[World]:
    """The servers, of this run alone."""
    directory = run_directory.create()
    try:
        with postgres.server().new_database(template=None) as url:
            postgres.load_migrations(dbname=url.partition("?")[0].rpartition("/")[2])
            if pymap:
                server = Pymap()
                yield World(url, server, lambda: server.user)
            else:
                dovecot = Dovecot(settings=LISTS_AT_ONCE)
                yield World(url, dovecot, dovecot.new_user)
    finally:
        run_directory.remove(directory)


if __name__ == "__main__":
    main()
