"""Other users while root runs ``demo`` and ``dev``: they see nothing, and no directory is opened to them.

The tests run as root and become these users.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from mailsync.cli.embedded.postgres import _programs, runtime_directory
from mailsync.cli.embedded.user import FORMER_NAME, HOME, NAME
from tests.acceptance.cli.test_services import is_gone, wait_for_both
from tests.support import planted, run_directory
from tests.support.other_users import STRANGERS, as_user, copied_package, give, modes, open_to_others
from tests.support.programs import ROOT, Mailsync, Running

pytestmark = pytest.mark.needs("root", "psql")


@pytest.fixture
def project(mailsync: Mailsync) -> Iterator[Path]:
    """A project directory below one that is closed to other users; only a port is set for ``dev``."""
    closed = Path(tempfile.mkdtemp(dir=run_directory.current()))
    home = closed / "project"
    home.mkdir(mode=0o755)
    mailsync.directory = home
    for name in ("DATABASE_URL", "IMAP_ENCRYPTION_KEY", "API_TOKEN"):
        del mailsync.environment[name]
    mailsync.environment["TMPDIR"] = str(closed)
    yield home
    shutil.rmtree(runtime_directory(home / ".mailsync"), ignore_errors=True)


def dev(mailsync: Mailsync, **env: str) -> Running:
    running = mailsync.start("dev", "--skip-preflight", PORT=str(run_directory.free_port()), **env)
    wait_for_both(running)
    for name in ("key", "token"):
        planted.keep((mailsync.directory / ".mailsync" / name).read_text().strip())
    return running


def end(running: Running) -> None:
    running.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.output


def postmaster(directory: Path) -> psutil.Process:
    return psutil.Process(int((directory / "postgres" / "postmaster.pid").read_text().split()[0]))


def socket_of(directory: Path) -> Path:
    (url,) = (
        line for line in (directory / "env").read_text().splitlines() if line.startswith("DATABASE_URL=")
    )
    (host,) = parse_qs(urlsplit(url.partition("=")[2]).query)["host"]
    return Path(host)


def assert_closed(directory: Path, socket: Path) -> None:
    """Only root can read the directory and connect to the server with that socket."""
    assert open_to_others(directory) == []
    runtime = runtime_directory(directory)
    assert socket.parent == runtime
    assert open_to_others(runtime, 0o007) == []
    assert open_to_others(socket) == []
    for user in STRANGERS:
        for path in (directory, directory / "postgres", runtime, socket, HOME):
            assert "Permission denied" in as_user(user, "ls", path).stderr
        for path in (directory / "env", directory / "token", runtime / "pg_hba.conf"):
            assert "Permission denied" in as_user(user, "cat", path).stderr
    # The server's own user reaches the socket, and Postgres refuses it. Strangers do not get that far.
    for user, reason in (
        (NAME, "Peer authentication failed"),
        *((stranger, "Permission denied") for stranger in STRANGERS),
    ):
        for role in ("postgres", "root", user):
            done = as_user(user, "psql", "-h", socket, "-U", role, "-c", "select 1", "postgres")
            assert done.returncode == 2, done
            assert reason in done.stderr
    server = postmaster(directory)
    assert server.username() == NAME
    assert [conn for conn in server.net_connections("inet") if conn.status == psutil.CONN_LISTEN] == []
    assert not {"API_TOKEN", "IMAP_ENCRYPTION_KEY", "HOME"} & set(server.environ())


def test_dev_of_root_opens_no_directory_and_lets_no_other_user_in(mailsync: Mailsync, project: Path) -> None:
    looked_at = (project, _programs(), HOME.parent)
    before = modes(*looked_at)
    running = dev(mailsync)
    made = project / ".mailsync"
    socket = socket_of(made)
    assert_closed(made, socket)
    with psycopg.connect(host=str(socket), user="postgres", dbname="postgres") as conn:
        assert conn.execute("select count(*) from mailsync.accounts").fetchone() == (0,)
    assert mailsync("list-accounts").returncode == 0
    end(running)
    assert "database system is shut down" in (made / "postgres.log").read_text().splitlines()[-1]
    assert modes(*looked_at) == before
    assert not runtime_directory(made).exists()


@pytest.mark.long
def test_the_demo_of_root_opens_no_directory_and_lets_no_other_user_in(
    mailsync: Mailsync, project: Path
) -> None:
    looked_at = (project, _programs(), HOME.parent)
    before = modes(*looked_at)
    running = mailsync.start("demo", "--serve", PORT=str(run_directory.free_port()))
    wait_for_both(running)
    (directory,) = project.parent.glob("mailsync-demo-*")
    planted.keep((directory / "token").read_text())
    runtime = runtime_directory(directory)
    (directory / "env").touch(mode=0o600)
    assert_closed(directory, runtime / "socket")
    end(running)
    assert modes(*looked_at) == before
    assert not runtime.exists()
    assert not directory.exists()


def test_a_package_that_only_root_reaches_is_copied_and_stays_closed(
    mailsync: Mailsync, project: Path
) -> None:
    packages = copied_package(project.parent)
    before = modes(*packages.rglob("*"), project)
    running = dev(mailsync, PYTHONPATH=f"{packages}:{ROOT}")
    runtime = runtime_directory(project / ".mailsync")
    assert postmaster(project / ".mailsync").exe().startswith(f"{runtime / 'programs'}/")
    assert open_to_others(runtime / "programs", 0o022) == []
    for user in STRANGERS:
        assert "Permission denied" in as_user(user, "ls", runtime / "programs").stderr
    end(running)
    assert modes(*packages.rglob("*"), project) == before
    assert not runtime.exists()


@pytest.mark.long
def test_two_of_root_in_different_directories_have_a_server_each(mailsync: Mailsync, project: Path) -> None:
    first = dev(mailsync)
    other = project.parent / "other"
    other.mkdir()
    mailsync.directory = other
    second = dev(mailsync)
    sockets = {socket_of(home / ".mailsync") for home in (project, other)}
    assert len(sockets) == 2
    end(first)
    assert mailsync("list-accounts").returncode == 0
    end(second)


@pytest.mark.long
def test_a_killed_dev_and_its_killed_server_do_not_hinder_the_next(mailsync: Mailsync, project: Path) -> None:
    running = dev(mailsync)
    server = postmaster(project / ".mailsync")
    running.kill9()
    server.kill()
    run_directory.wait_until(lambda: is_gone(server.pid), "the end of Postgres")
    again = dev(mailsync)
    assert_closed(project / ".mailsync", socket_of(project / ".mailsync"))
    end(again)


# -- earlier releases ------------------------------------------------------------------------------------


@pytest.fixture
def earlier(mailsync: Mailsync, project: Path) -> Path:
    """The files of an earlier release of ``dev``: they belong to the user pgserver, and all can read them."""
    if subprocess.run(["id", FORMER_NAME], capture_output=True, check=False).returncode:
        subprocess.run(["useradd", "--shell", "/bin/bash", FORMER_NAME], check=True)
    running = dev(mailsync)
    with psycopg.connect(
        host=str(socket_of(project / ".mailsync")), user="postgres", autocommit=True
    ) as conn:
        conn.execute("create table kept as select 7 as number")
    end(running)
    made = project / ".mailsync"
    give(made / "postgres", FORMER_NAME)
    (made / "postgres" / "pg_hba.conf").write_text("local all all trust\n")
    made.chmod(0o755)
    project.parent.chmod(0o755)
    (made / "postgres.lock").unlink()
    return made


def test_data_of_an_earlier_release_is_taken_over_and_closed(mailsync: Mailsync, earlier: Path) -> None:
    roots = earlier.parent / "roots"
    roots.write_text("of root")
    # The former user can make this link where the system allows links to files of other users.
    os.link(roots, earlier / "postgres" / "pg_link")
    running = dev(mailsync)
    assert_kept(earlier)
    assert roots.stat().st_uid == 0
    owners = {path.lstat().st_uid for path in (earlier / "postgres").rglob("*") if path.name != "pg_link"}
    assert owners == {pwd.getpwnam(NAME).pw_uid}
    (earlier / "postgres" / "pg_link").unlink()
    assert_closed(earlier, socket_of(earlier))
    end(running)


def test_a_server_that_an_earlier_release_left_running_is_replaced(mailsync: Mailsync, earlier: Path) -> None:
    data = earlier / "postgres"
    packages = copied_package(Path(tempfile.mkdtemp(dir=run_directory.current())))
    packages.parent.chmod(0o755)
    (program,) = packages.glob("*/*/bin/postgres")
    old = run_directory.spawn(
        [str(program), "-D", str(data), "-h", "", "-k", str(data)],
        user=FORMER_NAME, group=FORMER_NAME, extra_groups=[], cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    socket = data / ".s.PGSQL.5432"
    run_directory.wait_until(socket.exists, "the earlier release's server")
    running = dev(mailsync)
    # It crashes, because it no longer reaches its files by their paths. No commit is lost.
    old.wait(run_directory.PATIENCE)
    assert not socket.exists()
    assert_kept(earlier)
    assert_closed(earlier, socket_of(earlier))
    end(running)


def assert_kept(made: Path) -> None:
    with psycopg.connect(host=str(socket_of(made)), user="postgres") as conn:
        assert conn.execute("select number from kept").fetchone() == (7,)


# -- files of others -------------------------------------------------------------------------------------


def test_a_directory_of_another_user_is_refused_in_one_line(mailsync: Mailsync, project: Path) -> None:
    made = project / ".mailsync"
    made.mkdir()
    give(made, "nobody")
    refuse(mailsync, ".mailsync: not used, because it belongs to nobody; run this as nobody, or remove it")
    made.rmdir()
    target = project.parent / "target"
    target.mkdir(mode=0o755)
    made.symlink_to(target)
    os.chown(made, pwd.getpwnam("nobody").pw_uid, -1, follow_symlinks=False)
    refuse(mailsync, ".mailsync: not used, because it belongs to nobody")
    os.chown(made, 0, 0, follow_symlinks=False)
    refuse(mailsync, ".mailsync: not used, because it is a link or not a directory")
    assert modes(target)[target] == "drwxr-xr-x 0:0"
    assert list(target.iterdir()) == []


def test_data_of_another_user_is_refused_in_one_line(mailsync: Mailsync, project: Path) -> None:
    data = project / ".mailsync" / "postgres"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18")
    give(data, "nobody")
    refuse(mailsync, "/postgres: not used, because it belongs to nobody")
    assert modes(data)[data].startswith("drwxr-xr-x 65534:")


def test_settings_of_another_user_are_refused_in_one_line(mailsync: Mailsync, project: Path) -> None:
    file = project / ".env"
    file.write_text("DATABASE_URL=postgresql://nobody@127.0.0.1:9/x\n")
    give(file, "nobody")
    refuse(mailsync, ".env: not read, because it belongs to nobody; run this as nobody")


def refuse(mailsync: Mailsync, expected: str) -> None:
    done = mailsync("dev", env={"PORT": str(run_directory.free_port())})
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    assert expected in line
