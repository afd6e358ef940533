"""What an operation of the API takes and gives, said once: requests are read, and documented, by it.

::

    @routes.get("/<id:account_id>")
    @endpoint(Account, problems=(404,))
    def show_account(account_id: int) -> Account:

pydantic validates the requests and describes the models (:mod:`mailsync.web.http.openapi`). Nothing is
coerced on the way: ``"993"`` is no number, a parameter that stands twice is refused, and so is what is not
known.
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
    """An empty object: this operation takes nothing."""


@dataclass(frozen=True, slots=True)
class Contract:
    """An operation's side of the bargain; see :func:`endpoint`."""

    answer: type[Answer] | None
    media: str
    status: int
    query: type[Query] | None
    body: type[Body] | None
    body_required: bool
    problems: tuple[int, ...]
    is_open: bool


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
) -> Callable[[View], View]:
    """Make a view of an operation that answers `status` with the model `answer`, as JSON.

    The view gets the path's variables, and, where there are such models, ``query`` and ``body``. It returns
    the answer, or a pair of the answer and headers, or a Response that goes out as it is (then `media`
    is its type, for the documentation). `problems` are the errors that only this operation has; `is_open`
    tells that it wants no token.
    """
    contract = Contract(answer, media, status, query, body, body_required, problems, is_open)

    def decorate(view: View) -> View:
        @wraps(view)
        def answered(**given: Any) -> Response:
            if not is_open:  # load balancers ask with parameters of their own
                parameters = _read_query(query or Query)
                if query:
                    given["query"] = parameters
            if request.method in ("POST", "PATCH", "PUT"):
                document = _read_body(body or Nothing, required=bool(body) and body_required)
                if body:
                    given["body"] = document
            said = view(**given)
            if isinstance(said, Response):
                return said
            found, headers = said if isinstance(said, tuple) else (said, {})
            return _response(found, status, headers)

        answered.contract = contract  # type: ignore[attr-defined]
        return answered

    return decorate


def contract_of(view: View) -> Contract | None:
    """The contract of a view, None for one that is no endpoint."""
    return getattr(view, "contract", None)


def _response(found: Answer, status: int, headers: Mapping[str, str]) -> Response:
    response = Response(
        found.model_dump_json() + "\n", status, headers=dict(headers), mimetype="application/json"
    )
    more = found.has_more if isinstance(found, Feed) else isinstance(found, Page) and found.next_cursor
    if more and isinstance(found, Feed | Page):
        name = "after" if "after" in request.args else "cursor"
        parameters = {**request.args.to_dict(), name: found.next_cursor}
        # relative, since only the client knows by which name it has reached us (RFC 8288 §3.1)
        response.headers["Link"] = f'<{request.path}?{urlencode(parameters)}>; rel="next"'
    return response


def _read_query(model: type[Model]) -> Model:
    try:
        unquote_to_bytes(request.query_string).decode()
    except UnicodeDecodeError:
        raise BadRequest(400, detail="The query is not UTF-8.") from None
    for name, values in request.args.lists():
        if len(values) > 1:
            raise BadRequest(422, [FieldError(detail="it stands twice", parameter=name[:100])])
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise BadRequest(422, [_of_parameter(each, model) for each in _details(error)]) from None


def _read_body(model: type[Model], *, required: bool) -> Model:
    try:
        data = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception as error:  # of the server's, whichever it is: it reads from the client, and nothing else
        raise BadRequest(400, detail="The document is cut off, or its chunks are malformed.") from error
    if not data and not required:
        return model.model_validate({})
    if request.mimetype != "application/json":
        raise BadRequest(415, detail="Send a JSON document, with Content-Type: application/json.")
    try:
        document = model.model_validate_json(data)
        # what pydantic lets pass although no two readers agree on it (RFC 8259 §4, §6)
        json.loads(data, object_pairs_hook=_named_once, parse_constant=_refuse_constant)
        return document
    except ValidationError as error:
        details = _details(error)
        if details[0]["type"] == "json_invalid":
            reason = details[0]["msg"].removeprefix("Invalid JSON: ")
            raise BadRequest(400, detail=f"The document is not JSON: {reason}.") from None
        raise BadRequest(422, [_of_field(each, model) for each in details]) from None


def _named_once(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise BadRequest(400, detail=f"The document has a field twice: {name[:100]!a}.")
        seen.add(name)


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(400, detail=f"The document is not JSON: it has no {name}.")


def _details(error: ValidationError) -> list[ErrorDetails]:
    # without the input and what was made of it: a password may be among them
    return error.errors(include_url=False, include_context=False, include_input=False)


def _of_parameter(error: ErrorDetails, model: type[BaseModel]) -> FieldError:
    return FieldError(detail=_said(error, model), parameter=str(error["loc"][0])[:100])


def _of_field(error: ErrorDetails, model: type[BaseModel]) -> FieldError:
    path = "".join(f"/{str(each).replace('~', '~0').replace('/', '~1')[:100]}" for each in error["loc"])
    return FieldError(detail=_said(error, model), pointer=f"#{path}")


def _said(error: ErrorDetails, model: type[BaseModel]) -> str:
    match error["type"]:
        case "extra_forbidden" if len(error["loc"]) == 1:
            accepted = ", ".join(field.alias or name for name, field in model.model_fields.items())
            return f"it is not known; accepted are: {accepted}" if accepted else "nothing is accepted here"
        case "missing":
            return "it is required"
        case _:
            return error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
