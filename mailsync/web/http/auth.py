"""Handles every request first and last: request id, bearer token, size limit, log line."""

from __future__ import annotations

import hmac
import logging
import re
import time
import uuid
from collections.abc import Sequence

from flask import Flask, Response, abort, current_app, g, request

from mailsync.redaction import redact_beginning
from mailsync.web.http.problems import problem

log = logging.getLogger(__name__)

QUIET = frozenset({"/health/live", "/health/ready"})
"""Load balancers ask every few seconds; only failing health checks are worth a line of the log."""
OPEN = QUIET | {"/oauth/callback"}
"""Paths that need no token."""
LONGEST_PATH = 300
"""Most characters of a path in the log; the longest path of the API has fewer than 100."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def install(app: Flask, tokens: Sequence[tuple[str, str]]) -> None:
    """Require one of `tokens` for all of `app` except the paths in :data:`OPEN`.

    `tokens` are pairs of a name, which the log shows, and the token itself.
    """
    accepted = [(name, token.encode()) for name, token in tokens]

    @app.before_request
    def enter() -> Response | None:
        g.started = time.monotonic()
        request_id = request.headers.get("X-Request-Id", "")
        g.request_id = request_id if _REQUEST_ID.fullmatch(request_id) else uuid.uuid4().hex
        g.token = _bearer(accepted)
        if request.path not in OPEN and g.token is None:
            return problem(
                401,
                "unauthorized",
                "Send the header Authorization: Bearer with one of the tokens in API_TOKEN.",
                headers={"WWW-Authenticate": 'Bearer realm="mailsync"'},
            )
        if (request.content_length or 0) > current_app.config["MAX_CONTENT_LENGTH"]:
            abort(413)
        return None

    @app.after_request
    def leave(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault("Cache-Control", "no-store")
        path, is_whole = redact_beginning(request.path, LONGEST_PATH)
        quiet = request.path in QUIET and response.status_code == 200
        log.log(
            logging.DEBUG if quiet else logging.INFO,
            "%s %s %d",
            request.method,
            path if is_whole else f"{path}…",
            response.status_code,
            extra={
                "action": "http",
                "request_id": g.request_id,
                "status": response.status_code,
                "token": g.token,
                "remote": request.remote_addr,
                "duration_ms": round((time.monotonic() - g.started) * 1000, 1),
            },
        )
        return response


def _bearer(accepted: Sequence[tuple[str, bytes]]) -> str | None:
    """The name of the token that the request carries; None if it carries none of `accepted`."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    sent = credentials.strip().encode("latin-1", "replace")
    # compare with every token, in constant time: the duration must not reveal which one nearly matched
    matches = [name for name, token in accepted if hmac.compare_digest(sent, token)]
    return matches[0] if matches and scheme.lower() == "bearer" else None
