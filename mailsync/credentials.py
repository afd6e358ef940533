"""What signs in to a mail server: a password, or the access token of an OAuth2 client."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class BearerToken:
    """An access token (RFC 6750).

    ``mechanism`` is ``OAUTHBEARER`` or ``XOAUTH2``; None means whichever the server announces.
    """

    text: str = field(repr=False)
    mechanism: str | None = None


Credential = str | BearerToken
"""A password, or an access token."""
