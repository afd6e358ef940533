"""The embedded Postgres of ``demo`` and ``dev`` on a machine that is slow to start it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mailsync.cli import embedded
from mailsync.errors import DatabaseUnavailable

DATA = Path("/nowhere")


def package(*ends: Exception | str) -> SimpleNamespace:
    """A package whose attempts to start the server end so."""
    attempts = iter(ends)

    def get_server(data: Path, cleanup_mode: str) -> str:
        end = next(attempts)
        if isinstance(end, Exception):
            raise end
        return end

    return SimpleNamespace(get_server=get_server, PostgresServer=SimpleNamespace(_instances={}))


def too_late() -> Exception:
    return subprocess.TimeoutExpired("pg_ctl", 10)


def test_a_server_that_takes_longer_to_start_than_its_package_waits_is_waited_for() -> None:
    slow = package(too_late(), AssertionError(), "the server")
    assert embedded._start(slow, DATA) == "the server"


@pytest.mark.parametrize("error", [too_late, lambda: OSError("no space left")], ids=["never", "at once"])
def test_a_server_that_does_not_start_is_said_with_the_reason(
    error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_START_WITHIN", 0.0)
    with pytest.raises(DatabaseUnavailable, match=r"does not start: .*(pg_ctl|no space left)"):
        embedded._start(package(error(), "too late"), DATA)
