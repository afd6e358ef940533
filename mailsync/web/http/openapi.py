"""The OpenAPI 3.1 description of the API, generated from the contracts and models of its endpoints.

pydantic describes the models. This module adds paths and parameters, and
:mod:`mailsync.web.http.openapi_responses` the responses. There is deliberately no ``default`` response: a
status that an operation does not document is a bug, and the tests find it.
"""

from __future__ import annotations

import inspect
import re
from typing import Any, cast

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from werkzeug.routing import Rule

from mailsync import __version__
from mailsync.web.http.endpoint import Contract, Nothing, contract_of
from mailsync.web.http.openapi_responses import ANSWERS, HEADERS, links_to, responses
from mailsync.web.http.problems import Problem
from mailsync.web.schemas.base import MAX_ID

REF = "#/components/schemas/{model}"
ABOUT = """\
Accounts, their mirrored mail, bodies on demand, and the feed of changes.

Every GET also works as HEAD. All errors are problem documents, including 404 and 405 (with `Allow`) for
unknown paths and methods, 414 and 431 for a request line or headers of more than 8 KB, and 400 for malformed
HTTP."""

_VARIABLE = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?(\w+)>")
_WITH_BODY = ("post", "put", "patch")


_NO_NUL = {"type": "string", "pattern": r"^[^\u0000]*$"}
_JSON_VALUE_REF = {"$ref": REF.format(model="JsonValue")}
_JSON_VALUE = {
    "description": "Any JSON that jsonb can store: no NUL in its strings and names.",
    "anyOf": [
        {"type": ["null", "boolean", "number"]},
        _NO_NUL,
        {"type": "array", "items": _JSON_VALUE_REF},
        {"type": "object", "propertyNames": _NO_NUL, "additionalProperties": _JSON_VALUE_REF},
    ],
}


class _Schemas(GenerateJsonSchema):
    """Without titles for fields, which would only repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document for all endpoints of `app`."""
    operations = [
        (rule, method.lower(), view, contract)
        for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)
        if (contract := contract_of(view := app.view_functions[rule.endpoint]))
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]
    names, schemas = _schemas([contract for *_, contract in operations])
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, view, contract in operations:
        operation = _description(rule, view.__doc__ or "") | _operation(rule, method, contract, names)
        paths.setdefault(_path(rule), {})[method] = operation
    links_to(paths)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailsync",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token from API_TOKEN.",
                }
            },
            "responses": ANSWERS,
            "headers": HEADERS,
            "schemas": schemas,
        },
    }


Names = dict[tuple[type[BaseModel], JsonSchemaMode], dict[str, Any]]


def _schemas(contracts: list[Contract]) -> tuple[Names, dict[str, Any]]:
    """References to the models, and the models: bodies as validated, answers as serialized."""
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {
        (Problem, "serialization"): None,
        (Nothing, "validation"): None,
    }
    for contract in contracts:
        if contract.body:
            models[contract.body, "validation"] = None
        if contract.answer:
            models[contract.answer, "serialization"] = None
    references, definitions = models_json_schema(list(models), ref_template=REF, schema_generator=_Schemas)
    schemas = definitions.get("$defs", {})
    if "JsonValue" in schemas:
        schemas["JsonValue"] = _JSON_VALUE
    return cast(Names, references), schemas


def _path(rule: Rule) -> str:
    return _VARIABLE.sub(r"{\2}", rule.rule)


def _description(rule: Rule, docstring: str) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    description = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": " ".join(summary.split()).removesuffix("."),
    }
    if rest:
        description["description"] = rest
    return description


def _operation(rule: Rule, method: str, contract: Contract, names: Names) -> dict[str, Any]:
    operation: dict[str, Any] = {"parameters": [*_variables(rule), *_query(contract)]}
    if contract.is_open:
        operation["security"] = []
    if method in _WITH_BODY:
        operation["requestBody"] = {
            "required": bool(contract.body) and contract.body_required,
            "content": {"application/json": {"schema": names[contract.body or Nothing, "validation"]}},
        }
    schema = names[contract.answer, "serialization"] if contract.answer else None
    problems = {404} if rule.arguments else set()
    problems |= {408, 413, 415} if method in _WITH_BODY else set()
    operation["responses"] = responses(contract, schema, problems)
    return operation


def _variables(rule: Rule) -> list[dict[str, Any]]:
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
    schema = contract.query.model_json_schema(schema_generator=_Schemas)
    required = schema.get("required", [])
    parameters = []
    for name, field in schema.get("properties", {}).items():
        field_schema = {key: value for key, value in field.items() if key != "description"}
        parameter = {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _without_null(field_schema),
        }
        if "description" in field:
            parameter["description"] = field["description"]
        parameters.append(parameter)
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that may be left out but not be null, which a query cannot express."""
    kinds = schema.get("anyOf", [])
    if {"type": "null"} not in kinds:
        return schema
    rest = [kind for kind in kinds if kind != {"type": "null"}]
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return kept | (rest[0] if len(rest) == 1 else {"anyOf": rest})
