"""What the operations answer, for the API's description: answers, problems, headers, and the links."""

from __future__ import annotations

import re
from typing import Any

from werkzeug.http import HTTP_STATUS_CODES

from mailsync.web.http.endpoint import Contract
from mailsync.web.http.problems import MEDIA
from mailsync.web.schemas.base import Feed, Page

_EVERYWHERE = (400, 401, 422, 500, 503, 504)
_PROBLEMS = {
    400: "The request is not well-formed: its document is no JSON, or its query no UTF-8.",
    401: "No token, or one that is not known.",
    404: "There is no such thing.",
    408: "The document was not whole in time.",
    409: "It does not go with how things are; `code` says why.",
    410: "The message is no longer on the server, and its body was never fetched.",
    413: "The document is larger than 1 MiB.",
    415: "The document is not application/json.",
    422: "Something of the request is not accepted; `errors` says what.",
    500: "An error of the service; its log has more under the `request_id`.",
    502: "The mail server failed or refused.",
    503: "Busy, or the database is not there; try again after `Retry-After` seconds.",
    504: "It took too long.",
}
_HEADERS_OF = {401: "WWW-Authenticate", 415: "Accept", 503: "Retry-After"}
_VARIABLE = re.compile(r"\{(\w+)\}")


def _header(description: str, *, required: bool = True, **schema: object) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": "string"} | schema}


HEADERS = {
    "X-Request-Id": _header(
        "Names the request in the service's log: as it was sent, or made.", pattern="^[A-Za-z0-9._:-]{1,64}$"
    ),
    "WWW-Authenticate": _header("The scheme that is asked for.", pattern="^Bearer "),
    "Accept": _header("What is accepted instead.", const="application/json"),
    "Retry-After": _header("Seconds after which to try again.", type="integer", minimum=1),
    "Link": _header(
        'The next page, relative (RFC 8288): `<…>; rel="next"`; not there at the end.',
        required=False,
        pattern='^<[!-;=?-~]+>; rel="next"$',
    ),
}


def _ref(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _named(*names: str) -> dict[str, dict[str, str]]:
    return {name: _ref("headers", name) for name in ("X-Request-Id", *names)}


ANSWERS = {
    f"Problem{status}": {
        "description": said,
        "headers": _named(*([_HEADERS_OF[status]] if status in _HEADERS_OF else [])),
        "content": {MEDIA: {"schema": _ref("schemas", "Problem")}},
    }
    for status, said in _PROBLEMS.items()
}


def responses(contract: Contract, schema: dict[str, Any] | None, more: set[int]) -> dict[str, Any]:
    """All answers of an operation by status; `schema` is of its answer, `more` are problems by its shape."""
    pages = contract.answer is not None and issubclass(contract.answer, Page | Feed)
    answer = {
        "description": HTTP_STATUS_CODES[contract.status],
        "headers": _named(*(["Link"] if pages else [])),
        "content": {contract.media: _content(contract.media, schema)},
    }
    found = {str(contract.status): answer}
    problems = {*contract.problems, *more, *(() if contract.is_open else _EVERYWHERE)}
    return found | {str(status): _ref("responses", f"Problem{status}") for status in sorted(problems)}


def _content(media: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema:
        return {"schema": schema}
    if media == "application/json":
        return {"schema": {"type": "object"}}
    # bytes that are no JSON have no schema in OpenAPI 3.1
    return {"schema": {"type": "string"}} if media.startswith("text/") else {}


def links_to(paths: dict[str, dict[str, Any]]) -> None:
    """Link what makes a thing to all that can be asked of it (OpenAPI's Link Objects)."""
    for path, operations in paths.items():
        for operation in operations.values():
            made = operation["responses"].get("201")
            if made:
                made["links"] = _links(paths, path)


def _links(paths: dict[str, dict[str, Any]], path: str) -> dict[str, Any]:
    """To all operations on what has just been made in the collection `path`."""
    found = {}
    for other, operations in paths.items():
        variables = _VARIABLE.findall(other)
        if other.startswith(path + "/{") and len(variables) == 1:
            for operation in operations.values():
                name = operation["operationId"]
                found[name] = {"operationId": name, "parameters": {variables[0]: "$response.body#/id"}}
    return found
