"""Choose the OAuth2 client with which a new account signs in (SPEC §23.4)."""

from __future__ import annotations

from dataclasses import replace

from mailsync.accounts import find_server
from mailsync.accounts.add import AccountRequest, find_provider
from mailsync.auth.clients import find_client
from mailsync.cli.common import note
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.core.providers import Provider, likely_domain
from mailsync.errors import InvalidInput

GUIDES = {
    "google": "docs/howto/sign_in_with_google.rst",
    "microsoft": "docs/howto/sign_in_with_microsoft.rst",
}
"""Where it says how to register a client."""

_BY_HOST = {"imap.gmail.com": "google", "outlook.office365.com": "microsoft"}


def choose_client(
    request: AccountRequest, provider: str | None, settings: Settings, *, discover: bool
) -> AccountRequest:
    """Return the request with the client of `provider`, or else of the provider of the address.

    The server of an unknown domain is looked for if `discover`; after that, the only client is chosen. Raises
    InvalidInput, with the variable to set if no client is configured.
    """
    if provider:
        return replace(request, client=named_client(provider, settings))
    clients = settings.oauth_clients
    if not clients:
        raise InvalidInput(_nothing_configured(find_provider(request.email, request.host)))
    known = find_provider(request.email, request.host)
    host = request.host or (known.host if known else None)
    if host is None and discover and not likely_domain(request.email.rpartition("@")[2]):
        found = find_server.look_up(request, settings).found
        if found is not None:
            note(f"Found {found}")
            known, host = found.provider, found.host
            request = find_server.with_server(replace(request, client=clients[0]), found)
    if client := _client_at(host, known, clients):
        return replace(request, client=client)
    # a client that names no server may be for any
    candidates = [client for client in clients if host is None or client.imap_host is None]
    if len(candidates) == 1:
        return replace(request, client=candidates[0])
    if known and not candidates:
        raise InvalidInput(_nothing_configured(known))
    names = " or ".join(f"--oauth {client.name}" for client in clients)
    at = f" at {host}" if host else ""
    raise InvalidInput(f"{request.email}: name the provider of the mailbox{at}: {names}")


def named_client(provider: str, settings: Settings) -> OAuthClient:
    """Return the client of a provider; raises InvalidInput if there is none."""
    if "@" in provider:
        raise InvalidInput(
            f"--oauth: expected a provider such as google, not an address; write the address first:"
            f" mailsync add-account {provider} --oauth"
        )
    name = provider.strip().lower()
    if not settings.oauth_clients and name in GUIDES:
        raise InvalidInput(_nothing_configured(None, name))
    return find_client(settings, provider)


def _client_at(
    host: str | None, provider: Provider | None, clients: tuple[OAuthClient, ...]
) -> OAuthClient | None:
    """The client whose tokens are for this server, or for another server of its provider."""
    hosts = {name.lower() for name in (host, provider.host if provider else None) if name}
    return next(
        (client for client in clients if client.imap_host and client.imap_host.lower() in hosts), None
    )


def _nothing_configured(provider: Provider | None, name: str | None = "google") -> str:
    what = "no OAuth client is configured"
    if provider is not None:
        what, name = f"{what} for {provider.name}", _BY_HOST.get(provider.host)
    if name is None:
        return (
            f"{what}: set OAUTH_<NAME>_CLIENT_ID and what goes with it (docs/reference/oauth.rst), or"
            " leave out --oauth to sign in with a password"
        )
    return f"{what}: set OAUTH_{name.upper()}_CLIENT_ID; {GUIDES[name]} says how to register a client"
