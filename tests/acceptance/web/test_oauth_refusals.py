"""Consents over HTTP that come to nothing: classed and worded, and nothing is stored (SPEC §23.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support.imap_server import User
from tests.support.mirrors import value
from tests.support.oauth_api import (
    AUTHORIZATIONS,
    PRODUCT,
    PROVIDER,
    Product,
    assert_nothing_stored,
    assert_plain,
    returned,
)

Database = psycopg.Connection[Any]


@pytest.fixture
def user(product: Product) -> User:
    return product.dovecot.new_user()


def test_a_person_who_refuses_is_no_error_of_the_service(
    product: Product, user: User, database: Database
) -> None:
    begun = product.begin(email=user.name, return_url=PRODUCT)
    assert returned(product.consent(begun, user.name, deny=True)) == {"error": ["access_denied"]}
    shown = product.outcome(begun)
    assert (shown["status"], shown["error"], shown["account_id"]) == ("failed", "access_denied", None)
    assert product.exchanges() == 0
    assert_nothing_stored(database)
    assert_plain(
        product.consent(product.begin(email=user.name), user.name, deny=True),
        400,
        "Mailbox not connected",
        "You did not give access",
    )


FAULTS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"status": 503}, "unreachable", "503"),
    ({"status": 200, "body": "<h1>Sign in</h1>"}, "unreachable", "no JSON (text/html)"),
    (
        {"status": 302, "headers": {"Location": "https://10.0.0.1/x?y"}},
        "unreachable",
        "redirects to 10.0.0.1",
    ),
    ({"status": 429, "headers": {"Retry-After": "7"}}, "throttled", "too many requests"),
    ({"status": 400, "error": "invalid_grant"}, "auth_failed", "invalid_grant"),
    ({"status": 401, "error": "invalid_client"}, "oauth_client", "OAUTH_CORP_CLIENT_ID"),
)


def test_a_failing_provider_is_classed_and_nothing_is_stored(
    product: Product, user: User, database: Database
) -> None:
    for fault, error, words in FAULTS:
        product.server.fail_next("token", **fault)
        begun = product.begin(email=user.name, return_url=PRODUCT)
        assert returned(product.consent(begun, user.name)) == {"error": [error]}
        shown = product.outcome(begun)
        assert (shown["status"], shown["error"]) == ("failed", error)
        assert words in shown["message"]
    assert_nothing_stored(database)
    records = product.api.process.records()
    logged = [record["error"] for record in records if record["message"] == "A consent failed"]
    assert [words in line for line, (_, _, words) in zip(logged, FAULTS, strict=True)] == [True] * len(FAULTS)


def test_no_refresh_token_is_said(product: Product, user: User, database: Database) -> None:
    product.server.change_next(refresh_token=None)
    begun = product.begin(email=user.name, return_url=PRODUCT)
    assert "error" in returned(product.consent(begun, user.name))
    assert "refresh token" in product.outcome(begun)["message"]
    assert_nothing_stored(database)


# -- beginning -------------------------------------------------------------------------------------------


BAD_BODIES: tuple[tuple[dict[str, Any], str], ...] = (
    ({"provider": "nobody"}, "#/provider"),
    ({"provider": "Corp"}, "#/provider"),
    ({"provider": None}, "#/provider"),
    ({"email": "no address"}, "#/email"),
    ({"email": "a@b.test", "account_id": 1}, "#/email"),
    ({"account_id": 0}, "#/account_id"),
    ({"return_url": "https://evil.example/"}, "#/return_url"),
    ({"return_url": f"{PRODUCT}.evil.example"}, "#/return_url"),
    ({"return_url": f"{PRODUCT}2"}, "#/return_url"),
    ({"return_url": f"{PRODUCT}/../x"}, "#/return_url"),
    ({"return_url": "https://app.example.com@evil.example/"}, "#/return_url"),
    ({"return_url": "https://evil.example\\@app.example.com/"}, "#/return_url"),
    ({"return_url": "https://\u0430pp.example.com/connected"}, "#/return_url"),
    ({"return_url": ""}, "#/return_url"),
    ({"state": "x"}, "#/state"),
)


def test_what_cannot_begin_is_refused(product: Product, database: Database) -> None:
    for body, pointer in BAD_BODIES:
        problem = product.refused(422, "invalid", "POST", AUTHORIZATIONS, {"provider": PROVIDER} | body)
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    product.refused(404, "not_found", "POST", AUTHORIZATIONS, {"provider": PROVIDER, "account_id": 7})
    assert value(database, "select count(*) from oauth_authorizations") == 0


def test_what_the_operator_has_not_set_is_named(start_product: Callable[..., Product]) -> None:
    product = start_product(OAUTH_CALLBACK_URL=None, OAUTH_RETURN_URLS=None)
    problem = product.refused(409, "not_possible", "POST", AUTHORIZATIONS, {"provider": PROVIDER})
    assert "OAUTH_CALLBACK_URL is not set" in problem["detail"]
    body = {"provider": PROVIDER, "return_url": PRODUCT}
    problem = product.refused(422, "invalid", "POST", AUTHORIZATIONS, body)
    assert "OAUTH_RETURN_URLS" in problem["detail"]


def test_unknown_authorizations_are_not_found(product: Product) -> None:
    begun = product.begin()
    for wrong in ("1", "0" * 32, begun["id"].upper() + "0", "%00" * 32, begun["id"] + "%00"):
        product.refused(404, "not_found", "GET", f"{AUTHORIZATIONS}/{wrong}")
    assert product.api.get(f"{AUTHORIZATIONS}/{begun['id']}").status == 401
    assert (
        product.api.request("POST", AUTHORIZATIONS, {"Content-Type": "application/json"}, "{}").status == 401
    )
