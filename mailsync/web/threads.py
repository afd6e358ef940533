"""gunicorn's threaded worker, whose answers to what is no HTTP request are problem documents too."""

from __future__ import annotations

import errno
import logging
import socket
import uuid
from contextlib import suppress
from typing import Any

from gunicorn.http import errors  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]
from werkzeug.http import HTTP_STATUS_CODES

from mailsync.logs import redact
from mailsync.web import MAX_BODY
from mailsync.web.door import Door
from mailsync.web.problems import MEDIA, Problem

log = logging.getLogger(__name__)

# by name, since not every release of gunicorn has each; all others are 400
_STATUS = {
    "LimitRequestLine": (414, "uri_too_long", "The request line is too long."),
    "LimitRequestHeaders": (431, "headers_too_large", "The headers are too many, or one is too long."),
    "UnsupportedTransferCoding": (501, "not_implemented", "This transfer coding is not supported."),
    "ExpectationFailed": (417, "expectation_failed", "The header Expect asks for what is not supported."),
}
_BAD = (400, "bad_request", "This is not a well-formed HTTP request.")
_BUG = (500, "internal", "The server made an error; its log has more under this request_id.")


class Worker(ThreadWorker):  # type: ignore[misc]
    """``gthread``, with a door before its threads, and words of its own for what is no request."""

    _door: Door | None = None

    def init_process(self) -> None:
        """After the fork: open the door."""
        if not self.cfg.is_ssl:
            head = self.cfg.limit_request_fields * (self.cfg.limit_request_field_size + 2)
            self._door = Door(super().enqueue_req, (head + self.cfg.limit_request_line, MAX_BODY))
            self._door.start()
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """Gunicorn's, once a request has come."""
        if self._door:
            self._door.receive(conn)
        else:
            super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Gunicorn's; but the end of a connection is waited for at the door."""
        stays = bool(super().handle(conn)) and not self._goes_on(conn)
        if self._door:
            self._door.has_answered(conn, stays=stays)
        return stays

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        # gunicorn's waits for what the application did not read of the request, in the thread
        return not self._goes_on(conn) and bool(super()._keepalive_after(conn, keepalive))

    def _goes_on(self, conn: Any) -> bool:
        return self._door is not None and self._door.is_unsure(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Gunicorn's; a client that took nothing for so long is gone, which is no error of ours."""
        try:
            return super().handle_request(req, conn)
        except TimeoutError as error:
            raise ConnectionResetError(errno.ECONNRESET, "it took nothing of its answer") from error

    def handle_exit(self, sig: Any, frame: Any) -> None:
        """Gunicorn's; nobody at the door is waited for who says nothing."""
        super().handle_exit(sig, frame)
        if self._door:
            self._door.close()

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer with a problem document, log one line, and let gunicorn close the connection."""
        request_id = uuid.uuid4().hex
        refused = isinstance(exc, errors.ParseException)
        status, code, detail = _STATUS.get(type(exc).__name__, _BAD) if refused else _BUG
        remote = addr[0] if isinstance(addr, tuple) and addr else None
        extra = {"action": "http", "request_id": request_id, "remote": remote}
        if refused:
            log.info("Refused %d: %s", status, redact(str(exc)), extra=extra)
        else:
            log.error("Request failed", exc_info=exc, extra=extra)
        with suppress(OSError):
            client.sendall(_answer(status, code, detail, request_id))


def _answer(status: int, code: str, detail: str, request_id: str) -> bytes:
    title = HTTP_STATUS_CODES[status]
    document = Problem(
        type="about:blank", title=title, status=status, detail=detail, code=code, request_id=request_id
    )
    body = document.model_dump_json(exclude_none=True).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: {MEDIA}\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-Id: {request_id}\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n\r\n"
    )
    return head.encode("latin-1") + body
