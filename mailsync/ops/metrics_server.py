"""The worker's listener for Prometheus, on ``METRICS_PORT`` of 127.0.0.1 (SPEC §16).

It answers from threads of its own, over a database connection of its own that can only read: a scrape never
waits for a turn, nor a turn for a scrape.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RD, SHUT_RDWR, socket
from typing import Any

from mailsync.config import Settings
from mailsync.errors import ConfigError, MailsyncError
from mailsync.ops import metrics
from mailsync.redaction import redact
from mailsync.store import db
from mailsync.store import metrics as figures

log = logging.getLogger(__name__)

_AT_ONCE = 4
_PATIENCE = 5.0
_STATEMENT_TIMEOUT = 5.0


@contextmanager
def listening(settings: Settings) -> Iterator[str | None]:
    """Serve metrics meanwhile, if ``METRICS_PORT`` is set; yields their URL.

    Raises ConfigError when the port cannot be opened. Nothing waits for it at the end.
    """
    if settings.metrics_port is None:
        yield None
        return
    source = _Source(settings)
    try:
        server = _Server(settings.metrics_port, source)
    except OSError as error:
        raise ConfigError(
            f"METRICS_PORT: 127.0.0.1:{settings.metrics_port} cannot be opened:"
            f" {os.strerror(error.errno or 0)}; end what uses it, or give another port"
        ) from error
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{settings.metrics_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        source.close()


class _Source:
    """The text of the metrics, one scrape at a time, over a connection that is kept while it is good."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._conn: db.Connection | None = None
        self._failing = False

    def read(self) -> bytes | None:
        """All metrics as of now; None if the database cannot say, which is logged once."""
        if not self._lock.acquire(timeout=_PATIENCE):
            return None
        try:
            if self._conn is None or db.is_broken(self._conn):
                self._conn = db.connect(self._settings, "metrics", statement_timeout=_STATEMENT_TIMEOUT)
                figures.only_read(self._conn)
            text = metrics.render(self._conn)
            self._failing = False
            return text
        except MailsyncError as error:
            self.drop()
            if not self._failing:
                self._failing = True
                extra = {"action": "metrics", "error": redact(str(error))}
                log.warning("Metrics cannot be read", extra=extra)
            return None
        finally:
            self._lock.release()

    def drop(self) -> None:
        """Close the connection; the next scrape opens another one."""
        if self._conn is not None:
            conn, self._conn = self._conn, None
            conn.close()

    def close(self) -> None:
        """Close the connection unless a scrape is using it: that ends with the process."""
        if self._lock.acquire(blocking=False):
            self.drop()


class _Server(ThreadingHTTPServer):
    """A few requests at once; another takes the place of a client that keeps us waiting, or is refused."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, source: _Source) -> None:
        self.source = source
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._awaited: dict[Any, None] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if one is free or waits for a client."""
        if self._slots.acquire(blocking=False) or (self._hang_up() and self._slots.acquire(timeout=1.0)):
            self.await_client(request)
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.send(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        self.shutdown_request(request)

    def await_client(self, request: Any) -> None:
        """Note that its client is to act now: to send its request, or to take the answer."""
        with self._lock:
            self._awaited[request] = None

    def heard_client(self, request: Any) -> None:
        """Note that its client waits for us now."""
        with self._lock:
            self._awaited.pop(request, None)

    def _hang_up(self) -> bool:
        """Cut off the client that has kept us waiting the longest; returns whether there was one."""
        with self._lock:
            request = next(iter(self._awaited), None)
            if request is None:
                return False
            del self._awaited[request]
            # its thread notices at once, and closes it after this
            with suppress(OSError):
                request.shutdown(SHUT_RDWR)
            return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and give the slot back whatever happens."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.heard_client(request)
            self._slots.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """A client that went away, or came with nonsense, is no news."""
        log.debug("A scrape failed", exc_info=True, extra={"action": "metrics"})


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE

    def setup(self) -> None:
        """Limit the time of the whole request: one that comes byte by byte never meets a read timeout."""
        super().setup()
        self._late = threading.Timer(_PATIENCE, self._stop_reading)
        self._late.daemon = True
        self._late.start()

    def parse_request(self) -> bool:
        """Read the headers too; nothing is read after them."""
        try:
            return super().parse_request()
        finally:
            self._late.cancel()
            self.server.heard_client(self.connection)

    def finish(self) -> None:
        """Close, also after a request that never became whole."""
        self._late.cancel()
        super().finish()

    def _stop_reading(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(SHUT_RD)

    def do_GET(self) -> None:
        """Answer GET /metrics, and HEAD as GET without the text."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"There is only /metrics.\n")
            return
        text = self.server.source.read()
        if text is None:
            self._answer(503, b"The database cannot be read now.\n", Retry_After="5")
        else:
            self._answer(200, text, Content_Type=metrics.CONTENT_TYPE)

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._answer(405, b"Only GET and HEAD.\n", Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def _answer(self, status: int, text: bytes, **headers: str) -> None:
        self.server.await_client(self.connection)
        self.send_response(status)
        named = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))}
        for name, value in (named | {key.replace("_", "-"): v for key, v in headers.items()}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def version_string(self) -> str:
        """Hide the version of the interpreter."""
        return "mailsync"

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are not logged."""
