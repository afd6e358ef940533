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
from mailsync.web.resources import resources
from mailsync.web.schemas.base import MAX_ID, Answer

log = logging.getLogger(__name__)

MEDIA = "application/problem+json"

# the status for each of our own errors; a class that is not listed has that of its base
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
    # not 502, which clients would retry until the mail server locks the user out
    errors.PasswordRejected: 422,
    errors.GrantRejected: 422,
    errors.FolderError: 502,
    errors.KeyMismatch: 503,
    errors.LockLost: 503,
    errors.DatabaseSlow: 504,
    errors.RowsLocked: 503,
    errors.DatabaseUnavailable: 503,
    errors.SchemaError: 503,
    errors.MailsyncError: 500,
}
# their texts name hosts, tables and backends
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
_NO_PATH = "There is no such path; see GET /openapi.json for all paths."
_ADDRESSED_BY_ID = {
    "accounts": (
        "Accounts are addressed by id, a whole number; GET /v1/accounts?email= finds one by e-mail address."
    ),
    "folders": "Folders are addressed by id, a whole number; GET /v1/accounts/<id>/folders lists them.",
    "messages": "Messages are addressed by id, a whole number; GET /v1/accounts/<id>/messages lists them.",
}
_COLLECTION = re.compile(r"(?<=/)(accounts|folders|messages)/([^/]+)")
_ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)


class _Sparse(Answer):
    """A model whose null fields are left out of the JSON."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)


class FieldError(_Sparse):
    """One error in a request: in a field of the body, or in a query parameter."""

    detail: str
    pointer: str | None = Field(default=None, description="The field, as a JSON Pointer (RFC 6901).")
    parameter: str | None = Field(default=None, description="The query parameter.")


class Problem(_Sparse):
    """An error (RFC 9457)."""

    type: str = Field(description="Always about:blank; `code` is the kind of error.")
    title: str
    status: int
    detail: str = Field(description="One line for people.")
    code: str = Field(description="The kind of error, for programs.")
    request_id: str | None = Field(description="Identifies the request in the service's log.")
    errors: list[FieldError] | None = Field(default=None, description="The fields or parameters to correct.")
    step: str | None = Field(default=None, description="The step of a connection test that failed.")
    checks: list[str] | None = Field(default=None, description="The checks that fail.")


class BadRequest(Exception):
    """A request that is refused before anything was done, with its status and field errors."""

    def __init__(self, status: int, field_errors: Sequence[FieldError] = (), *, detail: str = "") -> None:
        super().__init__(detail or _summary(field_errors))
        self.status = status
        self.errors = list(field_errors)


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    step: str | None = None,
    checks: list[str] | None = None,
    field_errors: list[FieldError] | None = None,
) -> Response:
    """The response for an error. `detail` must not contain anybody else's secrets."""
    document = Problem(
        type="about:blank",
        title=HTTP_STATUS_CODES.get(status, "Error"),
        status=status,
        detail=detail,
        code=code,
        request_id=g.get("request_id"),
        errors=field_errors or None,
        step=step,
        checks=checks,
    )
    body = document.model_dump_json(exclude_none=True)
    return Response(body + "\n", status, headers, content_type=MEDIA)


def install(app: Flask) -> None:
    """Make `app` respond with problem documents to its own errors, Flask's, and unexpected ones."""
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(BadRequest, _from_request)
    app.register_error_handler(errors.MailsyncError, _from_mailsync)
    app.register_error_handler(Exception, _from_bug)


def _from_http(error: HTTPException) -> Response | HTTPException:
    status = error.code or 500
    if status < 400:
        return error  # a redirect
    name = HTTP_STATUS_CODES.get(status, "error").lower().replace(" ", "_")
    # keep Allow, Retry-After and the like, but not the type of werkzeug's HTML body
    headers = {key: value for key, value in error.get_headers() if key.lower() != "content-type"}
    return problem(status, _CODES.get(status, name), _detail(error, status), headers=headers)


def _detail(error: HTTPException, status: int) -> str:
    """A text that says what to do; it does not repeat the path."""
    match status:
        case 404:
            items = _COLLECTION.findall(request.path)
            wrong = [name for name, item in items if not (_ID.fullmatch(item) and int(item) <= MAX_ID)]
            return _ADDRESSED_BY_ID[wrong[0]] if wrong else _NO_PATH
        case 405:
            methods = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
            return f"{request.method:.20} is not allowed here; use {methods or 'another method'}."
        case 413:
            return f"The document is too large; at most {_mib()} MiB are accepted."
        case _:
            return error.description or error.name


def _from_request(error: BadRequest) -> Response:
    # Only our words and the client's own: masking them would reveal which of the client's words are secrets.
    headers = {"Accept": "application/json"} if error.status == 415 else None
    return problem(error.status, _CODES[error.status], str(error), headers=headers, field_errors=error.errors)


def _from_mailsync(error: errors.MailsyncError) -> Response:
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    if status == 500:
        return _from_bug(error)
    if status == 504 and isinstance(error, errors.DatabaseSlow):
        detail = (
            "The query took too long. Narrow the list down by folder, from, since or until."
            if request.method in ("GET", "HEAD")
            else "Postgres took too long, and nothing was changed. Try again."
        )
        return problem(status, "query_timeout", detail)
    if isinstance(error, _INTERNAL):
        extra = {"action": "http", "error": str(error), "request_id": g.get("request_id")}
        # an outage is logged once, by the readiness checks, and not again for each request
        is_logged = resources().readiness.explains(error)
        log.log(logging.DEBUG if is_logged else logging.WARNING, "The database failed a request", extra=extra)
        reason = (
            "Another transaction keeps a row locked"
            if isinstance(error, errors.RowsLocked)
            else "The database is not available"
        )
        detail = f"{reason}; the service's log says why."
        return problem(status, error.code, detail, headers={"Retry-After": "5"})
    if isinstance(error, errors.ForbiddenHost | errors.GrantRejected) and request.method in ("GET", "HEAD"):
        # host and tokens are stored with the account; this client did not send them
        return problem(502, error.code, mask_credentials(str(error)))
    wait = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(max(1, ceil(wait or 5)))} if status == 503 else None
    field = error.field if isinstance(error, errors.InvalidInput) else None
    # not redact(): the client may have chosen these words, and would learn which secrets it guessed
    detail = mask_credentials(str(error))
    field_errors = [FieldError(detail=detail, pointer=f"#/{field}")] if field else None
    return problem(status, error.code, detail, headers=headers, step=error.step, field_errors=field_errors)


def _from_bug(error: Exception) -> Response:
    log.error("Request failed", exc_info=error, extra={"action": "http", "request_id": g.get("request_id")})
    return problem(500, "internal", "Internal error; the service's log says more under this request_id.")


def _summary(field_errors: Sequence[FieldError]) -> str:
    """One line for all field_errors: the first in full, and how many more there are."""
    if not field_errors:
        return ""
    name = field_errors[0].parameter or (field_errors[0].pointer or "#")[1:].lstrip("/") or "the document"
    more = f" (and {len(field_errors) - 1} more)" if len(field_errors) > 1 else ""
    return f"{name}: {field_errors[0].detail}{more}"


def _mib() -> int:
    return int(current_app.config["MAX_CONTENT_LENGTH"]) >> 20
