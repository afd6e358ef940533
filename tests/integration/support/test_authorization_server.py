"""The authorization server of the tests does what providers do: PKCE, rotation, devices, errors on demand."""

from __future__ import annotations

import http.client
import socket
import threading
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from tests.support import planted
from tests.support.authorization_server import SCOPE, AuthorizationServer, RegisteredClient
from tests.support.certificates import Authority
from tests.support.oauth_browser import Browser, ConsentRefused
from tests.support.oauth_grants import DEVICE_GRANT
from tests.support.patience import PATIENCE, pause
from tests.support.raw_http import Response

USER = "ann@example.test"
VERIFIER = "v" * 43
REDIRECT = "http://127.0.0.1:50123/oauth/callback"


@pytest.fixture
def client(authorization_server: AuthorizationServer) -> RegisteredClient:
    return authorization_server.add_client()


def authorize_url(client: RegisteredClient, **changes: str | None) -> str:
    parameters = {
        "response_type": "code",
        "client_id": client.client.client_id,
        "redirect_uri": REDIRECT,
        "scope": SCOPE,
        "state": "a state",
        "code_challenge": create_s256_code_challenge(VERIFIER),
        "code_challenge_method": "S256",
    } | changes
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"{client.client.authorize_url}?{urlencode(given)}"


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def ask(client: RegisteredClient, *, browser: Browser | None = None, **form: str) -> Response:
    known = client.client
    secret = {"client_secret": known.secret.get_secret_value()} if known.secret else {}
    endpoint = known.device_url if not form else known.token_url
    form = form or {"scope": SCOPE}
    return (browser or Browser()).request(endpoint or "", {"client_id": known.client_id} | secret | form)


def refresh(client: RegisteredClient, token: str) -> dict[str, Any]:
    return ask(client, grant_type="refresh_token", refresh_token=token).json()


def exchange(client: RegisteredClient, code: str, **changes: str) -> Response:
    form = {"code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER} | changes
    return ask(client, grant_type="authorization_code", **form)


# -- authorization code --------------------------------------------------------------------------------


@pytest.mark.parametrize("public", [False, True])
def test_a_consent_gives_tokens_of_the_user(authorization_server: AuthorizationServer, public: bool) -> None:
    client = authorization_server.add_client(public=public)
    authorization_server.terms.token_length, authorization_server.terms.seconds = 4096, 30
    address = Browser().consent(authorize_url(client), USER)
    assert address.startswith(f"{REDIRECT}?")
    assert query_of(address)["state"] == "a state"
    tokens = exchange(client, query_of(address)["code"]).json()
    assert len(tokens["access_token"]) == 4096
    assert tokens["expires_in"] == 30
    assert tokens["token_type"] == "Bearer"
    assert tokens["refresh_token"]
    assert len(tokens["id_token"].split(".")) == 3
    assert authorization_server.introspect(tokens["access_token"])["username"] == USER
    assert planted.found_in(tokens["access_token"][-60:])
    # the code is spent
    assert exchange(client, query_of(address)["code"]).json()["error"] == "invalid_grant"


def test_a_denied_consent_says_so(client: RegisteredClient) -> None:
    answer = query_of(Browser().consent(authorize_url(client), USER, deny=True))
    assert (answer["error"], answer["state"]) == ("access_denied", "a state")


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": VERIFIER, "code_challenge_method": "plain"},
        {"code_challenge": None},
        {"code_challenge_method": None},
    ],
)
def test_pkce_with_s256_is_demanded(client: RegisteredClient, changes: dict[str, str | None]) -> None:
    answer = query_of(Browser().consent(authorize_url(client, **changes), USER))
    assert answer["error"] == "invalid_request"


@pytest.mark.parametrize(
    "redirect",
    [
        "http://127.0.0.1:50123/elsewhere",
        "http://localhost:1/oauth/callback",
        "https://127.0.0.1/",
        "http://10.0.0.1/",
    ],
)
def test_other_redirect_uris_are_refused(client: RegisteredClient, redirect: str) -> None:
    with pytest.raises(ConsentRefused, match="400"):
        Browser().consent(authorize_url(client, redirect_uri=redirect), USER)


@pytest.mark.parametrize(
    "changes", [{"code_verifier": "w" * 43}, {"redirect_uri": REDIRECT.replace("50123", "50124")}]
)
def test_a_code_belongs_to_its_request(client: RegisteredClient, changes: dict[str, str]) -> None:
    code = query_of(Browser().consent(authorize_url(client), USER))["code"]
    assert exchange(client, code, **changes).json()["error"] == "invalid_grant"


def test_a_code_ends(authorization_server: AuthorizationServer, client: RegisteredClient) -> None:
    code = query_of(Browser().consent(authorize_url(client), USER))["code"]
    authorization_server.expire_codes()
    assert exchange(client, code).json()["error"] == "invalid_grant"


def test_a_wrong_secret_and_an_unknown_scope_are_the_clients_fault(client: RegisteredClient) -> None:
    answer = Browser().request(
        client.client.token_url,
        {"client_id": client.client.client_id, "client_secret": "no", "grant_type": "client_credentials"},
    )
    assert answer.json()["error"] == "invalid_client"
    assert ask(client, grant_type="client_credentials", scope="more").json()["error"] == "invalid_scope"
    assert ask(client, grant_type="magic").json()["error"] == "unsupported_grant_type"


# -- refresh -------------------------------------------------------------------------------------------


def test_a_refresh_token_rotates(authorization_server: AuthorizationServer, client: RegisteredClient) -> None:
    issued = authorization_server.issue(client, USER)
    second = refresh(client, issued.refresh_token)
    third = refresh(client, second["refresh_token"])
    assert len({issued.refresh_token, second["refresh_token"], third["refresh_token"]}) == 3
    assert len({issued.access_token, second["access_token"], third["access_token"]}) == 3
    assert "id_token" in third
    assert len(authorization_server.journal.renewals()) == 2


def test_the_token_before_is_good_until_the_new_one_was_used(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    first = authorization_server.issue(client, USER).refresh_token
    refresh(client, first)
    again = refresh(client, first)
    third = refresh(client, again["refresh_token"])
    # reuse of the first revokes the family, also its newest token and access tokens
    assert refresh(client, first)["error"] == "invalid_grant"
    assert refresh(client, third["refresh_token"])["error"] == "invalid_grant"
    assert authorization_server.introspect(third["access_token"]) == {"active": False}
    assert authorization_server.store.families[0].reused


def test_the_token_before_is_void_when_the_new_access_token_was_used(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    first = authorization_server.issue(client, USER)
    second = refresh(client, first.refresh_token)
    # the access token of before proves nothing
    assert authorization_server.introspect(first.access_token)["active"]
    assert "access_token" in (third := refresh(client, first.refresh_token))
    assert authorization_server.introspect(second["access_token"])["active"]
    assert "access_token" in (third := refresh(client, first.refresh_token))
    assert authorization_server.introspect(third["access_token"])["active"]
    assert refresh(client, first.refresh_token)["error"] == "invalid_grant"


def test_a_strict_server_accepts_no_token_twice(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    authorization_server.store.strict = True
    first = authorization_server.issue(client, USER).refresh_token
    second = refresh(client, first)["refresh_token"]
    assert refresh(client, first)["error"] == "invalid_grant"
    assert refresh(client, second)["error"] == "invalid_grant"


def test_a_server_that_does_not_rotate_sends_no_refresh_token(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    authorization_server.terms.rotates = False
    first = authorization_server.issue(client, USER).refresh_token
    assert "refresh_token" not in refresh(client, first)
    assert "access_token" in refresh(client, first)


def test_a_token_of_another_client_is_refused(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    token = authorization_server.issue(client, USER).refresh_token
    assert refresh(authorization_server.add_client("other"), token)["error"] == "invalid_grant"


def test_access_tokens_end(authorization_server: AuthorizationServer, client: RegisteredClient) -> None:
    authorization_server.terms.seconds = 0.2
    short = authorization_server.issue(client, USER)
    pause(0.3, "the token has to end")
    assert not authorization_server.introspect(short.access_token)["active"]
    authorization_server.terms.seconds = 3600
    long = refresh(client, short.refresh_token)
    authorization_server.expire_access_tokens(USER)
    assert not authorization_server.introspect(long["access_token"])["active"]
    assert "access_token" in (newest := refresh(client, long["refresh_token"]))
    authorization_server.revoke(USER)
    assert not authorization_server.introspect(newest["access_token"])["active"]
    assert refresh(client, newest["refresh_token"])["error"] == "invalid_grant"


# -- devices and client credentials --------------------------------------------------------------------


def poll(client: RegisteredClient, device: dict[str, Any]) -> dict[str, Any]:
    return ask(client, grant_type=DEVICE_GRANT, device_code=device["device_code"]).json()


def test_a_device_waits_for_its_user(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    authorization_server.terms.device_interval = 0
    device = ask(client).json()
    assert (device["interval"], device["expires_in"]) == (0, 600)
    assert poll(client, device)["error"] == "authorization_pending"
    Browser().enter_code(device["verification_uri"], device["user_code"], USER)
    tokens = poll(client, device)
    assert {"access_token", "refresh_token", "id_token"} <= tokens.keys()
    assert "error" in poll(client, device)


def test_a_device_that_hurries_must_slow_down(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    authorization_server.terms.device_interval = 300
    device = ask(client).json()
    assert [poll(client, device)["error"] for _ in range(3)] == [
        "authorization_pending", "slow_down", "slow_down",
    ]  # fmt: skip


def test_a_device_is_denied_or_expires(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    denied, expired = ask(client).json(), ask(client).json()
    Browser().enter_code(denied["verification_uri"], denied["user_code"], USER, deny=True)
    assert poll(client, denied)["error"] == "access_denied"
    authorization_server.expire_codes()
    assert poll(client, expired)["error"] == "expired_token"


def test_client_credentials_are_for_the_clients_mailbox(authorization_server: AuthorizationServer) -> None:
    client = authorization_server.add_client(mailbox=USER)
    tokens = ask(client, grant_type="client_credentials", scope="mail.daemon").json()
    assert "refresh_token" not in tokens
    assert "id_token" not in tokens
    assert authorization_server.introspect(tokens["access_token"])["username"] == USER
    public = authorization_server.add_client(public=True, grants=["refresh_token"])
    assert ask(public, grant_type="client_credentials").json()["error"] == "unauthorized_client"


# -- errors on demand ----------------------------------------------------------------------------------


def test_errors_on_demand(authorization_server: AuthorizationServer, client: RegisteredClient) -> None:
    token = authorization_server.issue(client, USER).refresh_token
    fail = authorization_server.fail_next
    fail("token", 503, "<html>down</html>")
    fail("token", 429, headers={"Retry-After": "30"})
    fail("token", 302, headers={"Location": "http://10.0.0.1/token"})
    fail("token", 400, error="invalid_grant", body={"error_description": "no"})
    answers = [ask(client, grant_type="refresh_token", refresh_token=token) for _ in range(5)]
    assert [answer.status for answer in answers] == [503, 429, 302, 400, 200]
    assert answers[0].headers["content-type"] == "text/html; charset=utf-8"
    assert answers[0].body == b"<html>down</html>"
    assert answers[1].headers["retry-after"] == "30"
    assert answers[2].headers["location"] == "http://10.0.0.1/token"
    assert answers[3].json() == {"error": "invalid_grant", "error_description": "no"}
    assert [request.error for request in authorization_server.journal.requests("token")][3:] == [
        "invalid_grant", None,
    ]  # fmt: skip
    fail("token", 500, times=None)
    assert {ask(client, grant_type="refresh_token", refresh_token=token).status for _ in range(3)} == {500}
    authorization_server.recover()
    assert "access_token" in refresh(client, token)


def test_answers_with_other_fields(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    token = authorization_server.issue(client, USER).refresh_token
    authorization_server.change_next(expires_in=None, refresh_token=None, token_type="mac")
    answer = refresh(client, token)
    assert {"expires_in", "refresh_token"}.isdisjoint(answer)
    assert answer["token_type"] == "mac"
    authorization_server.terms.next_user = "ben@example.test"
    other = refresh(client, token)
    assert authorization_server.introspect(other["access_token"])["username"] == "ben@example.test"
    assert (
        authorization_server.introspect(refresh(client, other["refresh_token"])["access_token"])["username"]
        == USER
    )


@pytest.mark.parametrize("answered", [False, True])
def test_a_held_request(
    authorization_server: AuthorizationServer, client: RegisteredClient, answered: bool
) -> None:
    token = authorization_server.issue(client, USER).refresh_token
    hold = authorization_server.hold_next(answered=answered)
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(refresh(client, token)))
    thread.start()
    hold.wait()
    assert authorization_server.store.families[0].generation == answered
    assert not answers
    hold.release()
    thread.join()
    assert "access_token" in answers[0]


def test_a_silent_and_a_dripping_answer(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    authorization_server.fail_next("token", silent=True)
    authorization_server.fail_next("token", 200, {"access_token": "x"}, dripping=True)
    for expected in (b"", b"HTTP/1.1 200"):
        with socket.create_connection(
            (authorization_server.host, authorization_server.port), timeout=PATIENCE
        ) as sock:
            sock.sendall(b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            if expected:
                answer = http.client.HTTPResponse(sock)
                answer.begin()
                assert answer.read(10) == b'{"access_t'
            else:
                sock.settimeout(0.3)
                with pytest.raises(TimeoutError):
                    sock.recv(1)


def test_no_secret_is_in_the_repr_of_requests(
    authorization_server: AuthorizationServer, client: RegisteredClient
) -> None:
    token = authorization_server.issue(client, USER).refresh_token
    refresh(client, token)
    requests = authorization_server.journal.requests("token", "refresh_token")
    assert requests[0].parameters["refresh_token"] == token
    assert requests[0].client_id == client.client.client_id
    assert not planted.found_in(f"{requests} {client} {authorization_server.store.families}")


def test_it_speaks_https(tls_authorization_server: AuthorizationServer, authority: Authority) -> None:
    client = tls_authorization_server.add_client()
    assert client.client.token_url.startswith("https://")
    browser = Browser(authority.ca_file)
    code = query_of(browser.consent(authorize_url(client), USER))["code"]
    answer = ask(
        client,
        browser=browser,
        grant_type="authorization_code",
        code=code,
        redirect_uri=REDIRECT,
        code_verifier=VERIFIER,
    )
    assert "access_token" in answer.json()
