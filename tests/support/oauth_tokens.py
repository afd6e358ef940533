"""The clients, codes and tokens of an authorization server of the tests.

A family of refresh tokens begins with a consent. Each renewal returns the next refresh token. The one before
is accepted again until the new one, or the access token that came with it, was used once; a client that never
received the answer may thus repeat its request, as at Okta and Auth0. Any older token revokes the family
(RFC 9700 §4.14.2). ``strict`` revokes it for the one before as well.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin
from authlib.oauth2.rfc8628 import DeviceCredentialMixin

from tests.support import planted

SCOPES = (
    *("mail", "openid", "email", "offline_access", "mail.daemon", "https://mail.google.com/"),
    *("https://outlook.office.com/IMAP.AccessAsUser.All", "https://outlook.office365.com/.default"),
)
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_KEPT = 40


def new_secret(length: int = 43) -> str:
    """Return a random text that may be part of a URL; no output may contain it or, if long, an end of it."""
    value = planted.keep(secrets.token_urlsafe(length)[:length])
    if length > 2 * _KEPT:
        planted.keep(value[:_KEPT])
        planted.keep(value[-_KEPT:])
    return value


@dataclass(eq=False)
class Client(ClientMixin):
    """A registered client; public without ``secret``. Tokens of client credentials are for ``mailbox``."""

    client_id: str
    secret: str | None = field(repr=False)
    redirect_uris: tuple[str, ...]
    grants: frozenset[str]
    mailbox: str | None = None

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str | None:
        return None

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether the URI is registered exactly, except that loopback may have any port (RFC 8252 §7.3)."""
        return any(_comparable(redirect_uri) == _comparable(known) for known in self.redirect_uris)

    def check_client_secret(self, client_secret: str) -> bool:
        return self.secret is not None and secrets.compare_digest(self.secret, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return (method == "none") == (self.secret is None)

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in self.grants


def _comparable(uri: str) -> object:
    parts = urlsplit(uri)
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return parts.hostname, parts.path, parts.query, parts.fragment
    return uri


@dataclass(eq=False)
class Code(AuthorizationCodeMixin):
    """An authorization code."""

    code: str = field(repr=False)
    client_id: str
    user: str
    scope: str
    redirect_uri: str
    code_challenge: str | None = None
    code_challenge_method: str | None = None
    expires_at: float = 0

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope


@dataclass(eq=False)
class Device(DeviceCredentialMixin):
    """A device that waits for its user, who approves it (``user``) or not (``denied``)."""

    device_code: str = field(repr=False)
    user_code: str
    client_id: str
    scope: str
    expires_at: float
    interval: float
    polled_at: float = 0
    user: str | None = None
    denied: bool = False

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return time.time() >= self.expires_at


@dataclass(eq=False)
class Family(TokenMixin):
    """What one consent granted. ``generation`` counts the renewals."""

    client_id: str
    user: str
    scope: str
    current: str = field(repr=False, default="")
    previous: str | None = field(repr=False, default=None)
    generation: int = 0
    revoked: bool = False
    reused: bool = False

    def check_client(self, client: Client) -> bool:
        return self.client_id == client.client_id

    def get_scope(self) -> str:
        return self.scope


@dataclass(eq=False)
class AccessToken:
    """An access token; client credentials have no family."""

    user: str | None
    expires_at: float
    family: Family | None
    generation: int
    revoked: bool = False

    @property
    def active(self) -> bool:
        return not self.revoked and time.time() < self.expires_at


class TokenStore:
    """All of it. ``lock`` is held for each request as a whole."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.clients: dict[str, Client] = {}
        self.codes: dict[str, Code] = {}
        self.devices: dict[str, Device] = {}
        self.access: dict[str, AccessToken] = {}
        self.families: list[Family] = []
        self.strict = False
        self._family_of: dict[str, Family] = {}

    def begin_family(self, client_id: str, user: str, scope: str, refresh_token: str) -> Family:
        """Remember a consent and its first refresh token."""
        family = Family(client_id, user, scope, refresh_token)
        self.families.append(family)
        self._family_of[refresh_token] = family
        return family

    def find_family(self, refresh_token: str) -> Family | None:
        """Return the family that a refresh token renews, or None; a token that was replaced revokes it."""
        family = self._family_of.get(refresh_token)
        if family is None or family.revoked:
            return None
        repeated = refresh_token == family.previous and not self.strict
        if refresh_token != family.current and not repeated:
            family.reused = True
            self.revoke(family)
            return None
        # whichever was used is the one that may be repeated
        family.previous = refresh_token
        return family

    def rotate(self, family: Family, refresh_token: str | None) -> None:
        """Count a renewal; without a new refresh token, the old one stays."""
        family.generation += 1
        if refresh_token:
            family.current = refresh_token
            self._family_of[refresh_token] = family

    def add_access(self, token: str, user: str | None, seconds: float, family: Family | None) -> None:
        """Remember an access token that was issued."""
        generation = family.generation if family else 0
        self.access[token] = AccessToken(user, time.time() + seconds, family, generation)

    def use_access(self, token: str) -> AccessToken | None:
        """Return an active access token, which proves that the client received the answer it came with."""
        access = self.access.get(token)
        if access is None or not access.active:
            return None
        if access.family and access.generation == access.family.generation:
            access.family.previous = None
        return access

    def revoke(self, family: Family) -> None:
        """End a family and its access tokens."""
        family.revoked = True
        for access in self.access.values():
            access.revoked |= access.family is family
