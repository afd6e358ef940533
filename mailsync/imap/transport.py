"""The socket of one connection, with TLS or without: bytes out, responses in, closed on every error."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailsync.imap.reader import Reader
from mailsync.imap.writer import Writer
from mailsync.network.connect import wrap_tls
from mailsync.network.timeouts import Timeouts

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint


class Transport:
    """The part of a :class:`Connection <mailsync.imap.connection.Connection>` that knows no command."""

    def __init__(
        self, sock: socket.socket, endpoint: Endpoint, settings: Settings, timeouts: Timeouts
    ) -> None:
        self.sock = sock
        self.timeouts = timeouts
        self.reader = Reader(sock, timeouts, settings.imap_max_literal_bytes)
        self.closed = False
        self._writer = Writer(sock, timeouts)
        self._endpoint = endpoint
        self._settings = settings

    def close(self) -> None:
        """Close the socket, without LOGOUT."""
        self.closed = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def send_line(self, line: bytes) -> None:
        """Send one line, which is no command; the caller closes the connection if that fails."""
        self._writer.send(line + b"\r\n")

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def one_write(self) -> Iterator[None]:
        """Send the commands of the context together, at its end.

        If the context ends by an error, the commands before it are sent: they are in flight.
        """
        try:
            with self._writer.held_back() as unsent:
                yield
        finally:
            if unsent and not self.closed:
                with self._closing_on_error():
                    self._writer.send(bytes(unsent))

    def _begin_tls(self) -> None:
        """Put TLS on the socket; bytes that arrived in plaintext are discarded.

        Raises CertificateRejected if the certificate does not verify, else Transient; the connection is then
        closed.
        """
        try:
            self.sock = wrap_tls(self.sock, self._endpoint.host, self._settings, self.timeouts)
        except BaseException:
            self.closed = True
            raise
        self.reader.switch(self.sock)
        self._writer.sock = self.sock
