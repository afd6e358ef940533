"""A minimal pooler in transaction mode, which runs each transaction of a client on the next backend.

It understands just enough of Postgres' protocol to see where a transaction ends (ReadyForQuery, "idle").
Neither side uses TLS.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from contextlib import ExitStack, suppress

import psycopg

_PARAMETERS = (
    "server_version", "server_encoding", "client_encoding", "DateStyle", "TimeZone", "integer_datetimes",
    "standard_conforming_strings",
)  # fmt: skip


class TransactionPooler:
    """Listens on ``port`` of 127.0.0.1 and forwards to the server at `url`; a context manager."""

    def __init__(self, url: str, backends: int = 2) -> None:
        self._to = url
        self._backends = backends
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"postgresql://anybody@127.0.0.1:{self.port}/any?sslmode=disable&gssencmode=disable"

    def __enter__(self) -> TransactionPooler:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (self._listener, *self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self._open.append(client)
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with ExitStack() as stack, suppress(OSError, EOFError):
            stack.callback(client.close)
            backends = [self._backend(stack) for _ in range(self._backends)]
            _exactly(client, struct.unpack("!I", _exactly(client, 4))[0] - 4)
            client.sendall(self._welcome)
            while True:
                # one transaction: forward messages until one is answered, repeat until the server is idle
                backend, status = backends[0], b""
                while status != b"I":
                    kind = b""
                    while kind not in (b"Q", b"S"):
                        kind, message = _message(client)
                        backend.sendall(message)
                    status = _answers(backend, client)
                backends.append(backends.pop(0))

    def _backend(self, stack: ExitStack) -> socket.socket:
        # libpq logs in; afterwards only this class uses the socket
        conn = stack.enter_context(psycopg.connect(self._to, autocommit=True))
        parameters = b"".join(
            _framed(b"S", f"{name}\0{conn.info.parameter_status(name)}\0".encode()) for name in _PARAMETERS
        )
        self._welcome = _framed(b"R", bytes(4)) + parameters + _framed(b"K", bytes(8)) + _framed(b"Z", b"I")
        backend = stack.enter_context(socket.socket(fileno=os.dup(conn.fileno())))
        backend.setblocking(True)
        self._open.append(backend)
        return backend


def _answers(backend: socket.socket, client: socket.socket) -> bytes:
    """Forward answers up to ReadyForQuery and return its status."""
    while True:
        kind, message = _message(backend)
        client.sendall(message)
        if kind == b"Z":
            return message[-1:]


def _framed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(source, 5)
    return head[:1], head + _exactly(source, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = source.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
