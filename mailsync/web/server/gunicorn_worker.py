"""gunicorn's threaded worker, with problem documents for malformed requests and an end to slow statements."""

from __future__ import annotations

import logging
import socket
import uuid
from contextlib import suppress
from typing import Any

from gunicorn.http import errors  # type: ignore[import-untyped]
from werkzeug.http import HTTP_STATUS_CODES

from mailsync.redaction import redact_beginning
from mailsync.store.cancelling import Canceller
from mailsync.web.http.problems import MEDIA, Problem
from mailsync.web.server.connections import HEAD_TIMEOUT, PatientWorker

log = logging.getLogger(__name__)

_CANCEL_BEFORE = 4
"""Seconds before the graceful timeout: one to find the statements that still run, three to send answers."""

# by name, because not every release of gunicorn has each of them; all others are 400
_STATUS = {
    "HeadTimeout": (
        408,
        "request_timeout",
        f"The request line and headers were incomplete after {HEAD_TIMEOUT:g} s.",
    ),
    "LimitRequestLine": (414, "uri_too_long", "The request line is too long."),
    "LimitRequestHeaders": (431, "headers_too_large", "There are too many headers, or they are too long."),
    "UnsupportedTransferCoding": (501, "not_implemented", "This transfer coding is not supported."),
    "ExpectationFailed": (
        417,
        "expectation_failed",
        "The header Expect has an unsupported value.",
    ),
}
_BAD = (400, "bad_request", "This is not a well-formed HTTP request.")
_NOT_ASCII = (
    400,
    "bad_request",
    "The request line contains characters that are not ASCII; percent-encode them as UTF-8, such as %C3%BC"
    " for ü.",
)
_BUG = (500, "internal", "Internal error; the service's log says more under this request_id.")


class Worker(PatientWorker):
    """The worker class: answers malformed requests with a problem document.

    Shortly before the graceful timeout it cancels statements that still run in Postgres.
    """

    def init_process(self) -> None:
        """In the new process: start the thread that can cancel statements."""
        self._canceller = Canceller(max(0.0, self.cfg.graceful_timeout - _CANCEL_BEFORE))
        self._canceller.start()
        super().init_process()

    def handle_exit(self, sig: int, frame: Any) -> None:
        """On SIGTERM: let running requests finish, with a limit for their statements."""
        self._canceller.ask()
        super().handle_exit(sig, frame)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer with a problem document and log one line; gunicorn then closes the connection."""
        request_id = uuid.uuid4().hex
        refused = isinstance(exc, errors.ParseException)
        status, code, detail = _STATUS.get(type(exc).__name__, _BAD) if refused else _BUG
        if isinstance(exc, errors.InvalidRequestLine) and not str(exc.req).isascii():
            status, code, detail = _NOT_ASCII
        remote = addr[0] if isinstance(addr, tuple) and addr else None
        extra = {"action": "http", "request_id": request_id, "remote": remote}
        if refused:
            log.info("Refused %d: %s", status, redact_beginning(str(exc), 300)[0], extra=extra)
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
