"""The embedded Postgres: the place of its socket, and the error when it does not start."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from mailsync.cli.embedded import postgres
from mailsync.cli.embedded.postgres import runtime_directory
from mailsync.cli.embedded.server import _failed
from mailsync.cli.embedded.user import HOME
from mailsync.errors import ConfigError


@pytest.mark.parametrize(
    ("directory", "inside"),
    [
        ("/home/ann/project/.mailsync", True),
        (f"/home/{'x' * 100}/.mailsync", False),
        ("/home/ann/my project/.mailsync", False),
        ("/home/ann/a,b/.mailsync", False),
    ],
)
def test_a_socket_is_in_the_directory_unless_its_path_is_too_long_or_odd(
    directory: str, inside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    runtime = runtime_directory(Path(directory))
    assert (runtime == Path(directory) / "run") is inside
    assert inside or runtime.parent == Path(tempfile.gettempdir())
    assert len(str(runtime / ".s.PGSQL.5432")) < 104


def test_a_socket_of_root_is_in_a_directory_of_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    first, second = (runtime_directory(Path(f"/root/{name}/.mailsync")) for name in "ab")
    assert first.parent == second.parent == HOME
    assert first != second


def test_a_missing_package_is_reported_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'mailsync\[embedded\]'"):
        postgres._programs()


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("LOG:  starting\nFATAL:  no space\nLOG:  database system is shut down\n", "FATAL: no space"),
        ("ok\ninitdb: error: could not\nremoving data directory\n", "initdb: error: could not"),
        ("one line\n", "one line"),
        ("\n", "it ended without a message"),
    ],
)
def test_a_server_that_does_not_start_is_reported_with_the_reason(output: str, reason: str) -> None:
    assert str(_failed(output)) == f"the embedded Postgres does not start: {reason}"
