"""Ask the endpoints of an authorization server, and class their answers (RFC 6749 §5, SPEC §23.3).

Only an answer that blames the grant is GrantRejected, which may break an account. Refusals of our client are
the operator's to repair, and everything else is temporary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from oauthlib.oauth2.rfc6749.parameters import prepare_token_request

from mailsync.auth.advice import advice_for
from mailsync.auth.id_token import mailboxes_of, read_object
from mailsync.errors import (
    ClientRejected,
    GrantRejected,
    InvalidInput,
    MailsyncError,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.network.http import request
from mailsync.redaction import Mask, kept_secret, masking
from mailsync.unprintable import escaped

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.config.oauth import OAuthClient
    from mailsync.network.http import HttpResponse

Document = Mapping[str, Any]
"""The members of a JSON object."""

DEFAULT_EXPIRES_IN = 3600.0
"""How many seconds an access token lives if the server does not tell."""

LONGEST_DESCRIPTION = 200
"""How many characters of a server's explanation are shown."""

GRANT_ERRORS = frozenset({
    "invalid_grant",
    "access_denied",
    "authorization_declined",
    "expired_token",
    "bad_verification_code",
    "interaction_required",
    "consent_required",
    "login_required",
})  # fmt: skip
"""The errors that the owner of the mailbox ends by authorizing again; some are Microsoft's own."""

_TEMPORARY = frozenset({"server_error", "temporarily_unavailable", "slow_down", "authorization_pending"})
_SECRET_FIELDS = ("client_secret", "refresh_token", "code", "code_verifier", "device_code")
_LONGEST_LIFE = 10 * 365 * 86400.0
_LONGEST_WAIT = 86400.0
_TOKEN = re.compile(r"[\x21-\x7e]{1,32768}")
_REFRESH_TOKEN = re.compile(r"[\x20-\x7e]{1,32768}")
_SECONDS = re.compile(r"[0-9]{1,9}")
_JSON_TYPE = re.compile(r"(?:application|text)/(?:[\w.-]{1,100}\+)?json\b", re.IGNORECASE)
# Microsoft's explanations end in numbers that only its support can read
_END_OF_DESCRIPTION = re.compile(r"[\r\n]|\s(?:Trace|Correlation) ID:")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of an answer (RFC 6749 §5.1).

    ``expires_in`` counts seconds from the answer. ``refresh_token`` is None if the answer has none, so that
    the old one stays in use. ``names`` are the addresses by which the id_token calls its user, in lower case,
    the likeliest mailbox first; there are none without an id_token.
    """

    access_token: str = field(repr=False)
    expires_in: float
    refresh_token: str | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()

    @property
    def user(self) -> str | None:
        """The address of the user; None if the answer does not tell."""
        return self.names[0] if self.names else None


def ask_for_tokens(
    client: OAuthClient,
    grant_type: str,
    fields: Mapping[str, str],
    settings: Settings,
    on_wait: Callable[[], None] = lambda: None,
) -> Tokens:
    """Send a token request (RFC 6749 §4.1.3, §4.4.2, §6) and return the tokens of the answer.

    Raises what :func:`ask` raises.
    """
    form = token_form(client, grant_type, fields)
    return read_tokens(client, ask(client, client.token_url, form, settings, on_wait))


def token_form(client: OAuthClient, grant_type: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a token request, with those that authenticate the client (RFC 6749 §2.3.1)."""
    parameters: dict[str, Any] = {"client_id": client.client_id, **client_secret(client), **fields}
    return dict(parse_qsl(prepare_token_request(grant_type, **parameters)))


def client_secret(client: OAuthClient) -> dict[str, str]:
    """Return the client's secret as a field; none for a public client."""
    return {"client_secret": client.secret.get_secret_value()} if client.secret else {}


def ask(
    client: OAuthClient,
    url: str,
    form: Mapping[str, str],
    settings: Settings,
    on_wait: Callable[[], None] = lambda: None,
    *,
    expected: Iterable[str] = (),
) -> Document:
    """Post a form to an endpoint of the authorization server, and return the JSON object of the answer.

    An answer whose ``error`` is in `expected` is returned. Raises GrantRejected, ClientRejected (also for an
    address that mailsync may not connect to), Throttled, or Transient.
    """
    secrets = [form[name] for name in _SECRET_FIELDS if form.get(name)]
    with ExitStack() as kept:
        for secret in secrets:
            kept.enter_context(kept_secret(secret))
        try:
            response = request(
                url, settings, form=form, headers={"accept": "application/json"}, on_wait=on_wait
            )
        except InvalidInput as error:
            raise ClientRejected(f"{client.name}: {error}; check {client.variable}_…_URL") from error
        except ProtocolError as error:
            raise Transient(f"{client.name}: {error}") from error
        document = read_answer(url, response, datetime.now(UTC))
        if isinstance(document.get("error"), str) and document["error"] not in expected:
            raise refusal(client, document, masking(*secrets))
        return document


def read_answer(url: str, response: HttpResponse, now: datetime) -> Document:
    """Return the JSON object of an answer, which may be a refusal with ``error`` (RFC 6749 §5.2).

    Raises Throttled and Transient for everything else; `now` is the time for a Retry-After that is a date.
    """
    host, status = urlsplit(url).hostname or "", response.status
    wait = read_retry_after(response.headers.get("retry-after", ""), now)
    if status == 429:
        raise Throttled(f"{host} answers 429: too many requests", retry_after=wait)
    if status >= 500:
        raise Transient(f"{host} answers {status}", retry_after=wait)
    if 300 <= status < 400:
        target = _host_of(response.headers.get("location", ""))
        raise Transient(f"{host} redirects to {target} ({status}); redirections are not followed")
    content_type = response.headers.get("content-type", "")
    document = read_object(response.body) if _JSON_TYPE.match(content_type) else None
    if document is None:
        kind = escaped(content_type.partition(";")[0].strip()[:60]) or "without a content type"
        raise Transient(f"{host} answers {status} and no JSON ({kind})")
    if status >= 400 and not isinstance(document.get("error"), str):
        raise Transient(f"{host} answers {status} and no reason", retry_after=wait)
    return document


def refusal(client: OAuthClient, document: Document, mask: Mask | None = None) -> MailsyncError:
    """Return the error for an answer with ``error`` (RFC 6749 §5.2, RFC 8628 §3.5).

    `mask` hides the secrets of the request. An unknown error counts as a refusal of the client, which breaks
    no account.
    """
    mask = mask or masking()
    error, description = document.get("error"), document.get("error_description")
    code = (_shown(error, mask, 60) if isinstance(error, str) else "") or "no reason"
    words = description if isinstance(description, str) else ""
    shown = _shown(words, mask, LONGEST_DESCRIPTION)
    advice = advice_for(code, words, client.variable)
    reason = "; ".join(filter(None, (shown.rstrip("."), advice)))
    reason = f"{code}: {reason}" if reason else code
    if code in GRANT_ERRORS:
        return GrantRejected(f"{client.name} rejects the authorization: {reason}")
    if code in _TEMPORARY:
        return Transient(f"{client.name} cannot answer now: {reason}")
    return ClientRejected(f"{client.name} rejects the client {client.variable}_CLIENT_ID: {reason}")


def read_tokens(client: OAuthClient, document: Document) -> Tokens:
    """Return the tokens of a successful answer (RFC 6749 §5.1); raises Transient if it has none."""
    access, refresh = document.get("access_token"), document.get("refresh_token")
    kind = document.get("token_type", "Bearer")
    if not isinstance(access, str) or not _TOKEN.fullmatch(access):
        raise Transient(f"{client.name} answers without a usable access token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise Transient(f"{client.name} answers with a token that is not a bearer token")
    if refresh is not None and (not isinstance(refresh, str) or not _REFRESH_TOKEN.fullmatch(refresh)):
        raise Transient(f"{client.name} answers without a usable refresh token")
    names = mailboxes_of(document.get("id_token"), client.client_id)
    return Tokens(access, read_seconds(document.get("expires_in"), DEFAULT_EXPIRES_IN), refresh, names)


def with_refresh_token(client: OAuthClient, tokens: Tokens) -> Tokens:
    """Return `tokens` if they can be renewed; raises ClientRejected for an answer without a refresh token."""
    if tokens.refresh_token is None:
        raise ClientRejected(
            f"{client.name} sends no refresh token, without which nothing can be synced for long; add"
            f" offline_access, or the provider's word for it, to {client.variable}_SCOPE"
        )
    return tokens


def read_seconds(value: object, default: float) -> float:
    """Return a duration that a server gives as a number or as its digits; `default` for anything else.

    >>> read_seconds(3599, 0), read_seconds("3599", 0), read_seconds(None, 3600), read_seconds(-1, 3600)
    (3599.0, 3599.0, 3600, 0.0)
    """
    if isinstance(value, str) and _SECONDS.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    if isinstance(value, float) and math.isnan(value):
        return default
    return float(min(max(value, 0), _LONGEST_LIFE))


def read_retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After, a number or a date (RFC 9110 §10.2.3); None if it has neither.

    >>> read_retry_after("120", datetime(2026, 1, 1, tzinfo=UTC))
    120.0
    """
    if _SECONDS.fullmatch(value):
        return min(float(value), _LONGEST_WAIT)
    if not 20 <= len(value) <= 60:
        return None
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return min(max((when - now).total_seconds(), 0.0), _LONGEST_WAIT)


def _host_of(location: str) -> str:
    try:
        host = urlsplit(location[:2000]).hostname
    except ValueError:
        host = None
    return escaped(host[:100]) if host else "another address"


def _shown(text: str, mask: Mask, limit: int) -> str:
    """The first line of a server's text, masked and cut, in printable characters."""
    # masked before it is cut, so that the end of a cut secret is never shown
    masked = mask(text.encode("utf-8", "replace").decode())
    line = _END_OF_DESCRIPTION.split(masked, maxsplit=1)[0].strip()
    return escaped(line[: limit - 1]).strip() + ("" if len(line) < limit else "…")
