"""Wait on this machine for the browser that a provider sends back (RFC 8252 §7.3)."""

from __future__ import annotations

import http.server
import queue
import socketserver
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from mailsync.errors import InvalidInput, MailsyncError

ADDRESS = "127.0.0.1"
_SLOWEST_REQUEST = 10.0
_LOOK_EVERY = 1.0
_HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}
_RECEIVED = "mailsync has received the answer. You may close this page; the terminal shows the result.\n"


class Loopback:
    """A web server on a free port of 127.0.0.1, for one redirection. A context manager.

    `read` turns the address that a browser was sent to into the answer. Addresses for which it raises
    InvalidInput are not for us: the browser is told so, and the wait continues.
    """

    def __init__(self, read: Callable[[str], str]) -> None:
        self._server = _Server(read)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, seconds: float) -> str | None:
        """Return the answer, or None after so many seconds; raises the other errors of `read`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                answer = self._server.answers.get(timeout=min(left, _LOOK_EVERY))
            except queue.Empty:
                continue
            if isinstance(answer, MailsyncError):
                raise answer
            return answer
        return None


# HTTPServer would look for the name of this machine in DNS
class _Server(socketserver.ThreadingTCPServer):
    # browsers open connections in advance that stay silent, so each has its own thread
    daemon_threads = True
    block_on_close = False

    def __init__(self, read: Callable[[str], str]) -> None:
        super().__init__((ADDRESS, 0), _Handler)
        self.answers: queue.SimpleQueue[str | MailsyncError] = queue.SimpleQueue()
        self.read = read

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that breaks off."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _SLOWEST_REQUEST
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mailsync", ""

    def do_GET(self) -> None:
        """Answer a browser."""
        if self.path.partition("?")[0] != "/":
            # such as /favicon.ico
            self._answer(404, "There is nothing here.\n")
            return
        try:
            code = self.server.read(self.path)
        except InvalidInput as error:
            self._answer(400, f"mailsync cannot use this address: {error}\n")
        except MailsyncError as error:
            self._answer(200, _RECEIVED)
            self.server.answers.put(error)
        else:
            self._answer(200, _RECEIVED)
            self.server.answers.put(code)

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: the address has a code in it."""
