"""The API's own description, OpenAPI 3.1, from the contracts of its endpoints and the models that validate.

pydantic describes the models; here they are put together with paths, parameters and errors.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, cast

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import Rule

from mailsync import __version__
from mailsync.web.endpoint import Contract, contract_of
from mailsync.web.fields import MAX_ID
from mailsync.web.problems import MEDIA, Problem

REF = "#/components/schemas/{model}"

_VARIABLE = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?(\w+)>")
_EVERYWHERE = (401, 422, 500, 503, 504)
_PROBLEMS = {
    400: "The document is not JSON.",
    401: "No token, or one that is not known.",
    404: "There is no such thing.",
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


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of all of the app's views that are endpoints."""
    operations = [
        (rule, method.lower(), view, contract)
        for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)
        if (contract := contract_of(view := app.view_functions[rule.endpoint]))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    names, schemas = _schemas([contract for *_, contract in operations])
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, view, contract in operations:
        path = _VARIABLE.sub(r"{\2}", rule.rule)
        operation = _described(rule, method, view.__doc__ or "") | _operation(rule, contract, names)
        paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailsync",
            "version": __version__,
            "description": "Accounts, their mirrored mail, bodies on demand, and the feed of changes.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of API_TOKEN."}
            },
            "schemas": schemas,
        },
    }


Names = dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]


def _schemas(contracts: list[Contract]) -> tuple[Names, dict[str, Any]]:
    """References to the models, and the models: what is taken as it is read, what is given as it is said."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for contract in contracts:
        if contract.body:
            wanted[contract.body, "validation"] = None
        if contract.answer:
            wanted[contract.answer, "serialization"] = None
    found, definitions = models_json_schema(list(wanted), ref_template=REF)
    return cast(Names, found), definitions.get("$defs", {})


def _described(rule: Rule, method: str, doc: str) -> dict[str, Any]:
    summary, _, more = inspect.cleandoc(doc).partition("\n\n")
    described = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": " ".join(summary.split()).removesuffix("."),
    }
    if more:
        described["description"] = more
    return described


def _operation(rule: Rule, contract: Contract, names: Names) -> dict[str, Any]:
    operation: dict[str, Any] = {"parameters": [*_path(rule), *_query(contract)]}
    if contract.body:
        operation["requestBody"] = {
            "required": contract.body_required,
            "content": {"application/json": {"schema": names[contract.body, "validation"]}},
        }
    if contract.answer:
        schema: dict[str, Any] = names[contract.answer, "serialization"]
    else:
        schema = {"type": "string"} if contract.media.startswith("text/") else {}
    problems = {*contract.problems, *(() if contract.is_open else _EVERYWHERE)}
    if contract.body:
        problems |= {400, 413, 415}
    if contract.is_open:
        operation["security"] = []
    operation["responses"] = {
        str(contract.status): {
            "description": HTTP_STATUS_CODES[contract.status],
            "content": {contract.media: {"schema": schema}},
        }
    } | {
        str(status): {
            "description": _PROBLEMS[status],
            "content": {MEDIA: {"schema": names[Problem, "serialization"]}},
        }
        for status in sorted(problems)
    }
    return operation


def _path(rule: Rule) -> list[dict[str, Any]]:
    kinds: dict[str | None, dict[str, Any]] = {
        "id": {"type": "integer", "minimum": 1, "maximum": MAX_ID, "format": "int64"}
    }
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": kinds.get(kind, {"type": "string", "minLength": 1}),
        }
        for kind, name in _VARIABLE.findall(rule.rule)
    ]


def _query(contract: Contract) -> list[dict[str, Any]]:
    if contract.query is None:
        return []
    schema = contract.query.model_json_schema(ref_template=REF)
    required = schema.get("required", [])
    parameters = []
    for name, found in schema.get("properties", {}).items():
        described = {key: value for key, value in found.items() if key not in ("title", "description")}
        parameter = {"name": name, "in": "query", "required": name in required, "schema": _plain(described)}
        if "description" in found:
            parameter["description"] = found["description"]
        parameters.append(parameter)
    return parameters


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that can be left out, but not be null, as a query has no such thing."""
    kinds = schema.get("anyOf", [])
    if {"type": "null"} not in kinds:
        return schema
    rest = [kind for kind in kinds if kind != {"type": "null"}]
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return kept | (rest[0] if len(rest) == 1 else {"anyOf": rest})
