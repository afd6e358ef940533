"""Random actions of several mail clients: whatever they do, the mirror equals the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.clients import LISTS_AT_ONCE
from tests.model.machine import World, machine
from tests.support.dovecot import Dovecot
from tests.support.pymap_server import Pymap


def tell(world: World, stories: int) -> None:
    """Let random stories play; the same ones every time."""
    how = settings(
        max_examples=stories,
        stateful_step_count=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine(world), settings=how)


@pytest.mark.long
def test_the_mirror_stays_true_to_dovecot(dovecot_with: Callable[..., Dovecot], database_url: str) -> None:
    server = dovecot_with(settings=LISTS_AT_ONCE)
    world = World(database_url, server, server.new_user)
    tell(world, stories=14)
    assert world.actions >= 300, world.done
    assert world.most_turns <= 16


@pytest.mark.long
def test_the_mirror_stays_true_to_pymap(pymap: Pymap, database_url: str) -> None:
    world = World(database_url, pymap, lambda: pymap.user)
    tell(world, stories=6)
    assert world.actions >= 100, world.done
