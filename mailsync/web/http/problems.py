"""Every error as ``application/problem+json`` (RFC 9457).

``{"type": "about:blank", "title": "Not Found", "status": 404, "detail": …, "code": "not_found",
"request_id": …}``: people read ``detail``, programs compare ``code``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from math import ceil

from flask import Flask, Response, current_app, g, request
from pydantic import ConfigDict, Field
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from mailsync import errors
from mailsync.redaction import mask_credentials
from mailsync.web.schemas.base import MAX_ID, Answer

log = logging.getLogger(__name__)

MEDIA = "application/problem+json"

# what our own errors are to a client; a class that is not named here is found by its base
_STATUS: dict[type[errors.MailsyncError], int] = {
    errors.InvalidInput: 422,
    errors.NotPossible: 409,
    errors.Broken: 409,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.LimitReached: 409,
    errors.Paused: 409,
    errors.UidValidityMoved: 409,
    errors.Gone: 410,
    errors.Busy: 503,
    errors.Throttled: 503,
    errors.PoisonousServer: 503,
    errors.TimedOut: 504,
    errors.Transient: 502,
    errors.ProtocolError: 502,
    errors.AuthenticationFailed: 502,
    # what the client sent is wrong; as 502 it would be tried again, until the mail server locks its user out
    errors.PasswordRejected: 422,
    errors.FolderError: 502,
    errors.KeyMismatch: 503,
    errors.LockLost: 503,
    errors.DatabaseSlow: 504,
    errors.RowsLocked: 503,
    errors.DatabaseUnavailable: 503,
    errors.SchemaError: 503,
    errors.MailsyncError: 500,
}
# their words name hosts, tables and backends
_INTERNAL = (errors.DatabaseUnavailable, errors.LockLost, errors.SchemaError)
_CODES = {
    400: "bad_request",
    401: "unauthorized",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    500: "internal",
}
_NO_PATH = "There is no such path; GET /openapi.json describes those that there are."
_NAMED_BY_ID = {
    "accounts": (
        "An account is named by its id, a whole number; GET /v1/accounts?email= finds it by its address."
    ),
    "folders": "A folder is named by its id, a whole number; GET /v1/accounts/<id>/folders lists them.",
    "messages": "A message is named by its id, a whole number; GET /v1/accounts/<id>/messages lists them.",
}
_COLLECTION = re.compile(r"(?<=/)(accounts|folders|messages)/([^/]+)")
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


class _Sparse(Answer):
    """What is null is left out."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)


class FieldError(_Sparse):
    """One thing that is wrong with a request: of a body's field, or of a query parameter."""

    detail: str
    pointer: str | None = Field(default=None, description="The body's field, as a JSON Pointer (RFC 6901).")
    parameter: str | None = Field(default=None, description="The query parameter.")


class Problem(_Sparse):
    """What went wrong."""

    type: str = Field(description="Always about:blank: `code` tells the kinds apart.")
    title: str
    status: int
    detail: str = Field(description="One line for people.")
    code: str = Field(description="For programs.")
    request_id: str | None = Field(description="Names the request in the service's log.")
    errors: list[FieldError] | None = Field(default=None, description="What of the request is not accepted.")
    step: str | None = Field(default=None, description="The step of a connection test that failed.")
    checks: list[str] | None = Field(default=None, description="The checks that fail.")


class BadRequest(Exception):
    """A request that is refused before anything was done: its status, and what is wrong with it."""

    def __init__(self, status: int, found: Sequence[FieldError] = (), *, detail: str = "") -> None:
        super().__init__(detail or _first(found))
        self.status = status
        self.errors = list(found)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    step: str | None = None,
    checks: list[str] | None = None,
    found: list[FieldError] | None = None,
) -> Response:
    """The answer for an error; secrets of others must not be in `detail`."""
    document = Problem(
        type="about:blank",
        title=HTTP_STATUS_CODES.get(status, "Error"),
        status=status,
        detail=detail,
        code=code,
        request_id=g.get("request_id"),
        errors=found or None,
        step=step,
        checks=checks,
    )
    body = document.model_dump_json(exclude_none=True)
    return Response(body + "\n", status, headers, content_type=MEDIA)


def install(app: Flask) -> None:
    """Let `app` answer so to its own errors, to Flask's and to what nobody expected."""
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(BadRequest, _of_request)
    app.register_error_handler(errors.MailsyncError, _of_ours)
    app.register_error_handler(Exception, _of_bug)


def _of_http(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if status < 400:
        return error  # a redirect
    name = HTTP_STATUS_CODES.get(status, "error").lower().replace(" ", "_")
    # Allow, Retry-After and the like are kept; what describes the HTML body is not
    kept = {key: value for key, value in error.get_headers() if key.lower() != "content-type"}
    return problem(status, _CODES.get(status, name), _in_our_words(error, status), headers=kept)


def _in_our_words(error: HTTPException, status: int) -> str:
    """What helps; the path is not repeated."""
    match status:
        case 404:
            found = _COLLECTION.findall(request.path)
            wrong = [name for name, word in found if not (_ID.fullmatch(word) and int(word) <= MAX_ID)]
            return _NAMED_BY_ID[wrong[0]] if wrong else _NO_PATH
        case 405:
            methods = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
            return f"{request.method:.20} is not possible here; possible are {methods or 'others'}."
        case 413:
            return f"A request may hold at most {_mib()} MiB."
        case _:
            return error.description or error.name


def _of_request(error: BadRequest) -> Response:
    # Our words and the client's own: to mask any of these would only tell which of them are secrets.
    headers = {"Accept": "application/json"} if error.status == 415 else None
    return problem(error.status, _CODES[error.status], str(error), headers=headers, found=error.errors)


def _of_ours(error: errors.MailsyncError) -> Response:
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    if status == 500:
        return _of_bug(error)
    if status == 504 and isinstance(error, errors.DatabaseSlow):
        detail = (
            "The query took longer than it may. Lists are narrowed down by folder, from, since and until."
            if request.method in ("GET", "HEAD")
            else "Postgres took longer than it may, and nothing was changed. Try again."
        )
        return problem(status, "query_timeout", detail)
    if isinstance(error, _INTERNAL):
        extra = {"action": "http", "error": str(error), "request_id": g.get("request_id")}
        log.warning("The database failed a request", extra=extra)
        what = (
            "Another transaction keeps a row locked"
            if isinstance(error, errors.RowsLocked)
            else "The database is not ready"
        )
        detail = f"{what}; the service's log has more under this request_id."
        return problem(status, error.code, detail, headers={"Retry-After": "5"})
    if isinstance(error, errors.ForbiddenHost) and request.method in ("GET", "HEAD"):
        # who only reads has not named the host
        return problem(502, error.code, mask_credentials(str(error)))
    wait = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(max(1, ceil(wait or 5)))} if status == 503 else None
    field = error.field if isinstance(error, errors.InvalidInput) else None
    # never through redact(): a client may have chosen these words, and would see which secrets it guessed
    detail = mask_credentials(str(error))
    found = [FieldError(detail=detail, pointer=f"#/{field}")] if field else None
    return problem(status, error.code, detail, headers=headers, step=error.step, found=found)


def _of_bug(error: Exception) -> Response:
    log.error("Request failed", exc_info=error, extra={"action": "http", "request_id": g.get("request_id")})
    return problem(500, "internal", "The server made an error; its log has more under this request_id.")


def _first(found: Sequence[FieldError]) -> str:
    """One line for all that was found: the first in full."""
    if not found:
        return ""
    name = found[0].parameter or (found[0].pointer or "#")[1:].lstrip("/") or "the document"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{name}: {found[0].detail}{more}"


def _mib() -> int:
    return int(current_app.config["MAX_CONTENT_LENGTH"]) >> 20
