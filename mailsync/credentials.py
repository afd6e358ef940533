"""Credentials for mail servers: passwords, and the tokens that an OAuth2 client was given."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class BearerToken:
    """An access token (RFC 6750).

    ``mechanism`` is ``OAUTHBEARER`` or ``XOAUTH2``; None means whichever the server announces.
    """

    text: str = field(repr=False)
    mechanism: str | None = None


Credential = str | BearerToken
"""A password, or an access token."""


@dataclass(frozen=True, slots=True)
class TokenOwner:
    """The client to which tokens were issued, at its provider (``google``)."""

    provider: str
    client_id: str


@dataclass(frozen=True, slots=True)
class TokenSet:
    """The tokens of an account, as they are stored.

    ``grant`` is ``refresh_token`` or ``client_credentials``, which has no ``refresh_token``. Without an
    ``access_token`` the next sign-in asks for one. ``lifetime`` is its seconds from issue to ``expires_at``.
    ``user`` is who has consented, if the provider told.
    """

    owner: TokenOwner
    grant: str
    refresh_token: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    lifetime: float = 0.0
    user: str | None = None
