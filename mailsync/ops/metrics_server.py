"""The worker's metrics server for Prometheus, on ``METRICS_PORT`` of 127.0.0.1 (SPEC §16).

It has its own threads and its own read-only database connection, so scrapes and turns never wait for each
other. ``prometheus_client``'s server would not do: it starts a thread per connection without any limit or
timeout, serves every path, and answers 500 when the database is away.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from typing import Any

from mailsync.config import Settings
from mailsync.errors import ConfigError, MailsyncError
from mailsync.ops import metrics
from mailsync.redaction import redact
from mailsync.store import db
from mailsync.store import metrics as store_metrics

log = logging.getLogger(__name__)

_MAX_CONNECTIONS = 4
_TIMEOUT = 5.0


@contextmanager
def serving_metrics(settings: Settings) -> Iterator[str | None]:
    """Serve metrics inside the ``with`` block if ``METRICS_PORT`` is set; yields their URL, else None.

    Raises ConfigError if the port cannot be opened. Leaving the block does not wait for clients.
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
            f" {os.strerror(error.errno or 0)}; stop the program that uses it, or choose another port"
        ) from error
    threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True).start()
    try:
        yield f"http://127.0.0.1:{settings.metrics_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        source.close()


class _Source:
    """Renders the metrics, one scrape at a time, over a connection that is kept while it works."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._conn: db.Connection | None = None
        self._is_failing = False

    def read(self) -> bytes | None:
        """The current metrics; None if the database cannot be read, which is logged once per outage."""
        if not self._lock.acquire(timeout=_TIMEOUT):
            return None
        try:
            if self._conn is None or db.is_broken(self._conn):
                self._conn = db.connect(self._settings, "metrics", statement_timeout=_TIMEOUT)
                store_metrics.refuse_writes(self._conn)
            text = metrics.render(self._conn)
            self._is_failing = False
            return text
        except MailsyncError as error:
            self._disconnect()
            if not self._is_failing:
                self._is_failing = True
                log.warning("Cannot read metrics", extra={"action": "metrics", "error": redact(str(error))})
            return None
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection, unless a scrape is using it; then it closes with the process."""
        if self._lock.acquire(blocking=False):
            self._disconnect()

    def _disconnect(self) -> None:
        if self._conn is not None:
            conn, self._conn = self._conn, None
            conn.close()


class _Server(ThreadingHTTPServer):
    """Serves a few connections at once. A new one replaces the one whose client has been idle the longest.

    If no client is idle, the new connection is refused with 503.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, source: _Source) -> None:
        self.source = source
        self._slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._idle: dict[Any, None] = {}  # ordered by age
        super().__init__(("127.0.0.1", port), _Handler)

    def set_idle(self, connection: Any) -> None:
        """Note that we wait for its client to send the request or to read the answer."""
        with self._lock:
            self._idle[connection] = None

    def set_busy(self, connection: Any) -> None:
        """Note that its client waits for us, so that the connection is not closed meanwhile."""
        with self._lock:
            self._idle.pop(connection, None)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own if there is a slot, or if one can be freed."""
        if self._slots.acquire(blocking=False) or (self._free_slot() and self._slots.acquire(timeout=1.0)):
            self.set_idle(request)
            try:
                super().process_request(request, client_address)
            except RuntimeError:
                # there is no thread for it, and so none that frees the slot
                self._release(request)
                raise
            return
        with suppress(OSError):
            request.send(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        self.shutdown_request(request)

    def _free_slot(self) -> bool:
        with self._lock:
            connection = next(iter(self._idle), None)
            if connection is None:
                return False
            del self._idle[connection]
            # its thread notices at once, closes the connection and gives up its slot
            with suppress(OSError):
                connection.shutdown(SHUT_RDWR)
            return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and free the slot in any case."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._release(request)

    def _release(self, connection: Any) -> None:
        self.set_busy(connection)
        self._slots.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Log clients that disconnect or send nonsense at DEBUG."""
        log.debug("A scrape failed", exc_info=True, extra={"action": "metrics"})


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT  # for each read and write; a client that sends byte by byte stays idle and replaceable

    def do_GET(self) -> None:
        """Answer GET and HEAD of ``/metrics``."""
        self.server.set_busy(self.connection)
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"Not found; the metrics are at /metrics.\n")
        elif text := self.server.source.read():
            self._answer(200, text, content_type=metrics.CONTENT_TYPE)
        else:
            self._answer(503, b"The database is not available.\n", ("Retry-After", "5"))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Refuse other methods."""
        self._answer(405, b"Only GET and HEAD are allowed.\n", ("Allow", "GET, HEAD"))

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST

    def _answer(
        self, status: int, text: bytes, *headers: tuple[str, str], content_type: str = "text/plain"
    ) -> None:
        self.server.set_idle(self.connection)
        self.send_response(status)
        for header in (("Content-Type", content_type), ("Content-Length", str(len(text))), *headers):
            self.send_header(*header)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def version_string(self) -> str:
        """Hide the version of Python."""
        return "mailsync"

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log scrapes."""
