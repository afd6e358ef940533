"""Consent over HTTP: from the address that a browser opens to an account that syncs (SPEC §23.5)."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.support.imap_server import User
from tests.support.mail import message
from tests.support.mirrors import live_uids, value
from tests.support.oauth_api import (
    AUTHORIZATIONS,
    HOST,
    PRODUCT,
    PROVIDER,
    Product,
    assert_nothing_stored,
    assert_plain,
    returned,
)
from tests.support.programs import Mailsync

Database = psycopg.Connection[Any]


@pytest.fixture
def product(finding_product: Product) -> Product:
    """A new account needs a mail server that is found from its address."""
    return finding_product


@pytest.fixture
def user(product: Product) -> User:
    return product.dovecot.new_user()


def test_a_person_consents_and_their_mailbox_is_synced(
    product: Product, user: User, database: Database, mailsync: Mailsync
) -> None:
    product.dovecot.append(user, "INBOX", message(1))
    answer = product.call("POST", AUTHORIZATIONS, {"provider": PROVIDER, "email": user.name})
    assert answer.status == 201
    begun = answer.json()
    assert answer.headers["Location"] == f"{AUTHORIZATIONS}/{begun['id']}"
    assert begun.keys() == {"id", "authorize_url", "expires_at"}
    asked = parse_qs(urlsplit(begun["authorize_url"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["login_hint"] == [user.name]
    assert asked["redirect_uri"] == [f"http://127.0.0.1:{product.api.port}/oauth/callback"]
    pending = product.outcome(begun)
    assert (pending["status"], pending["email"], pending["account_id"]) == ("pending", user.name, None)
    created, expires = (datetime.fromisoformat(pending[name]) for name in ("created_at", "expires_at"))
    assert expires - created == timedelta(minutes=10)

    assert_plain(product.consent(begun, user.name), 200, "Mailbox connected", user.name)

    shown = product.outcome(begun)
    assert (shown["status"], shown["error"], shown["message"]) == ("succeeded", None, None)
    assert shown["finished_at"]
    account = product.done(200, "GET", f"/v1/accounts/{shown['account_id']}")
    assert (account["email"], account["username"]) == (user.name, user.name)
    assert (account["imap_host"], account["imap_port"]) == (HOST, product.dovecot.tls_port)
    assert (account["auth_method"], account["oauth_provider"]) == ("oauth2", PROVIDER)
    assert account["oauth_grant"] == "refresh_token"
    assert account["token_expires_at"] > account["created_at"]
    mailsync.environment |= {name: text for name, text in product.variables.items() if text}
    synced = mailsync("sync", user.name)
    assert synced.returncode == 0, synced
    assert live_uids(database, account["id"])


def test_the_browser_goes_back_to_the_product(product: Product, user: User) -> None:
    for url, rest in ((PRODUCT, {}), (f"{PRODUCT}/a?user=7&x", {"user": ["7"]})):
        begun = product.begin(email=user.name, return_url=url)
        parameters = returned(product.consent(begun, user.name))
        assert parameters == rest | {"account_id": [str(product.outcome(begun)["account_id"])]}


def test_without_an_address_the_person_decides_which_mailbox(product: Product, user: User) -> None:
    begun = product.begin(return_url=PRODUCT)
    assert product.outcome(begun)["email"] is None
    account_id = returned(product.consent(begun, user.name))["account_id"][0]
    assert product.done(200, "GET", f"/v1/accounts/{account_id}")["email"] == user.name
    assert product.outcome(begun)["email"] == user.name


def test_without_an_address_the_provider_has_to_tell_it(
    product: Product, user: User, database: Database
) -> None:
    product.server.terms.id_tokens = False
    begun = product.begin(return_url=PRODUCT)
    assert returned(product.consent(begun, user.name)) == {"error": ["invalid"]}
    assert "does not tell whose tokens these are" in product.outcome(begun)["message"]
    assert_nothing_stored(database)
    # with the address, the mail server decides
    assert product.consent(product.begin(email=user.name), user.name).status == 200


def test_an_account_is_found_by_any_name_of_the_person(product: Product, user: User) -> None:
    account_id = product.add_by_tokens(user)
    claims = {
        "aud": product.registered.client.client_id,
        "email": "alias@example.test",
        "preferred_username": "ann@intranet",
        "upn": user.name.upper(),
    }
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    product.server.change_next(id_token=f"e30.{payload}.signature")
    begun = product.begin(return_url=PRODUCT)
    assert returned(product.consent(begun, user.name)) == {"account_id": [str(account_id)]}


def test_an_account_is_authorized_again_and_keeps_its_rows(
    product: Product, user: User, database: Database, mailsync: Mailsync
) -> None:
    product.dovecot.append(user, "INBOX", message(1))
    account_id = product.add_by_tokens(user)
    mailsync.environment |= {name: text for name, text in product.variables.items() if text}
    assert mailsync("sync", user.name).returncode == 0
    rows = "select array_agg(to_jsonb(m) - 'updated_at' order by id) from messages m"
    before = value(database, rows)
    product.server.revoke(user.name)
    assert mailsync("sync", user.name).returncode == 4
    account = product.done(200, "GET", f"/v1/accounts/{account_id}")
    assert (account["sync_state"], account["sync_state_reason"]) == ("broken", "auth_failed")
    assert "invalid_grant" in account["token_refusal"]
    assert f"mailsync reauthorize {user.name}" in account["sync_state_message"]

    begun = product.begin(account_id=account_id, return_url=PRODUCT)
    assert product.outcome(begun)["account_id"] == account_id
    assert returned(product.consent(begun, user.name)) == {"account_id": [str(account_id)]}

    account = product.done(200, "GET", f"/v1/accounts/{account_id}")
    assert account["sync_state"] != "broken"
    assert (account["token_refused_at"], account["token_refusal"]) == (None, None)
    assert mailsync("sync", user.name).returncode == 0
    assert value(database, rows) == before
    # the address alone finds the account too
    again = product.begin(email=user.name, return_url=PRODUCT)
    assert returned(product.consent(again, user.name)) == {"account_id": [str(account_id)]}


def test_a_password_is_replaced_by_consent(product: Product, user: User, database: Database) -> None:
    body = {"email": user.name, "password": user.password, **product.where}
    account_id = product.done(201, "POST", "/v1/accounts", body)["id"]
    assert product.consent(product.begin(account_id=account_id), user.name).status == 200
    account = product.done(200, "GET", f"/v1/accounts/{account_id}")
    assert (account["auth_method"], account["imap_port"]) == ("oauth2", product.dovecot.port)
    assert value(database, "select count(*) from account_credentials") == 1


def test_another_person_is_refused(product: Product, user: User, database: Database) -> None:
    other = product.dovecot.new_user()
    begun = product.begin(email=user.name, return_url=PRODUCT)
    assert returned(product.consent(begun, other.name)) == {"error": ["other_user"]}
    message = product.outcome(begun)["message"]
    assert f"the tokens belong to {other.name}, not to {user.name}" in message
    assert_nothing_stored(database)
    assert_plain(
        product.consent(product.begin(email=user.name), other.name), 400, "You signed in as another user"
    )
    # without an id_token, the mail server refuses
    product.server.terms.id_tokens = False
    begun = product.begin(email=user.name, return_url=PRODUCT)
    assert returned(product.consent(begun, other.name)) == {"error": ["auth_failed"]}
    assert_nothing_stored(database)


def test_an_account_keeps_its_tokens_when_another_person_consents(
    product: Product, user: User, database: Database
) -> None:
    account_id = product.add_by_tokens(user)
    sealed = value(database, "select ciphertext from account_credentials")
    begun = product.begin(account_id=account_id, return_url=PRODUCT)
    other = product.dovecot.new_user()
    assert returned(product.consent(begun, other.name)) == {"error": ["other_user"]}
    assert value(database, "select ciphertext from account_credentials") == sealed
