"""The embedded Postgres of an ordinary user, while root and others try to connect or to block it.

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
    """A directory that all can enter, with programs that all can run and a directory of the user nobody."""
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
        self.first_line = self.process.stdout.readline().decode().strip()

    def close(self) -> int:
        self.process.communicate()
        return self.process.returncode


def test_no_other_user_reaches_the_server_of_an_ordinary_user(ordinary: Path) -> None:
    server = Ordinary(ordinary)
    (host,) = parse_qs(urlsplit(server.first_line).query)["host"]
    assert open_to_others(Path(host)) == open_to_others(server.directory) == []
    denied = as_user("daemon", "psql", "-h", host, "-U", "postgres", "-c", "select 1", "postgres")
    assert "Permission denied" in denied.stderr
    # Root passes every directory, so only the server refuses it.
    for user, role in (("root", "postgres"), ("root", "nobody"), ("root", "root")):
        done = as_user(user, "psql", "-h", host, "-U", role, "-c", "select 1", "postgres")
        assert (done.returncode, done.stdout) == (2, "")
        assert "Peer authentication failed" in done.stderr
    done = as_user("nobody", "psql", "-h", host, "-U", "postgres", "-Atc", "select 7", "postgres")
    assert done.stdout == "7\n"
    assert server.close() == 0


def test_a_lock_file_with_the_process_id_of_another_process_is_removed(ordinary: Path) -> None:
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
        assert again.first_line.startswith("postgresql://")
        assert again.close() == 0
        assert other.poll() is None
    finally:
        run_directory.end(other.pid)
        other.wait()


def test_a_socket_directory_that_another_user_made_is_refused(
    ordinary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    monkeypatch.setattr(os, "getuid", os.geteuid)
    monkeypatch.setattr(tempfile, "tempdir", str(ordinary))
    # The name has a blank, so the socket has to be elsewhere.
    runtime = runtime_directory(ordinary / "own" / "a b")
    assert runtime.parent == ordinary
    runtime.mkdir(mode=0o777)
    give(runtime, "daemon")
    server = Ordinary(ordinary, "a b")
    assert server.first_line == (
        f"mailsync: {runtime}: not used, because it belongs to daemon; run this as daemon, or remove it,"
        " or set TMPDIR to a directory of your own"
    )
    assert server.close() == 2
    assert list(runtime.iterdir()) == []
