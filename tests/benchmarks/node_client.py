"""imapflow and pg beside mailsync: the same rows from the same mailbox; see ``node/mirror.mjs``."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from mailsync.config import Settings
from mailsync.store import accounts, db
from tests.benchmarks.bench import Bench, run_program
from tests.support import run_directory
from tests.support.dovecot import User

_SOURCE = Path(__file__).parent / "node"
_INSTALL = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
_INSTALL_SECONDS = 180


class NodeMissing(Exception):
    """Node, npm or the packages are missing; the message names which."""


class NodeClient:
    """The program with its packages, in a directory of this run."""

    def __init__(self) -> None:
        """Install the packages. Raises NodeMissing."""
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise NodeMissing(f"{program} is not installed")
        self._directory = run_directory.current() / "node"
        shutil.copytree(_SOURCE, self._directory)
        try:
            done = subprocess.run(
                _INSTALL, cwd=self._directory, capture_output=True, text=True, timeout=_INSTALL_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise NodeMissing(f"npm install did not end within {_INSTALL_SECONDS} s") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NodeMissing(f"npm install failed: {lines[0]}")

    def sync(self, bench: Bench, settings: Settings, user: User, email: str, at_most: float) -> float:
        """Mirror the user's mailbox as the account `email`, which has no folders yet; returns the seconds.

        Raises TooSlow after `at_most` seconds.
        """
        with db.connect(settings, "bench") as conn:
            account_id = accounts.find(conn, email)
        return run_program(
            ["node", str(self._directory / "mirror.mjs")],
            {
                **_postgres(settings),
                "SCHEMA": settings.database_schema,
                "ACCOUNT_ID": str(account_id),
                "IMAP_HOST": bench.dovecot.host,
                "IMAP_PORT": str(bench.dovecot.port),
                "IMAP_USER": user.name,
                "IMAP_PASSWORD": user.password,
            },
            at_most,
        )


def _postgres(settings: Settings) -> dict[str, str]:
    given = conninfo_to_dict(settings.database_url or "")
    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    found = {names[key]: str(value) for key, value in given.items() if key in names and value is not None}
    return {**found, "PGAPPNAME": "mailsync-bench-node"}
