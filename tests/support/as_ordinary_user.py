"""``python -m tests.support.as_ordinary_user USER PACKAGES DIRECTORY``: root becomes that user, and runs the
embedded Postgres in the directory, by the package in PACKAGES, until its standard input ends.

Everything is imported before, because Python itself may be where an ordinary user does not get.
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
    """Returns the exit code that a command would have."""
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
