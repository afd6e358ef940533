"""The embedded Postgres of an ordinary user, while root and others try to get in or stand in its way.

The tests run as root and become these users.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mailsync.cli.embedded.postgres import runtime_directory
from tests.acceptance.cli.embedded.test_local_users import postmaster
from tests.acceptance.cli.test_services import is_gone
from tests.support import run_directory
from tests.support.other_users import as_user, copied_package, give, open_to_others
from tests.support.programs import ROOT

pytestmark = pytest.mark.needs("root", "psql")


@pytest.fixture
def ordinary() -> Iterator[Path]:
    """A directory of the user nobody, in one that all can enter, with programs that all can run."""
    home = Path(tempfile.mkdtemp(dir=run_directory.current()))
    home.chmod(0o1777)
    copied_package(home)
    (home / "own").mkdir()
    give(home / "own", "nobody")
    yield home


class Ordinary:
    """The embedded Postgres of the user nobody, until it is closed."""

    def __init__(self, home: Path, name: str = ".mailsync") -> None:
        self.directory = home / "own" / name
        words = ["nobody", str(home / "packages"), str(self.directory)]
        self.process = run_directory.spawn(
            [sys.executable, "-m", "tests.support.as_ordinary_user", *words],
            cwd=ROOT, env={**os.environ, "TMPDIR": str(home)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdout
        self.said = self.process.stdout.readline().decode().strip()

    def close(self) -> int:
        self.process.communicate()
        return self.process.returncode


def test_nobody_gets_at_the_server_of_an_ordinary_user(ordinary: Path) -> None:
    server = Ordinary(ordinary)
    (host,) = parse_qs(urlsplit(server.said).query)["host"]
    assert open_to_others(Path(host)) == open_to_others(server.directory) == []
    denied = as_user("daemon", "psql", "-h", host, "-U", "postgres", "-c", "select 1", "postgres")
    assert "Permission denied" in denied.stderr
    # root passes every directory, so here it is only the server that refuses
    for user, role in (("root", "postgres"), ("root", "nobody"), ("root", "root")):
        done = as_user(user, "psql", "-h", host, "-U", role, "-c", "select 1", "postgres")
        assert (done.returncode, done.stdout) == (2, "")
        assert "Peer authentication failed" in done.stderr
    done = as_user("nobody", "psql", "-h", host, "-U", "postgres", "-Atc", "select 7", "postgres")
    assert done.stdout == "7\n"
    assert server.close() == 0


def test_a_lock_file_whose_number_is_another_process_by_now_is_in_nobodys_way(ordinary: Path) -> None:
    server = Ordinary(ordinary)
    postgres = postmaster(server.directory)
    server.process.kill()
    server.close()
    postgres.kill()
    run_directory.wait_until(lambda: is_gone(postgres.pid), "the end of Postgres")
    other = run_directory.spawn(["sleep", "1000"], user="nobody")
    try:
        file = server.directory / "postgres" / "postmaster.pid"
        file.write_text("\n".join([str(other.pid), *file.read_text().splitlines()[1:]]) + "\n")
        again = Ordinary(ordinary)
        assert again.said.startswith("postgresql://")
        assert again.close() == 0
        assert other.poll() is None
    finally:
        run_directory.end(other.pid)
        other.wait()


def test_a_directory_in_the_place_of_the_sockets_is_refused_if_somebody_else_made_it(
    ordinary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    monkeypatch.setattr(os, "getuid", os.geteuid)
    monkeypatch.setattr(tempfile, "tempdir", str(ordinary))
    # a directory whose name has a blank, so that the socket has to be elsewhere
    runtime = runtime_directory(ordinary / "own" / "a b")
    assert runtime.parent == ordinary
    runtime.mkdir(mode=0o777)
    give(runtime, "daemon")
    server = Ordinary(ordinary, "a b")
    assert server.said == (
        f"mailsync: {runtime}: not used, because it belongs to daemon; run this as daemon, or remove it,"
        " or set TMPDIR to a directory of your own"
    )
    assert server.close() == 2
    assert list(runtime.iterdir()) == []
