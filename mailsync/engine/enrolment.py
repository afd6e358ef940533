"""Accounts are added and get new passwords here, for the command line and the API alike (SPEC §5).

Everything is checked before anything is stored: a failed connection test leaves no trace.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from mailsync.config import Settings
from mailsync.engine.connection_test import Tested, try_connection
from mailsync.errors import AuthenticationFailed, Busy, InvalidInput, NotFound, OutOfTokens
from mailsync.imap import Throttle, burst, check_endpoint
from mailsync.imap.address import resolve
from mailsync.imap.throttle import refill
from mailsync.logs import keep_secret
from mailsync.model import Endpoint
from mailsync.providers import Provider, normalise_email, provider_at, provider_for
from mailsync.store import accounts, turns
from mailsync.store.accounts import NewAccount
from mailsync.store.db import Connection
from mailsync.store.locks import account_lock

_PORTS = {"tls": 993, "starttls": 143, "plaintext": 143}
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """What a person gives to add an account; None is "not said".

    ``sync_since`` and ``sync_window_days`` exclude each other; a window of 0 days is all mail. With
    ``verify`` False nothing is connected to.
    """

    email: str
    password: str = field(repr=False)
    host: str | None = None
    port: int | None = None
    security: str | None = None
    username: str | None = None
    display_name: str | None = None
    sync_since: datetime | None = None
    sync_window_days: int | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class Added:
    """The account as stored; ``tested`` is None where the connection was not tested."""

    account_id: int
    email: str
    endpoint: Endpoint
    provider: Provider | None
    tested: Tested | None


def find_provider(email: str, host: str | None = None) -> Provider | None:
    """The provider that runs `host`, or without one the provider of the address; None if it is not known."""
    of_address = provider_for(email)
    if host is None or (of_address and of_address.host == host):
        return of_address
    # an address of this machine is no proof of Proton's Bridge
    return provider_at(host) if host[-1:].isalpha() else None


def endpoint_for(
    email: str,
    *,
    host: str | None = None,
    port: int | None = None,
    security: str | None = None,
    username: str | None = None,
) -> Endpoint:
    """Where and as whom to log in; what is not said comes from the provider of the address.

    Raises InvalidInput without a host and a known provider, and where no password can log in.
    """
    provider = find_provider(email, host)
    if host is None and provider is None:
        domain = email.rpartition("@")[2]
        raise InvalidInput(f"no provider is known for {domain}; give the IMAP server with --host")
    if host is None and provider is not None and not provider.accepts_passwords:
        raise InvalidInput(f"{provider.name}: {provider.note} (give --host to try nevertheless)")
    kept = provider if provider and security in (None, provider.security) else None
    security = security or (kept.security if kept else "starttls" if port == 143 else "tls")
    if port is None:
        port = kept.port if kept else _PORTS.get(security, 993)
    return Endpoint(host or (provider.host if provider else ""), port, security, username or email)


def add_account(conn: Connection, request: AccountRequest, settings: Settings) -> Added:
    """Validate, test the connection, store; a worker is woken.

    Raises InvalidInput, ForbiddenHost, Conflict, LimitReached, or what the connection test raises, with its
    ``step``. Nothing is stored then.
    """
    email = normalise_email(request.email)
    check_password(request.password)
    endpoint = endpoint_for(
        email, host=request.host, port=request.port, security=request.security, username=request.username
    )
    check_endpoint(endpoint, settings)
    since, window = _window(request, settings)
    accounts.refuse_existing(conn, email)
    accounts.check_limit(conn, settings, adding=1)
    provider = find_provider(email, endpoint.host)
    tested = None
    if request.verify:
        limit = settings.imap_max_commands_per_minute
        tested = _tested(endpoint, request.password, settings, Throttle(burst(limit), limit, 0), provider)
    else:
        _refuse_private(endpoint, settings)
    new = NewAccount(
        email=email,
        endpoint=endpoint,
        display_name=_name(request.display_name),
        provider=provider.name if provider else None,
        sync_since=since,
        sync_window_days=window,
        capabilities=tested.capabilities if tested else (),
    )
    account_id = accounts.create(conn, new, request.password, settings)
    return Added(account_id, email, endpoint, provider, tested)


def set_password(
    conn: Connection,
    account_id: int,
    password: str,
    settings: Settings,
    *,
    started_by: str,
    verify: bool = True,
    wait: float,
) -> Tested | None:
    """Store a new password under the account's lock, by default after a test with it.

    A state that came of the old password is cleared, and a worker is woken. Raises Busy after `wait` seconds
    in the lock's queue, and what the test raises; the old password stays then.
    """
    check_password(password)
    found = accounts.sealed(conn, account_id)
    if not found:
        raise NotFound(f"account {account_id} is gone")
    endpoint = found[0].endpoint
    tested = None
    with account_lock(conn, account_id, settings, wait=wait) as lock:
        if verify:
            check_endpoint(endpoint, settings)
            limit = settings.imap_max_commands_per_minute
            loaded = turns.begin(
                conn, account_id, started_by, burst=burst(limit), refill=refill(limit), floor=0.0
            )
            if loaded is None:
                raise NotFound(f"account {account_id} is gone")
            throttle = Throttle(loaded.tokens, limit, 0)
            try:
                provider = find_provider(found[0].email, endpoint.host)
                tested = _tested(endpoint, password, settings, throttle, provider, on_wait=lock.beat)
            finally:
                turns.leave(conn, account_id, tokens=throttle.tokens)
        accounts.change_password(conn, account_id, endpoint, password, settings.encryption_keys())
    return tested


def check_password(password: str) -> None:
    """Raise InvalidInput for a password that no server can be sent."""
    if not password:
        raise InvalidInput("password: it is empty")
    if any(c in password for c in "\r\n\0") or len(password) > _LONGEST:
        raise InvalidInput(f"password: it must be one line of at most {_LONGEST} characters, without NUL")
    keep_secret(password)


def _tested(
    endpoint: Endpoint,
    password: str,
    settings: Settings,
    throttle: Throttle,
    provider: Provider | None,
    on_wait: Callable[[], None] = lambda: None,
) -> Tested:
    try:
        return try_connection(endpoint, password, settings, throttle=throttle, on_wait=on_wait)
    except OutOfTokens as error:
        raise Busy("the account's command budget for this minute is used up", retry_after=30.0) from error
    except AuthenticationFailed as error:
        if provider and provider.note:
            raise AuthenticationFailed(
                f"{error}. {provider.name}: {provider.note}", step=error.step
            ) from error
        raise


def _refuse_private(endpoint: Endpoint, settings: Settings) -> None:
    """Without a connection there is no look-up of the name; but an address can be judged."""
    with suppress(ValueError):
        ipaddress.ip_address(endpoint.host)
        resolve(endpoint, settings, lambda: None)


def _window(request: AccountRequest, settings: Settings) -> tuple[datetime | None, int | None]:
    if request.sync_since is not None and request.sync_window_days is not None:
        raise InvalidInput("sync_since and sync_window_days exclude each other")
    if request.sync_since is not None:
        if request.sync_since > datetime.now(UTC):
            raise InvalidInput("sync_since: it lies in the future")
        if request.sync_since.year < 1900:
            raise InvalidInput("sync_since: it lies before 1900; leave it out for all mail")
        return request.sync_since, None
    days = settings.sync_window_days if request.sync_window_days is None else request.sync_window_days
    if not 0 <= days <= 36_500:
        raise InvalidInput(f"sync_window_days: {days} is not between 0 and 36500")
    return None, days or None


def _name(text: str | None) -> str | None:
    name = (text or "").strip()
    if len(name) > 200 or not name.isprintable():
        raise InvalidInput("name: expected one line of at most 200 characters")
    return name or None
