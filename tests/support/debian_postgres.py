"""A Postgres of Debian's, of another release than the embedded one, shared by the whole run.

It refuses to run as root, so root's tests run it as the user ``postgres``, whom the package makes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

from tests.support import run_directory
from tests.support.postgres import PostgresServer

OLDEST = 15
_DIRECTORY = "debian-postgres"


def programs() -> Path | None:
    """Where ``postgres``, ``pg_dump`` and their like of the oldest release are that mailsync supports."""
    found = [
        (int(path.parts[-3]), path.parent)
        for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")
        if re.fullmatch(r"\d+", path.parts[-3]) and int(path.parts[-3]) >= OLDEST
    ]
    return min(found)[1] if found else None


def server() -> PostgresServer:
    """The server of this run; the first caller of all workers starts it.

    It ends when the run's directory is removed. Raises RuntimeError where the package is missing.
    """
    with run_directory.exclusive(_DIRECTORY):
        noted = run_directory.current() / f"{_DIRECTORY}.url"
        if not noted.exists():
            noted.write_text(_start(run_directory.current() / _DIRECTORY))
        return PostgresServer(noted.read_text())


def migrate(url: str) -> None:
    """Bring the database at this URL to the newest schema, as ``mailsync migrate`` does."""
    from mailsync.config import Settings
    from mailsync.store import db, migrations

    settings = Settings(database_url=url)
    with closing(db.connect(settings, "test")) as conn:
        migrations.migrate(conn, settings)


def _start(home: Path) -> str:
    found = programs()
    if found is None:
        raise RuntimeError(f"Postgres {OLDEST} or newer is missing: apt-get install postgresql")
    home.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    data = home / "data"
    _run(home, found / "initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust",
         "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")  # fmt: skip
    # a socket in a directory of its own, and as durable as the embedded one: see postgres.py
    options = (
        f"-k {home} -c listen_addresses= -c fsync=off -c full_page_writes=off -c autovacuum=off"
        " -c max_connections=100"
    )
    _run(home, found / "pg_ctl", "--pgdata", data, "--log", home / "log", "--options", options,
         "--wait", "--timeout", int(run_directory.PATIENCE), "start")  # fmt: skip
    return f"postgresql://postgres@/postgres?{urlencode({'host': home, 'port': 5432})}"


def _run(home: Path, *command: object) -> None:
    words = [str(word) for word in command]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", *words]
    # the server keeps what it inherits: no pipe, or nobody would see its end
    with (home.parent / f"{_DIRECTORY}.log").open("ab") as log:
        done = subprocess.run(
            words, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{words[-1]} failed: {(home.parent / f'{_DIRECTORY}.log').read_text()}")
