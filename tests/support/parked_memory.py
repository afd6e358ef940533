"""Measures the memory of parked sessions in a process of its own, in which nothing else grows.

The request is JSON on the standard input, the answer a number on the standard output::

    bytes_each(server, users, ["INBOX", "Sent"], ca_file)
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mailsync.imap import Session
from mailsync.uidset import UidSet
from tests.support import imap_sessions
from tests.support.crowd_server import CrowdServer
from tests.support.imap_server import User
from tests.support.programs import ROOT

_WARM_UP = 20
"""Sessions that are opened before: the first ones load modules, certificates and arenas."""


def bytes_each(server: CrowdServer, users: Sequence[User], folders: Sequence[str], ca_file: Path) -> float:
    """Return the resident bytes that one more parked session takes, measured with one session a user."""
    request = {
        "port": server.port,
        "ca_file": str(ca_file),
        "folders": list(folders),
        "users": [[user.name, user.password] for user in users],
    }
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.parked_memory"],
        input=json.dumps(request),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(run.stdout)


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    assert match
    return int(match[1]) * 1024


def _park(session: Session, folders: Sequence[str]) -> Session:
    """Do what a turn does, and park."""
    session.examine(b"INBOX")
    for _ in session.fetch_messages([UidSet([(1, 5)])]):
        pass
    if session.push.can_notify:
        session.push.watched = frozenset(name.encode() for name in folders)
        assert session.notify()
    else:
        session.idle(b"INBOX")
    session.release_memory()
    assert session.push.listening
    return session


def _main() -> None:
    request = json.load(sys.stdin)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = _Server(request["port"])
    sessions = []
    before = 0
    for i, (name, password) in enumerate(request["users"]):
        if i == _WARM_UP:
            before = resident()
        session = imap_sessions.connect(
            server,
            User(name, password),
            security="tls",
            on_wait=_Turn().on_wait,
            imap_ca_file=request["ca_file"],
        )
        sessions.append(_park(session, request["folders"]))
    sys.stdout.write(f"{(resident() - before) / (len(sessions) - _WARM_UP)}\n")


class _Turn:
    """What a callback refers to, as that of a turn with many folders does."""

    def __init__(self) -> None:
        self.folders = [bytes(1000) for _ in range(100)]

    def on_wait(self) -> None:
        """Write no heartbeat."""


class _Server:
    host = "127.0.0.1"

    def __init__(self, port: int) -> None:
        self.port = port


if __name__ == "__main__":
    _main()
