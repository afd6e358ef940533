"""The configured client for a provider, or for tokens that are stored."""

from __future__ import annotations

from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.credentials import TokenOwner
from mailsync.errors import ClientRejected, InvalidInput


def find_client(settings: Settings, provider: str) -> OAuthClient:
    """Return the client that is configured for a provider. Raises InvalidInput, which lists the providers."""
    name = provider.strip().lower()
    for client in settings.oauth_clients:
        if client.name == name:
            return client
    configured = ", ".join(client.name for client in settings.oauth_clients)
    others = f", only for: {configured}" if configured else ""
    variable = f"OAUTH_{name.upper()}_CLIENT_ID" if name.isidentifier() else "OAUTH_<NAME>_CLIENT_ID"
    raise InvalidInput(
        f"provider: no OAuth client is configured for {name[:40]!a}{others}; set {variable}",
        field="provider",
    )


def client_of(settings: Settings, owner: TokenOwner) -> OAuthClient:
    """Return the client to which tokens were issued. Raises ClientRejected if it is not configured."""
    client = next((client for client in settings.oauth_clients if client.name == owner.provider), None)
    variable = f"OAUTH_{owner.provider.upper()}_CLIENT_ID"
    if client is None:
        raise ClientRejected(
            f"{variable} is not set, and the account's tokens belong to {owner.client_id}", step="login"
        )
    if client.client_id != owner.client_id:
        raise ClientRejected(
            f"the account's tokens belong to the client {owner.client_id}, but {variable} is now"
            f" {client.client_id}; set it back, or run `mailsync reauthorize`",
            step="login",
        )
    return client
