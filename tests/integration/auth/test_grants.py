"""Every grant against a real authorization server, and its failures: classed, worded, without secrets."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest

from mailsync.auth.grants import (
    Tokens,
    authorize_url,
    begin_device,
    client_credentials,
    exchange_code,
    new_state,
    new_verifier,
    poll_device,
    read_redirection,
    refresh,
)
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.errors import ClientRejected, GrantRejected, MailsyncError, Throttled, TimedOut, Transient
from mailsync.redaction import redact
from tests.support import planted
from tests.support.authorization_server import AuthorizationServer, RegisteredClient
from tests.support.certificates import Authority
from tests.support.oauth_browser import Browser

USER = "ann@example.test"
BACK = "http://127.0.0.1:50123/"
SETTINGS = Settings(imap_allow_private_hosts=True)


@pytest.fixture
def registered(authorization_server: AuthorizationServer) -> RegisteredClient:
    return authorization_server.add_client()


def authorize(client: OAuthClient, settings: Settings = SETTINGS, browser: Browser | None = None) -> Tokens:
    """Sign in by a code with PKCE."""
    state, verifier = new_state(), new_verifier()
    url = authorize_url(client, BACK, state, verifier, login_hint=USER)
    address = (browser or Browser()).consent(url, USER)
    return exchange_code(client, read_redirection(client, address, state), verifier, BACK, settings)


def failure(call: Callable[[], Any]) -> MailsyncError:
    """The error of a call. No secret is in it, nor in its causes."""
    with pytest.raises(MailsyncError) as caught:
        call()
    text = "".join(traceback.format_exception(caught.value))
    assert not planted.found_in(text)
    return caught.value


# -- grants --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("public", [False, True])
def test_a_code_becomes_tokens(authorization_server: AuthorizationServer, public: bool) -> None:
    authorization_server.terms.token_length = 4096
    client = authorization_server.add_client(public=public).client
    tokens = authorize(client)
    assert len(tokens.access_token) == 4096
    assert tokens.refresh_token
    assert tokens.expires_in == 3600
    assert tokens.user == USER
    assert authorization_server.introspect(tokens.access_token)["username"] == USER


def test_everything_works_over_tls(
    tls_authorization_server: AuthorizationServer, authority: Authority
) -> None:
    settings = Settings(imap_allow_private_hosts=True, imap_ca_file=authority.ca_file)
    client = tls_authorization_server.add_client().client
    tokens = authorize(client, settings, Browser(authority.ca_file))
    assert refresh(client, tokens.refresh_token or "", settings).user == USER
    error = failure(lambda: refresh(client, tokens.refresh_token or "", SETTINGS))
    assert error.code == "tls"


def test_a_refresh_token_rotates(authorization_server: AuthorizationServer) -> None:
    client = authorization_server.add_client()
    old = authorization_server.issue(client, USER)
    tokens = refresh(client.client, old.refresh_token, SETTINGS)
    assert tokens.refresh_token not in (None, old.refresh_token)
    assert refresh(client.client, tokens.refresh_token or "", SETTINGS).access_token != tokens.access_token


def test_a_refresh_token_that_stays_is_none(authorization_server: AuthorizationServer) -> None:
    authorization_server.terms.rotates = False
    client = authorization_server.add_client()
    old = authorization_server.issue(client, USER)
    assert refresh(client.client, old.refresh_token, SETTINGS).refresh_token is None


def test_a_daemon_needs_no_person(authorization_server: AuthorizationServer) -> None:
    client = authorization_server.add_client(mailbox=USER, daemon_scope="mail").client
    tokens = client_credentials(client, SETTINGS)
    assert tokens.refresh_token is None
    assert tokens.user is None
    assert authorization_server.introspect(tokens.access_token)["username"] == USER
    assert authorization_server.journal.requests("token")[-1].parameters["scope"] == "mail"


def test_a_device_code_waits_for_a_person(
    authorization_server: AuthorizationServer, registered: RegisteredClient
) -> None:
    client = registered.client
    device = begin_device(client, SETTINGS)
    assert device.expires_in == 600
    assert poll_device(client, device, SETTINGS) is None
    assert device.interval == 1
    authorization_server.fail_next("token", 400, error="slow_down")
    assert poll_device(client, device, SETTINGS) is None
    assert device.interval == 6
    Browser().enter_code(device.verification_uri, device.user_code, USER)
    authorization_server.fail_next("token", 503)
    assert type(failure(lambda: poll_device(client, device, SETTINGS))) is Transient
    tokens = poll_device(client, device, SETTINGS)
    assert tokens
    assert tokens.user == USER
    assert tokens.refresh_token


def test_a_device_code_can_be_refused(registered: RegisteredClient) -> None:
    device = begin_device(registered.client, SETTINGS)
    Browser().enter_code(device.verification_uri, device.user_code, USER, deny=True)
    error = failure(lambda: poll_device(registered.client, device, SETTINGS))
    assert type(error) is GrantRejected
    assert str(error).startswith("own rejects the authorization: access_denied")


def test_a_device_code_expires(
    authorization_server: AuthorizationServer, registered: RegisteredClient
) -> None:
    device = begin_device(registered.client, SETTINGS)
    authorization_server.expire_codes()
    error = failure(lambda: poll_device(registered.client, device, SETTINGS))
    assert type(error) is GrantRejected
    assert str(error).startswith("own rejects the authorization: expired_token")


# -- refusals ------------------------------------------------------------------------------------------


def test_consent_can_be_refused(registered: RegisteredClient) -> None:
    state = new_state()
    url = authorize_url(registered.client, BACK, state, new_verifier())
    address = Browser().consent(url, USER, deny=True)
    error = failure(lambda: read_redirection(registered.client, address, state))
    assert type(error) is GrantRejected
    assert str(error).startswith("own rejects the authorization: access_denied")


def test_a_code_needs_its_verifier(registered: RegisteredClient) -> None:
    client, state = registered.client, new_state()
    code = read_redirection(
        client, Browser().consent(authorize_url(client, BACK, state, new_verifier()), USER), state
    )
    error = failure(lambda: exchange_code(client, code, new_verifier(), BACK, SETTINGS))
    assert type(error) is GrantRejected
    assert str(error).startswith("own rejects the authorization: invalid_grant")


def test_a_revoked_token_is_rejected(authorization_server: AuthorizationServer) -> None:
    client = authorization_server.add_client()
    token = authorization_server.issue(client, USER).refresh_token
    authorization_server.revoke(USER)
    error = failure(lambda: refresh(client.client, token, SETTINGS))
    assert type(error) is GrantRejected
    assert error.code == "auth_failed"
    assert str(error).startswith("own rejects the authorization: invalid_grant")


def test_a_wrong_secret_is_the_operators(
    authorization_server: AuthorizationServer, registered: RegisteredClient
) -> None:
    token = authorization_server.issue(registered, USER).refresh_token
    other = authorization_server.add_client("own").client
    mixed = OAuthClient(
        "own", registered.client.client_id, other.secret, token_url=registered.client.token_url
    )
    error = failure(lambda: refresh(mixed, token, SETTINGS))
    assert type(error) is ClientRejected
    assert str(error).startswith("own rejects the client OAUTH_OWN_CLIENT_ID: invalid_client")
    assert str(error).endswith("check OAUTH_OWN_CLIENT_ID and OAUTH_OWN_CLIENT_SECRET")


def test_a_code_without_a_refresh_token_is_the_operators(
    authorization_server: AuthorizationServer, registered: RegisteredClient
) -> None:
    authorization_server.change_next(refresh_token=None)
    error = failure(lambda: authorize(registered.client))
    assert type(error) is ClientRejected
    assert "offline_access" in str(error)


# -- a server in trouble -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "message", "retry_after"),
    [
        ({"status": 503, "headers": {"Retry-After": "7"}}, Transient, "127.0.0.1 answers 503", 7),
        (
            {"status": 429, "headers": {"Retry-After": "30"}},
            Throttled,
            "127.0.0.1 answers 429: too many requests",
            30,
        ),
        (
            {"status": 200, "body": "<h1>Maintenance</h1>"},
            Transient,
            "127.0.0.1 answers 200 and no JSON (text/html)",
            None,
        ),
        (
            {"status": 302, "headers": {"Location": "http://169.254.169.254/latest?token=a"}},
            Transient,
            "127.0.0.1 redirects to 169.254.169.254 (302); redirections are not followed",
            None,
        ),
        (
            {"status": 400, "error": "invalid_scope"},
            ClientRejected,
            "own rejects the client OAUTH_OWN_CLIENT_ID: invalid_scope: check OAUTH_OWN_SCOPE and what the"
            " registration allows",
            None,
        ),
        ({"status": 200, "body": {"access_token": 1}}, Transient, "own answers without a usable", None),
        ({"status": 200, "body": "a" * 100_000}, Transient, "own: 127.0.0.1: the response is larger", None),
    ],
)
def test_a_server_in_trouble_breaks_nothing(
    authorization_server: AuthorizationServer,
    registered: RegisteredClient,
    fault: dict[str, Any],
    kind: type[MailsyncError],
    message: str,
    retry_after: float | None,
) -> None:
    token = authorization_server.issue(registered, USER).refresh_token
    authorization_server.fail_next("token", **fault)
    error = failure(lambda: refresh(registered.client, token, SETTINGS))
    assert type(error) is kind
    assert str(error).startswith(message)
    assert error.retry_after == retry_after


def test_a_server_that_is_silent_is_left(
    authorization_server: AuthorizationServer, registered: RegisteredClient
) -> None:
    authorization_server.fail_next("token", silent=True)

    def stop() -> None:
        raise TimedOut("the turn is over")

    error = failure(lambda: refresh(registered.client, "a", SETTINGS, on_wait=stop))
    assert str(error) == "the turn is over"


def test_a_server_that_is_down_is_temporary(registered: RegisteredClient) -> None:
    client = OAuthClient("own", "a", token_url="http://127.0.0.1:1/token")
    error = failure(lambda: refresh(client, "a", SETTINGS))
    assert type(error) is Transient
    assert str(error).startswith("cannot connect to 127.0.0.1:1")


def test_an_echo_of_the_secrets_is_masked(
    authorization_server: AuthorizationServer, registered: RegisteredClient
) -> None:
    token = authorization_server.issue(registered, USER).refresh_token
    secret = registered.client.secret.get_secret_value() if registered.client.secret else ""
    description = f"refresh_token={token} of client_secret={secret} is unknown"
    authorization_server.fail_next("token", 400, {"error_description": description}, error="invalid_grant")
    error = failure(lambda: refresh(registered.client, token, SETTINGS))
    assert str(error) == (
        "own rejects the authorization: invalid_grant: refresh_token=*** of client_secret=*** is unknown"
    )
    # the secrets are forgotten when the request is over
    assert token in redact(token)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:1/token", "own: URL: http to 127.0.0.1 is not encrypted; use https"),
        ("https://127.0.0.1:1/token", "own: host: 127.0.0.1 is not a public address"),
    ],
)
def test_private_addresses_are_refused_as_the_operators_mistake(url: str, message: str) -> None:
    error = failure(lambda: refresh(OAuthClient("own", "client-1", token_url=url), "token-1", Settings()))
    assert type(error) is ClientRejected
    assert str(error).startswith(message)
    assert "OAUTH_OWN_" in str(error)
