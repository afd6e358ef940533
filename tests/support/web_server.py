"""A web server that sends exactly the bytes that a test chooses, and keeps what it was sent."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import parse_qsl

from tests.support.certificates import Certificate
from tests.support.patience import PATIENCE

Answer = Callable[[bytes], Iterable[bytes]]


class WebServer:
    """Answers one request for each connection, on a loopback port, in TLS if it has a certificate.

    ``answer`` gets the whole request and returns the pieces to send; then the connection is closed. An
    iterator may wait between two pieces, for ``stopped`` at most. ``requests`` are all requests so far,
    ``connections`` counts the connections.
    """

    def __init__(self, answer: Answer, certificate: Certificate | None = None) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._context = certificate.context() if certificate else None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=20)
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, path: str = "/") -> str:
        """Return the URL of a path, at the name ``localhost``."""
        return f"{'https' if self._context else 'http'}://localhost:{self.port}{path}"

    def stop(self) -> None:
        """Close the port and wait until all connections are closed."""
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.suppress(OSError))
            stack.enter_context(sock)
            sock.settimeout(PATIENCE)
            if self._context:
                sock = stack.enter_context(self._context.wrap_socket(sock, server_side=True))
            request = _read(sock)
            if not request:
                return
            self.requests.append(request)
            for piece in self.answer(request):
                sock.sendall(piece)


def _read(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    while length and len(body) < int(length[1]):
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return a response with its Content-Length."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def form_of(request: bytes) -> dict[str, str]:
    """Return the fields of the form in a request."""
    return dict(parse_qsl(request.partition(b"\r\n\r\n")[2].decode(), keep_blank_values=True))


@contextlib.contextmanager
def serving(answer: Answer, certificate: Certificate | None = None) -> Iterator[WebServer]:
    """A web server in the context."""
    server = WebServer(answer, certificate)
    try:
        yield server
    finally:
        server.stop()
