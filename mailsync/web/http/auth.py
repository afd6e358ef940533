"""What every request passes: its id, the bearer token, the size limit; and the line in the log."""

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

OPEN = frozenset({"/health/live", "/health/ready"})
LONGEST_PATH = 300
"""Characters of a path that are logged; ours have less than 100."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def install(app: Flask, tokens: Sequence[tuple[str, str]]) -> None:
    """Guard all of `app` but the two health checks with `tokens`, each with its name for the log."""
    accepted = [(name, token.encode()) for name, token in tokens]

    @app.before_request
    def enter() -> Response | None:
        g.started = time.monotonic()
        given = request.headers.get("X-Request-Id", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
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
        # load balancers ask all day long; only what they are not told "yes" to is worth a line
        path, is_whole = redact_beginning(request.path, LONGEST_PATH)
        quiet = request.path in OPEN and response.status_code == 200
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
    """The name of the token that was sent, None if it is not one of them."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    token = given.strip().encode("latin-1", "replace")
    # each is compared, in constant time, so that the time taken tells nothing of which was nearly right
    matches = [name for name, known in accepted if hmac.compare_digest(token, known)]
    return matches[0] if matches and scheme.lower() == "bearer" else None
