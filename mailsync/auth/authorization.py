"""Send a person to the provider and read how they come back (RFC 6749 §4.1, PKCE: RFC 7636)."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from oauthlib.common import add_params_to_uri
from oauthlib.oauth2 import WebApplicationClient

from mailsync.auth.token_endpoint import Tokens, ask_for_tokens, refusal, with_refresh_token
from mailsync.errors import ClientRejected, InvalidInput

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.config.oauth import OAuthClient

LONGEST_ANSWER = 16 * 1024
"""The largest number of characters of an address that a person comes back to."""

_CODE = re.compile(r"[\x20-\x7e]{1,8192}")


def new_state() -> str:
    """Return a ``state`` that nobody can guess (RFC 6749 §10.12)."""
    return secrets.token_urlsafe(32)


def new_verifier() -> str:
    """Return a PKCE ``code_verifier`` of the recommended entropy (RFC 7636 §4.1)."""
    return secrets.token_urlsafe(32)


def challenge_of(verifier: str) -> str:
    """Return the S256 ``code_challenge`` of a verifier (RFC 7636 §4.2).

    >>> challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM'
    """
    challenge: str = WebApplicationClient("").create_code_challenge(verifier, "S256")
    return challenge


def authorize_url(
    client: OAuthClient, redirect_uri: str, state: str, verifier: str, *, login_hint: str | None = None
) -> str:
    """Return the address at which a person authorizes the client (RFC 6749 §4.1.1, RFC 7636 §4.3).

    ``login_hint`` is the address of the mailbox, which the provider offers to sign in as. Raises
    ClientRejected for a client without an authorization endpoint.
    """
    if client.authorize_url is None:
        raise ClientRejected(f"{client.name}: set {client.variable}_AUTHORIZE_URL to authorize in a browser")
    fields = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "scope": client.scope,
        "state": state,
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
        "login_hint": login_hint or "",
        **dict(client.extra),
    }
    url: str = add_params_to_uri(client.authorize_url, [pair for pair in fields.items() if pair[1]])
    return url


def read_redirection(client: OAuthClient, address: str, state: str) -> str:
    """Return the code in the address that a person came back to, or in its query (RFC 6749 §4.1.2).

    Raises InvalidInput if it is no answer, or an answer to another authorization: its ``state`` differs, and
    nothing else of it is used. Raises GrantRejected, ClientRejected or Transient if the provider refuses.
    """
    fields = read_query(address)
    if "state" not in fields or not ("code" in fields or "error" in fields):
        raise InvalidInput("expected the whole address that the browser was sent to, with state= and code=")
    if not hmac.compare_digest(fields["state"].encode(), state.encode()):
        raise InvalidInput("this answer belongs to another authorization: begin again")
    if "error" in fields:
        raise refusal(client, fields)
    if not _CODE.fullmatch(fields["code"]):
        raise InvalidInput("the code in the address is no code of an authorization server")
    return fields["code"]


def read_query(address: str) -> dict[str, str]:
    """Return the fields in the query of an address, or in a bare query; none if they cannot be read.

    A field that occurs twice makes the whole query unusable (RFC 6749 §3.1).
    """
    text = address.strip().strip("<>\"'")
    if len(text) > LONGEST_ANSWER:
        return {}
    try:
        query = urlsplit(text).query if "?" in text else text
        pairs = parse_qsl(query.lstrip("?"), keep_blank_values=True, max_num_fields=50)
    except ValueError:
        return {}
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else {}


def exchange_code(
    client: OAuthClient,
    code: str,
    verifier: str,
    redirect_uri: str,
    settings: Settings,
    *,
    on_wait: Callable[[], None] = lambda: None,
) -> Tokens:
    """Return the tokens for a code (RFC 6749 §4.1.3). ``redirect_uri`` is that of :func:`authorize_url`.

    Raises what :func:`mailsync.auth.token_endpoint.ask` raises.
    """
    fields = {"code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    tokens = ask_for_tokens(client, "authorization_code", fields, settings, on_wait)
    return with_refresh_token(client, tokens)
