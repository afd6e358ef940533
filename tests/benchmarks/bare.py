"""A connection that sends a command and looks only for the tag of its answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.dovecot import Dovecot, User


class Bare:
    """A client that reads answers without parsing them."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=1 << 18)
        self._file.readline()

    def command(self, text: str) -> int:
        """Send a command and read its whole answer; returns the number of bytes."""
        self._sock.sendall(f"x {text}\r\n".encode())
        size = 0
        while not (line := self._file.readline()).startswith(b"x "):
            size += len(line)
            if line.endswith(b"}\r\n"):
                size += len(self._file.read(int(line[line.rindex(b"{") + 1 : -3])))
        assert line.startswith(b"x OK"), line
        return size


@contextmanager
def logged_in(dovecot: Dovecot, user: User) -> Iterator[Bare]:
    """A bare connection of that user."""
    with socket.create_connection((dovecot.host, dovecot.port)) as sock:
        bare = Bare(sock)
        bare.command(f"LOGIN {user.name} {user.password}")
        bare.command("ENABLE QRESYNC")
        yield bare
