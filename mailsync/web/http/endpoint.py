"""Declares what an operation of the API accepts and returns; reading requests and documentation follow it.

::

    @routes.get("/<id:account_id>")
    @endpoint(Account, problems=(404,))
    def show_account(account_id: int) -> Account:

pydantic validates the requests and describes the models (:mod:`mailsync.web.http.openapi`). Nothing is
coerced: ``"993"`` is not a number, and unknown or repeated parameters and fields are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes, urlencode

from flask import Response, request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import HTTPException

from mailsync.web.http.problems import BadRequest, FieldError
from mailsync.web.schemas.base import Answer, Body, Feed, Page, Query

Model = TypeVar("Model", bound=BaseModel)
View = Callable[..., Any]


class Nothing(Body):
    """An empty object: this operation accepts no fields."""


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract of an operation: what it accepts and returns; see :func:`endpoint`."""

    answer: type[Answer] | None
    media: str
    status: int
    query: type[Query] | None
    body: type[Body] | None
    body_required: bool
    problems: tuple[int, ...]
    is_open: bool
    headers: tuple[str, ...] = ()


def endpoint(
    answer: type[Answer] | None = None,
    *,
    media: str = "application/json",
    status: int = 200,
    query: type[Query] | None = None,
    body: type[Body] | None = None,
    body_required: bool = True,
    problems: tuple[int, ...] = (),
    is_open: bool = False,
    headers: tuple[str, ...] = (),
) -> Callable[[View], View]:
    """Turn a view into an operation that responds with `status` and the model `answer` as JSON.

    The view receives the variables of the path, and ``query`` and ``body`` if these models are given. It
    returns the answer, a pair of answer and headers, or a Response that is sent unchanged; `media` then
    documents its type. `problems` are the statuses of errors specific to this operation. `is_open` means that
    no token is required. `headers` are the response headers that only this operation has.
    """
    contract = Contract(answer, media, status, query, body, body_required, problems, is_open, headers)

    def decorate(view: View) -> View:
        @wraps(view)
        def respond(**arguments: Any) -> Response:
            if not is_open:  # load balancers add parameters of their own
                parameters = _read_query(query or Query)
                if query:
                    arguments["query"] = parameters
            if request.method in ("POST", "PATCH", "PUT"):
                document = _read_body(body or Nothing, required=bool(body) and body_required)
                if body:
                    arguments["body"] = document
            result = view(**arguments)
            if isinstance(result, Response):
                return result
            content, headers = result if isinstance(result, tuple) else (result, {})
            return _response(content, status, headers)

        respond.contract = contract  # type: ignore[attr-defined]
        return respond

    return decorate


def contract_of(view: View) -> Contract | None:
    """The contract of a view; None for a view that is not an endpoint."""
    return getattr(view, "contract", None)


def _response(answer: Answer, status: int, headers: Mapping[str, str]) -> Response:
    response = Response(
        answer.model_dump_json() + "\n", status, headers=dict(headers), mimetype="application/json"
    )
    has_more = (
        answer.has_more if isinstance(answer, Feed) else isinstance(answer, Page) and answer.next_cursor
    )
    if has_more and isinstance(answer, Feed | Page):
        name = "after" if "after" in request.args else "cursor"
        parameters = {**request.args.to_dict(), name: answer.next_cursor}
        # relative, because only the client knows the host name by which it reached us (RFC 8288 §3.1)
        response.headers["Link"] = f'<{request.path}?{urlencode(parameters)}>; rel="next"'
    return response


def _read_query(model: type[Model]) -> Model:
    try:
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError:
        raise BadRequest(400, detail="The query is not UTF-8.") from None
    for name, values in request.args.lists():
        if len(values) > 1:
            raise BadRequest(422, [FieldError(detail="given more than once", parameter=name[:100])])
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise BadRequest(422, [_parameter_error(details, model) for details in _details(error)]) from None


def _read_body(model: type[Model], *, required: bool) -> Model:
    try:
        data = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception as error:  # gunicorn raises various types; only reading from the client can fail here
        raise BadRequest(400, detail="The document is incomplete, or its chunks are malformed.") from error
    if not data and not required:
        return model.model_validate({})
    if request.mimetype != "application/json":
        raise BadRequest(415, detail="Send a JSON document, with Content-Type: application/json.")
    try:
        document = model.model_validate_json(data)
        # pydantic accepts these, but JSON parsers disagree about them (RFC 8259 §4, §6)
        json.loads(data, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
        return document
    except ValidationError as error:
        details = _details(error)
        if details[0]["type"] == "json_invalid":
            reason = details[0]["msg"].removeprefix("Invalid JSON: ")
            raise BadRequest(400, detail=f"The document is not JSON: {reason}.") from None
        raise BadRequest(422, [_field_error(item, model) for item in details]) from None


def _refuse_duplicates(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise BadRequest(400, detail=f"The document repeats a field: {name[:100]!a}.")
        seen.add(name)


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(400, detail=f"The document is not JSON, which has no {name}.")


def _details(error: ValidationError) -> list[ErrorDetails]:
    # without the input, because it may contain a password
    return error.errors(include_url=False, include_context=False, include_input=False)


def _parameter_error(error: ErrorDetails, model: type[BaseModel]) -> FieldError:
    return FieldError(detail=_message(error, model), parameter=str(error["loc"][0])[:100])


def _field_error(error: ErrorDetails, model: type[BaseModel]) -> FieldError:
    path = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')[:100]}" for step in error["loc"])
    return FieldError(detail=_message(error, model), pointer=f"#{path}")


def _message(error: ErrorDetails, model: type[BaseModel]) -> str:
    match error["type"]:
        case "extra_forbidden" if len(error["loc"]) == 1:
            accepted = ", ".join(field.alias or name for name, field in model.model_fields.items())
            return f"unknown; accepted are: {accepted}" if accepted else "unknown; nothing is accepted here"
        case "missing":
            return "required"
        case _:
            return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
