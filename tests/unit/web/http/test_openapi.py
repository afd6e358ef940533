"""The OpenAPI description: valid, and strict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from mailsync.config import Settings
from mailsync.web import create_app
from mailsync.web.http import openapi

# the keywords of JSON Schema; validators skip unknown ones
_SAYS_WHAT = {"type", "$ref", "anyOf", "allOf", "const", "enum"}
_KEYWORDS = _SAYS_WHAT | {
    "additionalProperties", "default", "dependentSchemas", "description", "examples", "format", "items",
    "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "not", "pattern",
    "patternProperties", "properties", "propertyNames", "required", "title", "writeOnly",
}  # fmt: skip


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    settings = Settings.model_validate(
        {
            "database_url": "postgresql://nobody@localhost/none_test",
            "imap_encryption_key": "00" * 32,
            "api_token": "a-token-for-a-unit-test",
        }
    )
    result: dict[str, Any] = json.loads(json.dumps(openapi.document(create_app(settings))))
    return result


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_schema_has_a_type_and_only_known_keywords(document: dict[str, Any]) -> None:
    result = list(_all_schemas(document))
    assert len(result) > 200
    for where, schema in result:
        assert _SAYS_WHAT & schema.keys(), f"{where} may be anything: {schema}"
        assert schema.keys() <= _KEYWORDS, f"{where}: {schema.keys() - _KEYWORDS}"


def test_objects_allow_exactly_the_fields_that_they_list(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        if "properties" in schema:
            assert schema["additionalProperties"] is False, name


def test_every_operation_documents_its_problems_and_headers(document: dict[str, Any]) -> None:
    for path, method, operation in _operations(document):
        answers = {status: _resolved(document, answer) for status, answer in operation["responses"].items()}
        where = f"{method} {path}"
        assert "default" not in answers, f"{where}: then any status would be as described"
        assert "X-Request-Id" in answers[min(answers)]["headers"], where
        for status, answer in answers.items():
            assert "X-Request-Id" in answer["headers"], f"{where} {status}"
            kinds = set(answer["content"])
            assert int(status) < 400 or kinds == {"application/problem+json"}, f"{where} {status}"
        wanted = {"404"} if "{" in path else set()
        wanted |= {"400", "413", "415", "422"} if "requestBody" in operation else set()
        wanted |= {"401", "503", "504"} if operation.get("security") != [] else set()
        assert wanted <= answers.keys(), where
        assert "503" not in answers or "Retry-After" in answers["503"]["headers"]


def test_created_objects_link_to_their_operations(document: dict[str, Any]) -> None:
    made = document["paths"]["/v1/accounts"]["post"]["responses"]["201"]
    assert made["links"]["show_account"] == {
        "operationId": "show_account",
        "parameters": {"account_id": "$response.body#/id"},
    }
    known = {operation["operationId"] for *_, operation in _operations(document)}
    assert made["links"].keys() <= known
    assert {"show_account", "change_account", "remove_account", "list_messages"} <= made["links"].keys()


def test_passwords_are_write_only(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    holding = {name for name, schema in schemas.items() if "password" in schema.get("properties", {})}
    assert holding == {"NewAccount", "AccountChanges"}
    assert all(schemas[name]["properties"]["password"]["writeOnly"] for name in holding)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _resolved(document: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    name = answer.get("$ref", "").removeprefix("#/components/responses/")
    result: dict[str, Any] = document["components"]["responses"][name] if name else answer
    return result


def _all_schemas(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    components = document["components"]
    for name, schema in components["schemas"].items():
        yield from _within(name, schema)
    for name, header in components["headers"].items():
        yield from _within(name, header["schema"])
    for path, method, operation in _operations(document):
        for parameter in operation["parameters"]:
            yield from _within(f"{method} {path} {parameter['name']}", parameter["schema"])


def _within(where: str, schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schema and its subschemas, without those of ``not``, ``anyOf`` and the like."""
    yield where, schema
    for name, inner in {**schema.get("properties", {}), **schema.get("patternProperties", {})}.items():
        yield from _within(f"{where}.{name}", inner)
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from _within(f"{where}.{word}", schema[word])
    if "type" not in schema:
        for inner in schema.get("anyOf", []):
            yield from _within(f"{where}|", inner)
