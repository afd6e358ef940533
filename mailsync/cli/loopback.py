"""Wait on this machine for the browser that a provider sends back (RFC 8252 §7.3)."""

from __future__ import annotations

import http.server
import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

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

    `host` is the name of this machine in :attr:`redirect_uri`; some providers only know ``localhost``.
    """

    def __init__(self, host: str = ADDRESS) -> None:
        self._server = _Server((ADDRESS, 0), _Handler)
        self.redirect_uri = f"http://{host}:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, read: Callable[[str], str], seconds: float) -> str | None:
        """Return what `read` makes of the address that a browser was sent to; None after so many seconds.

        Addresses for which `read` raises InvalidInput are not for us: the browser is told so, and waiting
        goes on. Other errors of `read` are raised here.
        """
        end = time.monotonic() + seconds
        self._server.read = read
        while (left := end - time.monotonic()) > 0:
            try:
                answer = self._server.answers.get(timeout=min(left, _LOOK_EVERY))
            except queue.Empty:
                continue
            if isinstance(answer, MailsyncError):
                raise answer
            return answer
        return None


class _Server(http.server.ThreadingHTTPServer):
    # browsers open connections in advance that stay silent, so each has its own thread
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        super().__init__(address, handler)
        self.answers: queue.SimpleQueue[str | MailsyncError] = queue.SimpleQueue()
        self.read: Callable[[str], str] = _read_nothing

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that breaks off."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _SLOWEST_REQUEST
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "mailsync", ""

    def do_GET(self) -> None:
        """Answer a browser."""
        if urlsplit(self.path).path != "/":
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


def _read_nothing(address: str) -> str:
    raise InvalidInput("nothing is expected yet")
