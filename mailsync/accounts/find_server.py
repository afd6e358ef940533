"""Find the server of a new account that names none, before its password is asked for (SPEC §23.6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from mailsync.accounts.add import AccountRequest, find_provider
from mailsync.config import Settings
from mailsync.core.providers import likely_domain, normalise_email
from mailsync.errors import InvalidInput
from mailsync.server_lookup.lookup import Found, Lookup, find_server

__all__ = ["Found", "Lookup", "fill_in", "is_unknown", "look_up", "not_found", "with_server"]


def is_unknown(request: AccountRequest) -> bool:
    """Whether neither the request nor its client names a host, and its domain is none of a known provider."""
    if request.client and request.client.imap_host:
        return False
    return request.host is None and find_provider(normalise_email(request.email)) is None


def look_up(
    request: AccountRequest,
    settings: Settings,
    confirm: Callable[[Found], bool] = lambda found: False,
) -> Lookup:
    """Look for the server of the request's domain, for ten seconds at most."""
    return find_server(normalise_email(request.email), settings, confirm=confirm)


def fill_in(request: AccountRequest, settings: Settings) -> tuple[AccountRequest, Found | None]:
    """Return the request with the server that was found, if it needs one and no person can be asked.

    The server of a domain that differs from a provider's by one slip of the keyboard is not looked for: it
    may belong to someone who waits for passwords. Raises InvalidInput if no server is found, and without a
    client for a provider that accepts no passwords.
    """
    domain = normalise_email(request.email).rpartition("@")[2]
    if not is_unknown(request) or likely_domain(domain):
        return request, None
    lookup = look_up(request, settings)
    if lookup.found is None:
        raise not_found(request, lookup)
    return with_server(request, lookup.found), lookup.found


def with_server(request: AccountRequest, found: Found) -> AccountRequest:
    """Return the request with the server that was found; what a person entered stays.

    Raises InvalidInput without a client for a provider that accepts no passwords.
    """
    provider = found.provider
    if provider and not provider.accepts_passwords and request.client is None:
        raise InvalidInput(
            f"{found.how}. {provider.name}: {provider.note} To try anyway, name its server:"
            f" --host {found.host} (over HTTP: imap_host)",
            field="imap_host",
        )
    is_open = request.port is None and request.security is None
    return replace(
        request,
        host=found.host,
        port=found.port if is_open else request.port,
        security=found.security if is_open else request.security,
        username=request.username or found.username,
    )


def not_found(request: AccountRequest, lookup: Lookup) -> InvalidInput:
    """Return the error for a lookup that found nothing: it says what each place answered."""
    domain = normalise_email(request.email).rpartition("@")[2]
    return InvalidInput(
        f"no provider is known for {domain}, and no IMAP server was found ({'; '.join(lookup.summary)});"
        " name it: --host HOST (over HTTP: imap_host)",
        field="imap_host",
    )
