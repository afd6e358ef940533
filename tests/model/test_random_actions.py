"""Random actions of several mail clients: whatever they do, the mirror equals the server."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import World, machine
from tests.servers.dovecot import Dovecot


def ci(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.long
def test_the_mirror_stays_true_to_dovecot(dovecot: Dovecot, database_url: str) -> None:
    world = World(database_url, dovecot, dovecot.new_user)
    run_state_machine_as_test(machine(world), settings=ci(examples=8, steps=60))
    print(world)
    assert world.actions >= 300, world.done
