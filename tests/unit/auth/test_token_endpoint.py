"""The answers of authorization servers, classed by who can help."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from mailsync.auth.token_endpoint import (
    DEFAULT_EXPIRES_IN,
    LONGEST_DESCRIPTION,
    Tokens,
    read_answer,
    read_retry_after,
    read_seconds,
    read_tokens,
    refusal,
    token_form,
    with_refresh_token,
)
from mailsync.config.oauth import OAuthClient
from mailsync.errors import ClientRejected, GrantRejected, MailsyncError, Throttled, Transient
from mailsync.network.http import HttpResponse
from mailsync.redaction import masking

URL = "https://login.example.com/token?tenant=a"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLIENT = OAuthClient("corp", "client-1", SecretStr("client-secret-1"), token_url=URL)
TRACE = "\r\nTrace ID: 2fd63a5d-0c3e\r\nCorrelation ID: 5c3b\r\nTimestamp: 2026-03-01 12:00:00Z"


def answer(
    status: int = 200,
    document: object = None,
    *,
    body: bytes | None = None,
    content_type: str = "application/json; charset=utf-8",
    **headers: str,
) -> HttpResponse:
    raw = json.dumps(document).encode() if body is None else body
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, {"content-type": content_type, **named}, raw)


@pytest.mark.parametrize(
    ("response", "kind", "message", "retry_after"),
    [
        (answer(429, retry_after="7"), Throttled, "login.example.com answers 429: too many requests", 7.0),
        (
            answer(429, {"error": "invalid_grant"}, retry_after="Sun, 01 Mar 2026 12:01:30 GMT"),
            Throttled,
            "login.example.com answers 429: too many requests",
            90.0,
        ),
        (answer(429), Throttled, "login.example.com answers 429: too many requests", None),
        (answer(503, retry_after="30"), Transient, "login.example.com answers 503", 30.0),
        # a server in trouble may blame the grant
        (answer(500, {"error": "invalid_grant"}), Transient, "login.example.com answers 500", None),
        (
            answer(302, location="http://10.0.0.5/token?code=secret"),
            Transient,
            "login.example.com redirects to 10.0.0.5 (302); redirections are not followed",
            None,
        ),
        (
            answer(307, location="http://[::1"),
            Transient,
            "login.example.com redirects to another address (307); redirections are not followed",
            None,
        ),
        (
            answer(200, body=b"<!doctype html>", content_type="text/html; charset=utf-8"),
            Transient,
            "login.example.com answers 200 and no JSON (text/html)",
            None,
        ),
        (
            answer(400, body=b"<html>error=invalid_grant", content_type="text/html"),
            Transient,
            "login.example.com answers 400 and no JSON (text/html)",
            None,
        ),
        (
            answer(200, body=b'{"access_token": "a"', content_type="application/json"),
            Transient,
            "login.example.com answers 200 and no JSON (application/json)",
            None,
        ),
        (
            answer(200, body=b"[" * 60_000, content_type="application/json"),
            Transient,
            "login.example.com answers 200 and no JSON (application/json)",
            None,
        ),
        (
            answer(200, ["access_token"]),
            Transient,
            "login.example.com answers 200 and no JSON (application/json)",
            None,
        ),
        (
            answer(200, body=b"{}", content_type=""),
            Transient,
            "login.example.com answers 200 and no JSON (without a content type)",
            None,
        ),
        (
            answer(200, body=b"{}", content_type="text/\x1b[2Jhtml"),
            Transient,
            "login.example.com answers 200 and no JSON (text/\\x1b[2Jhtml)",
            None,
        ),
        (
            answer(403, {"error": {"code": 403, "message": "no"}}),
            Transient,
            "login.example.com answers 403 and no reason",
            None,
        ),
    ],
)
def test_an_answer_that_is_none_is_temporary(
    response: HttpResponse, kind: type[MailsyncError], message: str, retry_after: float | None
) -> None:
    with pytest.raises(kind) as caught:
        read_answer(URL, response, NOW)
    assert type(caught.value) is kind
    assert str(caught.value) == message
    assert caught.value.retry_after == retry_after


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON;charset=UTF-8", "text/json", "application/a+json"]
)
def test_json_is_known_by_its_type(content_type: str) -> None:
    response = answer(200, {"access_token": "a"}, content_type=content_type)
    assert read_answer(URL, response, NOW) == {"access_token": "a"}


@pytest.mark.parametrize(
    ("document", "kind", "message"),
    [
        # Google
        (
            {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
            GrantRejected,
            "corp rejects the authorization: invalid_grant: Token has been expired or revoked",
        ),
        (
            {"error": "invalid_grant", "error_description": "Bad Request", "error_subtype": "invalid_rapt"},
            GrantRejected,
            "corp rejects the authorization: invalid_grant: Bad Request",
        ),
        (
            {"error": "invalid_client", "error_description": "The OAuth client was not found."},
            ClientRejected,
            "corp rejects the client OAUTH_CORP_CLIENT_ID: invalid_client: The OAuth client was not found;"
            " check OAUTH_CORP_CLIENT_ID and OAUTH_CORP_CLIENT_SECRET",
        ),
        (
            {"error": "deleted_client", "error_description": "The OAuth client was deleted."},
            ClientRejected,
            "corp rejects the client OAUTH_CORP_CLIENT_ID: deleted_client: The OAuth client was deleted;"
            " the client was deleted: register another one, and set OAUTH_CORP_CLIENT_ID",
        ),
        # Microsoft
        (
            {
                "error": "invalid_grant",
                "error_description": "AADSTS70000: The user could not be authenticated or the grant is"
                f" expired.{TRACE}",
                "error_codes": [70000],
            },
            GrantRejected,
            "corp rejects the authorization: invalid_grant: AADSTS70000: The user could not be"
            " authenticated or the grant is expired",
        ),
        (
            {
                "error": "invalid_grant",
                "error_description": "AADSTS50173: The provided grant has expired due to it being revoked."
                " Trace ID: 0f06 Correlation ID: 0a2c",
            },
            GrantRejected,
            "corp rejects the authorization: invalid_grant: AADSTS50173: The provided grant has expired due"
            " to it being revoked; the password was changed or the sign-in revoked",
        ),
        (
            {"error": "interaction_required", "error_description": f"AADSTS50076: Use a second.{TRACE}"},
            GrantRejected,
            "corp rejects the authorization: interaction_required: AADSTS50076: Use a second;"
            " the organisation asks for a second factor",
        ),
        (
            {"error": "invalid_client", "error_description": f"AADSTS7000215: Invalid secret.{TRACE}"},
            ClientRejected,
            "corp rejects the client OAUTH_CORP_CLIENT_ID: invalid_client: AADSTS7000215: Invalid secret;"
            " set OAUTH_CORP_CLIENT_SECRET to the secret's value; its id in the portal is something else",
        ),
        (
            {"error": "unauthorized_client", "error_description": f"AADSTS700016: Not found.{TRACE}"},
            ClientRejected,
            "corp rejects the client OAUTH_CORP_CLIENT_ID: unauthorized_client: AADSTS700016: Not found;"
            " no such client in the tenant: check OAUTH_CORP_CLIENT_ID and OAUTH_MICROSOFT_TENANT",
        ),
        # RFC 8628 §3.5, and Microsoft's word for access_denied
        ({"error": "access_denied"}, GrantRejected, "corp rejects the authorization: access_denied"),
        (
            {"error": "authorization_declined"},
            GrantRejected,
            "corp rejects the authorization: authorization_declined",
        ),
        ({"error": "expired_token"}, GrantRejected, "corp rejects the authorization: expired_token"),
        (
            {"error": "temporarily_unavailable"},
            Transient,
            "corp cannot answer now: temporarily_unavailable",
        ),
        # others never break an account
        (
            {"error": "invalid_scope"},
            ClientRejected,
            "corp rejects the client OAUTH_CORP_CLIENT_ID: invalid_scope: check OAUTH_CORP_SCOPE and what"
            " the registration allows",
        ),
        (
            {"error": "brand_new", "error_description": 7},
            ClientRejected,
            "corp rejects the client OAUTH_CORP_CLIENT_ID: brand_new",
        ),
        (
            {"error": "\x1b[2J\ud800", "error_description": "\x07\u202eab\ud800\nsecond line"},
            ClientRejected,
            "corp rejects the client OAUTH_CORP_CLIENT_ID: \\x1b[2J?: \\x07\\u202eab?",
        ),
        ({"error": ""}, ClientRejected, "corp rejects the client OAUTH_CORP_CLIENT_ID: no reason"),
    ],
)
def test_a_refusal_says_who_can_help(
    document: dict[str, Any], kind: type[MailsyncError], message: str
) -> None:
    error = refusal(CLIENT, document)
    assert type(error) is kind
    assert str(error) == message


def test_a_refusal_is_masked_before_it_is_cut() -> None:
    secret = "1//refresh-token-of-a-person"
    for before in range(LONGEST_DESCRIPTION - len(secret) - 2, LONGEST_DESCRIPTION + 2):
        description = "x" * before + " " + secret + " tail" * 2000
        document = {"error": "invalid_grant", "error_description": description}
        text = str(refusal(CLIENT, document, masking(secret)))
        assert "1//re" not in text
        assert len(text) <= len("corp rejects the authorization: invalid_grant: ") + LONGEST_DESCRIPTION
        assert text.endswith("…")


def test_tokens_are_read() -> None:
    tokens = read_tokens(
        CLIENT, {"access_token": "a" * 4096, "token_type": "bearer", "expires_in": 60, "refresh_token": "r r"}
    )
    assert tokens == Tokens("a" * 4096, 60.0, "r r", ())
    assert tokens.user is None


def test_tokens_are_not_shown() -> None:
    assert "secret" not in repr(Tokens("secret-a", 60.0, "secret-r", ("a@example.com",)))


def test_tokens_name_their_user() -> None:
    tokens = Tokens("a", 60.0, "r", ("a@example.com", "a.b@example.com"))
    assert tokens.user == "a@example.com"


@pytest.mark.parametrize(
    ("document", "missing"),
    [
        ({}, "a usable access token"),
        ({"access_token": None}, "a usable access token"),
        ({"access_token": ""}, "a usable access token"),
        ({"access_token": "a b"}, "a usable access token"),
        ({"access_token": "a\x01auth=b"}, "a usable access token"),
        ({"access_token": "é"}, "a usable access token"),
        ({"access_token": "a" * 40_000}, "a usable access token"),
        ({"access_token": "a", "refresh_token": "é"}, "a usable refresh token"),
        ({"access_token": "a", "refresh_token": ["b"]}, "a usable refresh token"),
    ],
)
def test_unusable_tokens_are_refused(document: dict[str, Any], missing: str) -> None:
    with pytest.raises(Transient, match=f"^corp answers without {missing}$"):
        read_tokens(CLIENT, document)


@pytest.mark.parametrize("kind", ["mac", "", None, 7])
def test_only_bearer_tokens_are_accepted(kind: object) -> None:
    with pytest.raises(Transient, match=r"^corp answers with a token that is not a bearer token$"):
        read_tokens(CLIENT, {"access_token": "a", "token_type": kind})


def test_a_refresh_token_can_be_required() -> None:
    tokens = Tokens("a", 60.0, "r")
    assert with_refresh_token(CLIENT, tokens) is tokens
    with pytest.raises(ClientRejected, match=r"add offline_access, .* to OAUTH_CORP_SCOPE$"):
        with_refresh_token(CLIENT, Tokens("a", 60.0))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600.0),
        (3599.5, 3599.5),
        ("3600", 3600.0),
        (0, 0.0),
        (-5, 0.0),
        (float("inf"), 315360000.0),
        (10**400, 315360000.0),
        (float("nan"), DEFAULT_EXPIRES_IN),
        (True, DEFAULT_EXPIRES_IN),
        (None, DEFAULT_EXPIRES_IN),
        ("soon", DEFAULT_EXPIRES_IN),
        ("1" * 5000, DEFAULT_EXPIRES_IN),
        ([60], DEFAULT_EXPIRES_IN),
    ],
)
def test_durations_are_bounded(value: object, seconds: float) -> None:
    assert read_seconds(value, DEFAULT_EXPIRES_IN) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("999999999", 86400.0),
        ("Sun, 01 Mar 2026 12:00:10 GMT", 10.0),
        ("Sunday, 01-Mar-26 12:00:10 GMT", 10.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2099 11:00:00 GMT", 86400.0),
        ("Sun, 99 Mar 2026 11:00:00 GMT", None),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("1" * 500, None),
    ],
)
def test_retry_after_has_two_forms(value: str, seconds: float | None) -> None:
    assert read_retry_after(value, NOW) == seconds


def test_the_form_authenticates_the_client() -> None:
    assert token_form(CLIENT, "refresh_token", {"refresh_token": "a b&c"}) == {
        "grant_type": "refresh_token",
        "client_id": "client-1",
        "client_secret": "client-secret-1",
        "refresh_token": "a b&c",
    }


def test_a_public_client_sends_no_secret() -> None:
    client = OAuthClient("corp", "client-1", token_url=URL)
    form = token_form(client, "authorization_code", {"code": "c", "code_verifier": "v"})
    assert form == {
        "grant_type": "authorization_code",
        "client_id": "client-1",
        "code": "c",
        "code_verifier": "v",
    }
