"""An IMAP server for many clients at once, in a process of its own, so that the client's CPU can be measured.

It answers honestly; for single answers that are wrong, see ``scripted.py``::

    server = CrowdServer(certificate=authority.good())
    users = server.add_users(1000, ["INBOX", "Sent", "Archive"])
    pushed_at = server.deliver(users[7])
    server.cut_all()
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

from tests.support import mail, planted, run_directory
from tests.support.certificates import Certificate
from tests.support.habits import Habits
from tests.support.imap_server import User
from tests.support.programs import ROOT

_PROGRAM = "tests.support.crowd_process"


@dataclass(frozen=True)
class Figures:
    """What the server has counted; ``cpu`` are the seconds of its own process since it began.

    ``conflicts`` are commands that came while another connection of the user waited for an answer (which
    takes a latency to be seen), or during IDLE.
    """

    commands: Counter[str]
    logins: Counter[str]
    connections: int
    parked: int
    conflicts: int
    cpu: float


class CrowdServer:
    """The server, as tests see it. ``port`` serves TLS with a `certificate`, else plaintext."""

    host = "127.0.0.1"

    def __init__(self, habits: Habits | None = None, certificate: Certificate | None = None) -> None:
        self.security = "tls" if certificate else "plaintext"
        self._users, self._messages = count(1), count(1)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = run_directory.spawn(
                [sys.executable, "-m", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
            )
        self._file = self._control.makefile("rwb")
        values = asdict(habits or Habits()).items()
        self._send(
            {
                "habits": {
                    name: value.decode() if isinstance(value, bytes) else value for name, value in values
                },
                "certificate": certificate and [str(certificate.chain_file), str(certificate.key_file)],
            }
        )
        self.port: int = self._receive()

    def _send(self, request: dict[str, Any]) -> None:
        self._file.write(json.dumps(request).encode() + b"\n")
        self._file.flush()

    def _receive(self) -> Any:
        line = self._file.readline()
        if not line:
            raise RuntimeError("the crowd server has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def _call(self, method: str, /, **arguments: Any) -> Any:
        self._send({"method": method, "arguments": arguments})
        return self._receive()

    @property
    def pid(self) -> int:
        """The process of the server."""
        return self._process.pid

    def stop(self) -> None:
        """End the server."""
        self._file.close()
        self._control.close()
        run_directory.end(self._process.pid)
        self._process.wait()
        run_directory.forget(self._process.pid)

    # -- mailboxes ---------------------------------------------------------------------------------------

    def add_users(
        self, number: int, folders: Sequence[str | Sequence[str]] = ("INBOX",), messages: int = 1
    ) -> list[User]:
        """Add users who have these folders, with `messages` in each.

        A folder is a name, or a name and its attributes: ``("Sent", r"\\Sent")``.
        """
        password = planted.keep(secrets.token_urlsafe(18))
        users = [User(f"user{next(self._users)}@crowd.test", password) for _ in range(number)]
        self._call(
            "add_users",
            users={user.name: user.password for user in users},
            folders=[[folder] if isinstance(folder, str) else list(folder) for folder in folders],
            messages=messages,
            raws=[mail.message(n).decode() for n in range(1, min(messages, 100) + 1)],
        )
        return users

    def deliver(self, *users: User, folder: str = "INBOX", raw: bytes | None = None) -> float:
        """Add one message to a folder of each user, by default a new one; returns the monotonic time."""
        raw = raw or mail.message(1_000_000 + next(self._messages))
        began: float = self._call(
            "deliver", users=[user.name for user in users], folder=folder, raw=raw.decode()
        )
        return began

    def set_flags(self, user: User, folder: str, uid: int, *flags: str) -> None:
        """Replace a message's flags."""
        self._call("change", user=user.name, folder=folder, method="set_flags", arguments=[uid, *flags])

    def expunge(self, user: User, folder: str, *uids: int) -> None:
        """Remove messages."""
        self._call("change", user=user.name, folder=folder, method="expunge", arguments=uids)

    def create(self, user: User, name: str) -> None:
        """Create a folder."""
        self._call("change_names", user=user.name, method="create", names=[name])

    def rename(self, user: User, old: str, new: str) -> None:
        """Rename a folder."""
        self._call("change_names", user=user.name, method="rename", names=[old, new])

    def delete(self, user: User, name: str) -> None:
        """Delete a folder."""
        self._call("change_names", user=user.name, method="delete", names=[name])

    # -- connections -------------------------------------------------------------------------------------

    def cut_all(self) -> int:
        """Close every connection without a word; returns how many there were."""
        result: int = self._call("cut", text=None)
        return result

    def bye_all(self, text: str = "Session expired") -> int:
        """Say BYE to every connection and close it; returns how many there were."""
        result: int = self._call("cut", text=text)
        return result

    def refuse(self, name: str, text: str | None) -> None:
        """Answer a command by ``NO …`` or ``BAD …`` from now on; honestly again without a text."""
        self._call("refuse", name=name, text=text)

    def set_latency(self, seconds: float) -> None:
        """Change the round trip."""
        self._call("set_latency", seconds=seconds)

    def figures(self) -> Figures:
        """Return what was counted since the last :meth:`forget`, and how many connections there are now."""
        values = self._call("figures")
        return Figures(**values | {name: Counter(values[name]) for name in ("commands", "logins")})

    def forget(self) -> None:
        """Begin to count at 0 again."""
        self._call("forget")
