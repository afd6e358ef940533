"""The address that a person authorizes at, and the address that they come back to."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from mailsync.auth.authorization import (
    authorize_url,
    challenge_of,
    new_state,
    new_verifier,
    read_query,
    read_redirection,
)
from mailsync.config.oauth import OAuthClient, read_clients
from mailsync.errors import ClientRejected, GrantRejected, InvalidInput, MailsyncError, Transient

CORP = OAuthClient("corp", "client-1", authorize_url="https://login.example.com/authorize?tenant=a&b=")
BACK = "http://127.0.0.1:8123/"
STATE = "state-1"


def google() -> OAuthClient:
    clients, wrong = read_clients({"OAUTH_GOOGLE_CLIENT_ID": "1-a.apps.googleusercontent.com"})
    assert not wrong
    return clients[0]


def test_the_address_asks_for_a_code_with_pkce() -> None:
    url = authorize_url(google(), BACK, STATE, "verifier-1", login_hint="ann+mail@example.com")
    parts = urlsplit(url)
    assert url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert {name: values[0] for name, values in parse_qs(parts.query).items()} == {
        "response_type": "code",
        "client_id": "1-a.apps.googleusercontent.com",
        "redirect_uri": BACK,
        "scope": "https://mail.google.com/ openid email",
        "state": STATE,
        "code_challenge": challenge_of("verifier-1"),
        "code_challenge_method": "S256",
        "login_hint": "ann+mail@example.com",
        "access_type": "offline",
        "prompt": "consent",
    }


def test_the_query_of_the_endpoint_stays() -> None:
    query = parse_qs(urlsplit(authorize_url(CORP, BACK, STATE, "v")).query, keep_blank_values=True)
    assert query["tenant"] == ["a"]
    assert query["b"] == [""]
    assert "login_hint" not in query
    assert "scope" not in query


def test_an_endpoint_on_this_machine_may_be_without_tls() -> None:
    client = OAuthClient("corp", "client-1", authorize_url="http://127.0.0.1:9000/authorize")
    assert authorize_url(client, BACK, STATE, "v").startswith("http://127.0.0.1:9000/authorize?")


def test_a_client_without_the_endpoint_is_refused() -> None:
    with pytest.raises(ClientRejected, match=r"^corp: set OAUTH_CORP_AUTHORIZE_URL to authorize"):
        authorize_url(OAuthClient("corp", "client-1"), BACK, STATE, "v")


def test_states_and_verifiers_cannot_be_guessed() -> None:
    texts = {make() for make in (new_state, new_verifier) for _ in range(50)}
    assert len(texts) == 100
    # RFC 7636 §4.1
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", text) for text in texts)


@pytest.mark.parametrize(
    "address",
    [
        f"{BACK}?state=state-1&code=4/0A%2Fb&scope=openid",
        f"  '{BACK}?code=4/0A%2Fb&state=state-1'  ",
        f"<{BACK}?code=4/0A%2Fb&state=state-1#fragment>",
        "?code=4/0A%2Fb&state=state-1",
        "code=4/0A%2Fb&state=state-1",
    ],
)
def test_the_code_is_read(address: str) -> None:
    assert read_redirection(CORP, address, STATE) == "4/0A/b"


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [
        ("", InvalidInput, "expected the whole address"),
        ("4/0AbCdEf", InvalidInput, "expected the whole address"),
        (BACK, InvalidInput, "expected the whole address"),
        (f"{BACK}?code=a", InvalidInput, "expected the whole address"),
        (f"{BACK}?state=state-1", InvalidInput, "expected the whole address"),
        (f"{BACK}?code=a&code=b&state=state-1", InvalidInput, "expected the whole address"),
        (f"{BACK}?code=a&state=state-1&" + "a=1&" * 60, InvalidInput, "expected the whole address"),
        (f"{BACK}?code=" + "a" * 20_000 + "&state=state-1", InvalidInput, "expected the whole address"),
        ("http://[::1?code=a&state=state-1", InvalidInput, "expected the whole address"),
        (f"{BACK}?code=a&state=state-2", InvalidInput, "this answer belongs to another authorization"),
        (f"{BACK}?code=a&state=", InvalidInput, "this answer belongs to another authorization"),
        (f"{BACK}?code=a&state=é", InvalidInput, "this answer belongs to another authorization"),
        # an error of another authorization is not shown
        (f"{BACK}?error=evil&state=state-2", InvalidInput, "this answer belongs to another authorization"),
        (f"{BACK}?code=&state=state-1", InvalidInput, "the code in the address"),
        (f"{BACK}?code=a%0Ab&state=state-1", InvalidInput, "the code in the address"),
        (
            f"{BACK}?error=access_denied&state=state-1",
            GrantRejected,
            "corp rejects the authorization: access_denied",
        ),
        (
            f"{BACK}?error=admin_policy_enforced&state=state-1",
            ClientRejected,
            "corp rejects the client OAUTH_CORP_CLIENT_ID: admin_policy_enforced: an administrator of",
        ),
        (
            f"{BACK}?error=server_error&error_description=try+later&state=state-1",
            Transient,
            "corp cannot answer now: server_error: try later",
        ),
    ],
)
def test_other_answers_are_refused(address: str, kind: type[MailsyncError], message: str) -> None:
    with pytest.raises(kind) as caught:
        read_redirection(CORP, address, STATE)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(message)


def test_a_query_is_read_once() -> None:
    assert read_query("a=1&b=") == {"a": "1", "b": ""}
    assert read_query("a=1&a=1") == {}
