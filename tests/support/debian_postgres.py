"""Debian's Postgres, of another release than the embedded one, shared by the whole run.

It does not run as root; if the tests do, the server runs as the user ``postgres``, which the package creates.
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
    """The directory of the programs of the oldest installed release that mailsync supports."""
    installed = [
        (int(path.parts[-3]), path.parent)
        for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")
        if re.fullmatch(r"\d+", path.parts[-3]) and int(path.parts[-3]) >= OLDEST
    ]
    return min(installed)[1] if installed else None


def server() -> PostgresServer:
    """The server of this run. The first worker that calls this starts it.

    It is stopped when the run's directory is removed. Raises RuntimeError if the package is missing.
    """
    with run_directory.exclusive(_DIRECTORY):
        url_file = run_directory.current() / f"{_DIRECTORY}.url"
        if not url_file.exists():
            url_file.write_text(_start(run_directory.current() / _DIRECTORY))
        return PostgresServer(url_file.read_text())


def migrate(url: str) -> None:
    """Migrate the database at this URL, as ``mailsync migrate`` does."""
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
    # its socket is in its own directory; durability is as for the embedded server, see postgres.py
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
    # the server inherits output, so no pipe, whose reader would wait for the server to end
    with (home.parent / f"{_DIRECTORY}.log").open("ab") as log:
        done = subprocess.run(
            words, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{words[-1]} failed: {(home.parent / f'{_DIRECTORY}.log').read_text()}")
