"""Every error as ``application/problem+json`` (RFC 9457).

``{"type": "about:blank", "title": "Not Found", "status": 404, "detail": …, "code": "not_found",
"request_id": …}``: people read ``detail``, programs compare ``code``.
"""

from __future__ import annotations

import json
import logging

from flask import Flask, Response, current_app, g
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from mailsync import errors
from mailsync.logs import redact

log = logging.getLogger(__name__)

# what our own errors are to a client; a class that is not named here is found by its base
_STATUS: dict[type[errors.MailsyncError], int] = {
    errors.InvalidInput: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.LimitReached: 409,
    errors.Busy: 503,
    errors.Throttled: 503,
    errors.Transient: 502,
    errors.ProtocolError: 502,
    errors.AuthenticationFailed: 502,
    errors.FolderError: 502,
    errors.LockLost: 503,
    errors.DatabaseUnavailable: 503,
    errors.SchemaError: 503,
    errors.MailsyncError: 500,
}
_CODES = {
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    500: "internal",
}


def problem(
    status: int, code: str, detail: str, *, headers: dict[str, str] | None = None, **members: object
) -> Response:
    """The answer for an error; `detail` is redacted, `members` are added to the document."""
    document = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
        "detail": redact(detail),
        "code": code,
        "request_id": g.get("request_id"),
        **members,
    }
    body = json.dumps(document, ensure_ascii=False) + "\n"
    return Response(body, status, headers, content_type="application/problem+json")


def install(app: Flask) -> None:
    """Let `app` answer so to its own errors, to Flask's and to what nobody expected."""
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(errors.MailsyncError, _of_ours)
    app.register_error_handler(Exception, _of_bug)


def _of_http(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if status < 400:
        return error  # a redirect
    name = HTTP_STATUS_CODES.get(status, "error").lower().replace(" ", "_")
    # Allow, Retry-After and the like are kept; what describes the HTML body is not
    kept = {key: value for key, value in error.get_headers() if key.lower() != "content-type"}
    detail = f"A request may hold at most {_mib()} MiB." if status == 413 else error.description or error.name
    return problem(status, _CODES.get(status, name), detail, headers=kept)


def _of_ours(error: errors.MailsyncError) -> Response:
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    if status == 500:
        return _of_bug(error)
    wait = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(max(1, round(wait or 5)))} if status == 503 else None
    return problem(status, error.code, str(error), headers=headers)


def _of_bug(error: Exception) -> Response:
    log.error("Request failed", exc_info=error, extra={"action": "http", "request_id": g.get("request_id")})
    return problem(500, "internal", "The server made an error; its log has more under this request_id.")


def _mib() -> int:
    return int(current_app.config["MAX_CONTENT_LENGTH"]) >> 20
