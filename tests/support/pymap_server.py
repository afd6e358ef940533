"""pymap for the tests: a second IMAP implementation, in pure Python and with hardly any extensions.

It has OBJECTID, but no CONDSTORE, ESEARCH, LIST-STATUS, SPECIAL-USE or UNSELECT. Mail is kept in memory.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from itertools import count

from tests.support import planted, run_directory
from tests.support.imap_server import ImapServer, User

_numbers = count(1)


class Pymap(ImapServer):
    """One running pymap with one ``user``, whose INBOX is empty; it starts in about half a second."""

    def __init__(self, *, demo_data: bool = False) -> None:
        """Start pymap; `demo_data` gives the user pymap's own sample messages."""
        self.port = run_directory.free_port()
        password = planted.keep(secrets.token_urlsafe(18))
        self.user = User(f"user{next(_numbers)}@pymap.test", password)
        program = "from pymap.main import main; main()"
        self._process = run_directory.spawn(
            [sys.executable, "-c", program, "--host", self.host, "--port", str(self.port)]
            + ["--no-tls", "--no-service", "admin", "dict"]
            + [f"--demo-user={self.user.name}", f"--demo-password={password}"]
            + (["--demo-data"] if demo_data else []),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            run_directory.wait_until(self._answers, "pymap")
        except (TimeoutError, ChildProcessError):
            self.kill()
            raise

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise ChildProcessError(f"pymap ended with {self._process.returncode}")
        try:
            with socket.create_connection((self.host, self.port), timeout=5) as probe:
                return probe.recv(4) == b"* OK"
        except OSError:
            return False

    def kill(self) -> None:
        """Kill pymap; its mail is lost."""
        run_directory.end(self._process.pid)
        self._process.wait()
        run_directory.forget(self._process.pid)
