"""``python -m tests.support.as_ordinary_user USER PACKAGES DIRECTORY``: run the embedded Postgres as a user.

Root becomes that user, and runs the package in PACKAGES with its data in DIRECTORY until standard input ends.
Everything is imported before, because the user may not be able to read the Python installation.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import mailsync.store.db  # noqa: F401
from mailsync.cli.embedded.postgres import embedded_postgres
from mailsync.errors import MailsyncError


def main(user: str, packages: str, directory: str) -> int:
    """Run it; returns the exit code of a command."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    sys.path.insert(0, packages)
    try:
        with embedded_postgres(Path(directory)) as server:
            print(server.url, flush=True)
            sys.stdin.read()
    except MailsyncError as error:
        print(f"mailsync: {error}", flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
