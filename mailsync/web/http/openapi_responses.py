"""The responses in the OpenAPI description: answers, problems, headers, links."""

from __future__ import annotations

import re
from typing import Any

from werkzeug.http import HTTP_STATUS_CODES

from mailsync.web.http.endpoint import Contract
from mailsync.web.http.problems import MEDIA
from mailsync.web.schemas.base import Feed, Page

_EVERYWHERE = (400, 401, 422, 500, 503, 504)
_PROBLEMS = {
    400: "The request is malformed: its document is not JSON, or its query is not UTF-8.",
    401: "The token is missing or unknown.",
    404: "Not found.",
    408: "The document did not arrive in time.",
    409: "The request conflicts with the current state; `code` says why.",
    410: "The message is no longer on the mail server, and its body was never fetched.",
    413: "The document is larger than 1 MiB.",
    415: "The document is not application/json.",
    422: "A field or parameter is not accepted; `errors` says which.",
    500: "An internal error; the service's log says more under the `request_id`.",
    502: "The mail server failed, or refused the request.",
    503: "The service is busy, or its database is unavailable; try again after `Retry-After` seconds.",
    504: "The database or the mail server took too long.",
}
_PROBLEM_HEADERS = {401: "WWW-Authenticate", 415: "Accept", 503: "Retry-After"}
_VARIABLE = re.compile(r"\{(\w+)\}")


def _header(description: str, *, required: bool = True, **schema: object) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": "string"} | schema}


HEADERS = {
    "X-Request-Id": _header(
        "Identifies the request in the service's log: the one you sent, or a generated one.",
        pattern="^[A-Za-z0-9._:-]{1,64}$",
    ),
    "WWW-Authenticate": _header("The authentication scheme to use.", pattern="^Bearer "),
    "Accept": _header("The media type to send instead.", const="application/json"),
    "Retry-After": _header("Seconds after which to try again.", type="integer", minimum=1),
    "X-Content-Warning": _header(
        "Why the content may not be what was sent, as in `warnings` of a body: `transfer_encoding` if the"
        " content is not in the encoding that its header names. Absent if there is no reason, and for HEAD.",
        required=False,
        pattern="^[a-z_]+(, [a-z_]+)*$",
    ),
    "Link": _header(
        'The next page, relative (RFC 8288): `<…>; rel="next"`; absent on the last page.',
        required=False,
        pattern='^<[!-;=?-~]+>; rel="next"$',
    ),
}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _header_refs(*names: str) -> dict[str, dict[str, str]]:
    return {name: _ref("headers", name) for name in ("X-Request-Id", *names)}


ANSWERS = {
    f"Problem{status}": {
        "description": description,
        "headers": _header_refs(*([_PROBLEM_HEADERS[status]] if status in _PROBLEM_HEADERS else [])),
        "content": {MEDIA: {"schema": _ref("schemas", "Problem")}},
    }
    for status, description in _PROBLEMS.items()
}


def responses(contract: Contract, schema: dict[str, Any] | None, problems: set[int]) -> dict[str, Any]:
    """All responses of an operation by status.

    `schema` describes its answer; `problems` are the statuses that follow from its path and method, in
    addition to those of the contract.
    """
    is_list = contract.answer is not None and issubclass(contract.answer, Page | Feed)
    answer = {
        "description": HTTP_STATUS_CODES[contract.status],
        "headers": _header_refs(*(["Link"] if is_list else []), *contract.headers),
        "content": {contract.media: _content(contract.media, schema)},
    }
    statuses = {*contract.problems, *problems, *(() if contract.is_open else _EVERYWHERE)}
    return {str(contract.status): answer} | {
        str(status): _ref("responses", f"Problem{status}") for status in sorted(statuses)
    }


def _content(media: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema:
        return {"schema": schema}
    if media == "application/json":
        return {"schema": {"type": "object"}}
    # OpenAPI 3.1 has no schema for bytes that are not JSON
    return {"schema": {"type": "string"}} if media.startswith("text/") else {}


def links_to(paths: dict[str, dict[str, Any]]) -> None:
    """Link each operation that creates something to the operations on it (OpenAPI's Link Objects)."""
    for path, operations in paths.items():
        for operation in operations.values():
            created = operation["responses"].get("201")
            if created:
                created["links"] = _links(paths, path)


def _links(paths: dict[str, dict[str, Any]], path: str) -> dict[str, Any]:
    """Links to all operations on what was just created in the collection `path`."""
    links = {}
    for other, operations in paths.items():
        variables = _VARIABLE.findall(other)
        if other.startswith(path + "/{") and len(variables) == 1:
            for operation in operations.values():
                name = operation["operationId"]
                links[name] = {"operationId": name, "parameters": {variables[0]: "$response.body#/id"}}
    return links
