"""Accounts over HTTP that sign in with tokens which a product, or an administrator, has (SPEC §23.5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import planted
from tests.support.api import StartApi
from tests.support.authorization_server import AuthorizationServer
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_server import User
from tests.support.mail import message
from tests.support.mirrors import live_uids, value
from tests.support.oauth_api import PROVIDER, Product, assert_nothing_stored
from tests.support.programs import Mailsync
from tests.support.scripted import ScriptedServer

Database = psycopg.Connection[Any]


@pytest.fixture
def user(product: Product) -> User:
    return product.dovecot.new_user()


def synced(product: Product, mailsync: Mailsync, user: User) -> int:
    """The exit code of a sync with the product's variables."""
    mailsync.environment |= {name: text for name, text in product.variables.items() if text}
    return mailsync("sync", user.name).returncode


def test_an_account_is_added_by_a_refresh_token(
    product: Product, user: User, database: Database, mailsync: Mailsync
) -> None:
    product.dovecot.append(user, "INBOX", message(1))
    body = {"email": user.name, "oauth": product.tokens(user.name), **product.where}
    account = product.done(201, "POST", "/v1/accounts", body)
    assert (account["verified"], account["note"]) == (True, None)
    assert (account["auth_method"], account["oauth_provider"]) == ("oauth2", PROVIDER)
    assert account["oauth_grant"] == "refresh_token"
    assert account["token_expires_at"] > account["created_at"]
    shown = product.done(200, "GET", f"/v1/accounts/{account['id']}")
    assert "oauth" not in shown
    # the token was used once, and its successor is what is stored
    assert len(product.server.journal.renewals()) == 1
    assert synced(product, mailsync, user) == 0
    assert len(product.server.journal.renewals()) == 1
    assert live_uids(database, account["id"])
    product.server.expire_access_tokens(user.name)
    database.execute("update accounts set token_expires_at = now()")
    assert synced(product, mailsync, user) == 0
    assert len(product.server.journal.renewals()) == 2


def test_without_verify_the_refresh_token_is_stored_and_used_by_the_first_sync(
    product: Product, user: User, mailsync: Mailsync
) -> None:
    account_id = product.add_by_tokens(user, verify=False)
    assert product.server.journal.requests("token") == []
    account = product.done(200, "GET", f"/v1/accounts/{account_id}")
    assert (account["auth_method"], account["token_expires_at"]) == ("oauth2", None)
    assert synced(product, mailsync, user) == 0
    assert len(product.server.journal.renewals()) == 1
    account = product.done(200, "GET", f"/v1/accounts/{account_id}")
    assert account["token_renewed_at"]
    assert account["token_expires_at"] > account["token_renewed_at"]


def test_an_administrator_lets_the_client_read_a_mailbox(
    start_api: StartApi,
    authorization_server: AuthorizationServer,
    oauth_dovecot: OAuthDovecot,
    database: Database,
    mailsync: Mailsync,
) -> None:
    user = oauth_dovecot.new_user()
    registered = authorization_server.add_client(
        PROVIDER, mailbox=user.name, scope="mail.daemon", imap_host=oauth_dovecot.host
    )
    product = Product(start_api, authorization_server, oauth_dovecot, registered)
    oauth = {"provider": PROVIDER, "grant": "client_credentials"}
    body = {"email": user.name, "oauth": oauth, **product.where}
    account = product.done(201, "POST", "/v1/accounts", body)
    assert (account["auth_method"], account["oauth_grant"]) == ("oauth2", "client_credentials")
    assert synced(product, mailsync, user) == 0
    assert value(database, "select sync_state from accounts") != "broken"
    # another mailbox, to which the administrator gave no access
    other = oauth_dovecot.new_user()
    problem = product.refused(422, "auth_failed", "POST", "/v1/accounts", body | {"email": other.name})
    assert "must have access to the mailbox" in problem["detail"]
    assert value(database, "select count(*) from accounts") == 1


@pytest.mark.parametrize("grant", ["refresh_token", "client_credentials"])
def test_tokens_go_to_no_server_of_an_api_client(
    start_api: StartApi,
    authorization_server: AuthorizationServer,
    oauth_dovecot: OAuthDovecot,
    scripted: ScriptedServer,
    database: Database,
    grant: str,
) -> None:
    """The client's own tokens open every mailbox of an organisation, wherever they are shown."""
    user = oauth_dovecot.new_user()
    registered = authorization_server.add_client(PROVIDER, mailbox=user.name, imap_host="imap.example.test")
    product = Product(start_api, authorization_server, oauth_dovecot, registered)
    oauth = product.tokens(user.name) if grant == "refresh_token" else {"provider": PROVIDER, "grant": grant}
    where = product.where | {"imap_host": scripted.host, "imap_port": scripted.port}
    for verify in (True, False):
        body = {"email": user.name, "oauth": oauth, "verify": verify, **where}
        problem = product.refused(422, "invalid", "POST", "/v1/accounts", body)
        assert "the tokens of corp are for imap.example.test only" in str(problem)
    assert authorization_server.journal.requests("token") == []
    assert not scripted.journal.commands()
    assert_nothing_stored(database)


def test_client_credentials_need_a_server_that_the_operator_names(
    product: Product, user: User, database: Database
) -> None:
    oauth = {"provider": PROVIDER, "grant": "client_credentials"}
    body = {"email": user.name, "oauth": oauth, **product.where}
    problem = product.refused(422, "invalid", "POST", "/v1/accounts", body)
    assert "client credentials need OAUTH_CORP_IMAP_HOST" in str(problem)
    assert product.server.journal.requests("token") == []
    assert_nothing_stored(database)


def test_new_tokens_bring_an_account_back(
    product: Product, user: User, database: Database, mailsync: Mailsync
) -> None:
    product.dovecot.append(user, "INBOX", message(1))
    account_id = product.add_by_tokens(user)
    assert synced(product, mailsync, user) == 0
    rows = "select array_agg(id order by id) from messages"
    before = value(database, rows)
    product.server.revoke(user.name)
    assert synced(product, mailsync, user) == 4
    path = f"/v1/accounts/{account_id}"
    broken = product.done(200, "GET", path)
    assert (broken["sync_state"], broken["sync_state_reason"]) == ("broken", "auth_failed")
    assert broken["token_refused_at"]
    assert "invalid_grant" in broken["token_refusal"]
    changed = product.done(200, "PATCH", path, {"oauth": product.tokens(user.name)})
    assert changed["sync_state"] != "broken"
    assert (changed["token_refused_at"], changed["token_refusal"]) == (None, None)
    assert synced(product, mailsync, user) == 0
    assert value(database, rows) == before


def test_a_password_becomes_tokens_and_tokens_become_a_password(
    product: Product, user: User, mailsync: Mailsync
) -> None:
    body = {"email": user.name, "password": user.password, **product.where}
    path = f"/v1/accounts/{product.done(201, 'POST', '/v1/accounts', body)['id']}"
    assert product.done(200, "GET", path)["auth_method"] == "password"
    changed = product.done(200, "PATCH", path, {"oauth": product.tokens(user.name)})
    assert (changed["auth_method"], changed["oauth_provider"]) == ("oauth2", PROVIDER)
    assert synced(product, mailsync, user) == 0
    changed = product.done(200, "PATCH", path, {"password": user.password})
    assert (changed["auth_method"], changed["oauth_provider"], changed["oauth_grant"]) == (
        "password",
        None,
        None,
    )
    assert (changed["token_expires_at"], changed["token_renewed_at"]) == (None, None)
    assert synced(product, mailsync, user) == 0


def test_a_shared_mailbox_is_named(product: Product, user: User, database: Database) -> None:
    """The person who consents is not the mailbox; here the mail server refuses that, in its own words."""
    shared = product.dovecot.new_user()
    body = {"email": shared.name, "oauth": product.tokens(user.name), **product.where}
    problem = product.refused(422, "other_user", "POST", "/v1/accounts", body)
    assert f"the tokens belong to {user.name}, not to {shared.name}" in problem["detail"]
    assert problem["errors"][0]["pointer"] == "#/oauth"
    body |= {"oauth": product.tokens(user.name), "username": shared.name}
    product.refused(422, "auth_failed", "POST", "/v1/accounts", body)
    assert_nothing_stored(database)


REFUSED_BODIES: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "#/password"),
    ({"password": "any-password", "oauth": {"provider": PROVIDER, "refresh_token": "x"}}, "#/password"),
    ({"oauth": None}, "#/oauth"),
    ({"oauth": {"provider": PROVIDER}}, "#/oauth"),
    ({"oauth": {"refresh_token": "x"}}, "#/oauth/provider"),
    ({"oauth": {"provider": "nobody", "refresh_token": "x"}}, "#/oauth/provider"),
    ({"oauth": {"provider": "CORP", "refresh_token": "x"}}, "#/oauth/provider"),
    ({"oauth": {"provider": PROVIDER, "refresh_token": ""}}, "#/oauth/refresh_token"),
    ({"oauth": {"provider": PROVIDER, "refresh_token": "a\nb"}}, "#/oauth/refresh_token"),
    ({"oauth": {"provider": PROVIDER, "refresh_token": "\u00fc"}}, "#/oauth/refresh_token"),
    ({"oauth": {"provider": PROVIDER, "refresh_token": "x" * 40_000}}, "#/oauth/refresh_token"),
    ({"oauth": {"provider": PROVIDER, "grant": "password"}}, "#/oauth/grant"),
    ({"oauth": {"provider": PROVIDER, "grant": "client_credentials", "refresh_token": "x"}}, "#/oauth"),
    ({"oauth": {"provider": PROVIDER, "access_token": "x", "refresh_token": "x"}}, "#/oauth/access_token"),
)


def test_what_signs_in_is_given_once_and_in_the_right_form(
    product: Product, user: User, database: Database
) -> None:
    account_id = product.add_by_tokens(user)
    product.server.journal.clear()
    before = database.execute("select * from account_credentials").fetchall()
    for given, pointer in REFUSED_BODIES:
        body = {"email": "ann@example.test", **product.where, **given}
        problem = product.refused(422, "invalid", "POST", "/v1/accounts", body)
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
        if given:
            problem = product.refused(422, "invalid", "PATCH", f"/v1/accounts/{account_id}", given)
            assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert product.server.journal.requests("token") == []
    assert database.execute("select * from account_credentials").fetchall() == before


def test_a_request_that_cannot_succeed_keeps_the_refresh_token_unused(product: Product, user: User) -> None:
    account_id = product.add_by_tokens(user)
    product.server.journal.clear()
    other = product.dovecot.new_user()
    oauth = product.tokens(other.name)
    body = {"email": other.name, "oauth": oauth, **product.where}
    problem = product.refused(409, "conflict", "POST", "/v1/accounts", body | {"email": user.name})
    assert "PATCH" in problem["detail"]
    product.refused(422, "invalid", "POST", "/v1/accounts", body | {"imap_host": "a b"})
    product.refused(422, "invalid", "POST", "/v1/accounts", body | {"metadata": {"a": "\0"}})
    product.refused(422, "invalid", "POST", "/v1/accounts", body | {"sync_since": "2999-01-01T00:00:00Z"})
    product.refused(404, "not_found", "PATCH", f"/v1/accounts/{account_id + 1}", {"oauth": oauth})
    path = f"/v1/accounts/{account_id}"
    product.refused(422, "invalid", "PATCH", path, {"oauth": oauth, "imap_host": "https://imap.example.test"})
    assert product.server.journal.requests("token") == []
    product.done(201, "POST", "/v1/accounts", body)


FAULTS: tuple[tuple[dict[str, Any], int, str, str], ...] = (
    ({"status": 400, "error": "invalid_grant"}, 422, "auth_failed", "invalid_grant"),
    ({"status": 401, "error": "invalid_client"}, 502, "oauth_client", "OAUTH_CORP_CLIENT_ID"),
    ({"status": 503}, 502, "unreachable", "503"),
    ({"status": 200, "body": "<h1>Sign in</h1>"}, 502, "unreachable", "no JSON (text/html)"),
    ({"status": 307, "headers": {"Location": "https://10.0.0.1/x?y"}}, 502, "unreachable", "10.0.0.1 (307)"),
    ({"status": 429, "headers": {"Retry-After": "7"}}, 503, "throttled", "429"),
)


def test_failures_of_the_provider_are_problem_documents(
    product: Product, user: User, database: Database
) -> None:
    for fault, status, code, words in FAULTS:
        product.server.fail_next("token", **fault)
        body = {"email": user.name, "oauth": product.tokens(user.name), **product.where}
        answer = product.call("POST", "/v1/accounts", body)
        assert (answer.status, answer.json()["code"]) == (status, code)
        assert words in answer.json()["detail"]
        if status == 503:
            assert answer.headers["Retry-After"] == "7"
    assert_nothing_stored(database)


def test_a_made_up_refresh_token_is_refused_and_not_repeated(
    product: Product, user: User, database: Database
) -> None:
    oauth = {"provider": PROVIDER, "refresh_token": planted.keep("made-up-refresh-token")}
    body = {"email": user.name, "oauth": oauth, **product.where}
    product.refused(422, "auth_failed", "POST", "/v1/accounts", body)
    assert_nothing_stored(database)


def test_a_provider_in_a_private_network_is_not_asked(
    start_product: Callable[..., Product], database: Database
) -> None:
    product = start_product(IMAP_ALLOW_PRIVATE_HOSTS=None, OAUTH_CORP_TOKEN_URL="https://127.0.0.1/token")
    oauth = {"provider": PROVIDER, "refresh_token": planted.keep("any-refresh-token")}
    body = {"email": "ann@example.test", "oauth": oauth, "imap_host": "8.8.8.8", "verify": True}
    answer = product.call("POST", "/v1/accounts", body)
    assert answer.status == 502
    assert "127.0.0.1 is not a public address" in answer.json()["detail"]
    assert_nothing_stored(database)
