"""Get access tokens from the authorization server of a provider (RFC 6749).

Every function raises GrantRejected if only the owner of the mailbox can help, ClientRejected if the operator
can, Throttled if the server asks to slow down, and Transient for everything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsync.auth.authorization import (
    authorize_url,
    exchange_code,
    new_state,
    new_verifier,
    read_redirection,
)
from mailsync.auth.device import DeviceAuthorization, begin_device, poll_device
from mailsync.auth.token_endpoint import Tokens, ask_for_tokens

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.config.oauth import OAuthClient

__all__ = [
    "DeviceAuthorization",
    "Tokens",
    "authorize_url",
    "begin_device",
    "client_credentials",
    "exchange_code",
    "new_state",
    "new_verifier",
    "poll_device",
    "read_redirection",
    "refresh",
]


def refresh(
    client: OAuthClient,
    refresh_token: str,
    settings: Settings,
    *,
    on_wait: Callable[[], None] = lambda: None,
) -> Tokens:
    """Return new tokens for a refresh token (RFC 6749 §6); see :class:`Tokens` about rotation."""
    return ask_for_tokens(client, "refresh_token", {"refresh_token": refresh_token}, settings, on_wait)


def client_credentials(
    client: OAuthClient, settings: Settings, *, on_wait: Callable[[], None] = lambda: None
) -> Tokens:
    """Return an access token for the client itself, without any person (RFC 6749 §4.4)."""
    scope = client.daemon_scope or client.scope
    fields = {"scope": scope} if scope else {}
    return ask_for_tokens(client, "client_credentials", fields, settings, on_wait)
