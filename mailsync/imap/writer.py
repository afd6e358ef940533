"""Bytes to a socket, at once or several commands together."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from mailsync.errors import Transient
from mailsync.network.timeouts import Timeouts


class Writer:
    """Writes to a non-blocking socket."""

    def __init__(self, sock: socket.socket, timeouts: Timeouts) -> None:
        self.sock = sock
        self._timeouts = timeouts
        self._held: bytearray | None = None

    def send(self, data: bytes) -> None:
        """Send all bytes, or keep them until :meth:`held_back` ends; raises Transient or TimedOut."""
        if self._held is not None:
            self._held += data
            return
        unsent = memoryview(data)
        self._timeouts.check()
        while unsent:
            try:
                unsent = unsent[self.sock.send(unsent) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._timeouts.writable(self.sock)
            except ssl.SSLWantReadError:
                self._timeouts.readable(self.sock)
            except OSError as error:
                raise Transient(f"the connection broke: {error.strerror or error}") from error

    @contextmanager
    def held_back(self) -> Iterator[bytearray]:
        """Collect what :meth:`send` is given in the context, and send nothing."""
        self._held = held = bytearray()
        try:
            yield held
        finally:
            self._held = None
