"""Add an account, for the command line and the API alike (SPEC §5).

:func:`check_request` judges a request before its password is known; :func:`add_account` checks the request
again, logs in, and stores the account only if the login succeeds.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mailsync.accounts.consent import Consent, Password, check_host_for, refuse_other_user
from mailsync.accounts.fields import (
    check_host,
    check_metadata,
    check_name,
    check_password,
    check_username,
    check_window,
)
from mailsync.accounts.try_login import Tested, refuse_private, try_login
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.core.providers import Provider, likely_domain, normalise_email, provider_at, provider_for
from mailsync.errors import Conflict, InvalidInput
from mailsync.imap import TokenBucket, burst, check_endpoint
from mailsync.model import Endpoint
from mailsync.network.resolve import bare_host, resolve
from mailsync.redaction import kept_secret
from mailsync.store import accounts
from mailsync.store.accounts import NewAccount
from mailsync.store.db import Connection

_PORTS = {"tls": 993, "starttls": 143, "plaintext": 143}


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """The input that adds an account; None where a person entered nothing.

    ``password`` may be empty for :func:`check_request`, and ``consent`` may be None. With a ``client`` the
    account signs in with tokens, and needs no password. At most one of ``sync_since`` and
    ``sync_window_days`` may be given; a window of 0 days means all mail. With ``verify`` False the account is
    stored without a connection to its server.
    """

    email: str
    password: str = field(default="", repr=False)
    client: OAuthClient | None = None
    consent: Consent | None = None
    host: str | None = None
    port: int | None = None
    security: str | None = None
    username: str | None = None
    display_name: str | None = None
    sync_since: datetime | None = None
    sync_window_days: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    verify: bool = True


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that passed :func:`check_request`: its address, and where to log in."""

    email: str
    endpoint: Endpoint
    provider: Provider | None


@dataclass(frozen=True, slots=True)
class Added:
    """The account as stored; ``tested`` is None if the login was not tested."""

    account_id: int
    email: str
    endpoint: Endpoint
    provider: Provider | None
    tested: Tested | None


def find_provider(email: str, host: str | None = None) -> Provider | None:
    """The provider that runs `host`, or without a host the provider of the address; None if none is known."""
    provider = provider_for(email)
    if host is None or (provider and provider.host == host):
        return provider
    # 127.0.0.1 is not necessarily Proton's Bridge, so only host names are looked up
    return provider_at(host) if host[-1:].isalpha() else None


def endpoint_for(
    email: str,
    *,
    host: str | None = None,
    port: int | None = None,
    security: str | None = None,
    username: str | None = None,
    client: OAuthClient | None = None,
) -> Endpoint:
    """Return where and as whom to log in, with defaults from the client, or the provider of the address.

    A `host` in brackets (``[::1]``) is the address inside. Raises InvalidInput if `host` holds a port, if
    neither a host nor a provider is known, without a client for a provider that accepts no passwords, and for
    a host that may not get the client's tokens.
    """
    host = host or (client.imap_host if client else None)
    if host is not None:
        check_host(host)
        host = bare_host(host)
        if client:
            check_host_for(client, host)
    provider = find_provider(email, host)
    if host is None and provider is None:
        raise InvalidInput(_no_provider(email), field="imap_host")
    if host is None and client is None and provider is not None and not provider.accepts_passwords:
        raise InvalidInput(
            f"{provider.name}: {provider.note} To try anyway, name its server: --host {provider.host}"
            " (over HTTP: imap_host)",
            field="imap_host",
        )
    kept = provider if provider and security in (None, provider.security) else None
    security = security or (kept.security if kept else "starttls" if port == 143 else "tls")
    if port is None:
        port = kept.port if kept else _PORTS.get(security, 993)
    return Endpoint(host or (provider.host if provider else ""), port, security, username or email)


def _no_provider(email: str) -> str:
    local, _, domain = email.rpartition("@")
    name_server = "name its IMAP server: --host HOST (over HTTP: imap_host)"
    if known := likely_domain(domain):
        return f"no provider is known for {domain}; did you mean {local}@{known}? Otherwise {name_server}"
    return f"no provider is known for {domain}; {name_server}"


def check_request(conn: Connection, request: AccountRequest, settings: Settings) -> CheckedRequest:
    """Check everything but the password, so that a person types it only for a request that can succeed.

    Resolves the host's name if the request asks for a login test. Takes at most IMAP_CONNECT_TIMEOUT. Raises
    InvalidInput, ForbiddenHost, Conflict for an address that has an account, LimitReached, and Transient for
    a host that cannot be resolved.
    """
    checked = _check(conn, request, settings)
    if request.verify:
        resolve(checked.endpoint.host, checked.endpoint.port, settings, lambda: None)
    return checked


def add_account(conn: Connection, request: AccountRequest, settings: Settings) -> Added:
    """Check the request, test the login, store the account and wake a worker.

    Raises InvalidInput, ForbiddenHost, Conflict, LimitReached, and what
    :func:`mailsync.accounts.try_login.try_login` raises, with its ``step``. After an error nothing is stored.
    """
    credential = request.consent or Password(check_password(request.password))
    with ExitStack() as secrets:
        for secret in credential.secrets:
            secrets.enter_context(kept_secret(secret))
        checked = _check(conn, request, settings)
        provider, endpoint = checked.provider, checked.endpoint
        if request.consent and request.username is None:
            refuse_other_user(request.consent, checked.email)
        tested = None
        if request.verify:
            limit = settings.imap_max_commands_per_minute
            bucket = TokenBucket(burst(limit), limit, 0)
            tested = try_login(endpoint, credential.sign_in, settings, bucket, provider)
        window = request.sync_window_days
        if window is None and request.sync_since is None:
            window = settings.sync_window_days
        new = NewAccount(
            email=checked.email,
            endpoint=endpoint,
            display_name=check_name(request.display_name),
            provider=provider.name if provider else None,
            sync_since=request.sync_since,
            sync_window_days=window or None,
            capabilities=tested.capabilities if tested else (),
            metadata=request.metadata,
        )
        account_id = accounts.create(conn, new, credential.stored, settings)
    return Added(account_id, checked.email, endpoint, provider, tested)


def _check(conn: Connection, request: AccountRequest, settings: Settings) -> CheckedRequest:
    email = normalise_email(request.email)
    endpoint = endpoint_for(
        email,
        host=request.host,
        port=request.port,
        security=request.security,
        username=request.username,
        client=request.client,
    )
    check_username(endpoint.username)
    check_endpoint(endpoint, settings)
    check_window(request.sync_since, request.sync_window_days)
    check_metadata(request.metadata)
    check_name(request.display_name)
    if not request.verify:
        refuse_private(endpoint, settings)
    try:
        accounts.refuse_existing(conn, email)
    except Conflict as error:
        command = f"mailsync {'reauthorize' if request.client else 'set-password'} {shlex.quote(email)}"
        what = "to authorize it again" if request.client else "to change its password"
        raise Conflict(f"{error}; {what}: `{command}` (over HTTP: PATCH)") from error
    accounts.check_limit(conn, settings, adding=1)
    return CheckedRequest(email, endpoint, find_provider(email, endpoint.host))
