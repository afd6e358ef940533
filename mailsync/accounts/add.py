"""Accounts are added here, for the command line and the API alike (SPEC §5).

Everything is checked before anything is stored: a failed connection test leaves no trace. What a person may
give is checked by functions of their own, which :mod:`mailsync.accounts.change` uses too.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mailsync.accounts.try_login import Tested, try_connection
from mailsync.config import Settings
from mailsync.core.providers import Provider, normalise_email, provider_at, provider_for
from mailsync.errors import AuthenticationFailed, Busy, InvalidInput, OutOfTokens, PasswordRejected
from mailsync.imap import TokenBucket, burst, check_endpoint
from mailsync.imap.network.resolve import resolve
from mailsync.model import Endpoint
from mailsync.redaction import kept_secret
from mailsync.store import accounts
from mailsync.store.accounts import NewAccount
from mailsync.store.db import Connection

MAX_METADATA = 64 * 1024
"""Bytes of JSON that an account's ``metadata`` may have."""

LONGEST = 1000
"""The most characters of a password or a user name."""

LONGEST_NAME = 200

_PORTS = {"tls": 993, "starttls": 143, "plaintext": 143}
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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
    metadata: Mapping[str, Any] = field(default_factory=dict)
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
        raise InvalidInput(
            f"no provider is known for {domain}; name the IMAP server (--host, imap_host)", field="imap_host"
        )
    if host is None and provider is not None and not provider.accepts_passwords:
        raise InvalidInput(
            f"{provider.name}: {provider.note} (name its host to try nevertheless)", field="imap_host"
        )
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
    check_username(endpoint.username)
    check_endpoint(endpoint, settings)
    check_window(request.sync_since, request.sync_window_days)
    check_metadata(request.metadata)
    window = request.sync_window_days
    if window is None and request.sync_since is None:
        window = settings.sync_window_days
    name = check_name(request.display_name)
    with kept_secret(request.password):
        accounts.refuse_existing(conn, email)
        accounts.check_limit(conn, settings, adding=1)
        provider = find_provider(email, endpoint.host)
        tested = None
        if request.verify:
            limit = settings.imap_max_commands_per_minute
            bucket = TokenBucket(burst(limit), limit, 0)
            tested = try_login(endpoint, request.password, settings, bucket, provider)
        else:
            refuse_private(endpoint, settings)
        new = NewAccount(
            email=email,
            endpoint=endpoint,
            display_name=name,
            provider=provider.name if provider else None,
            sync_since=request.sync_since,
            sync_window_days=window or None,
            capabilities=tested.capabilities if tested else (),
            metadata=request.metadata,
        )
        account_id = accounts.create(conn, new, request.password, settings)
    return Added(account_id, email, endpoint, provider, tested)


# -- what a person gives ------------------------------------------------------------------------------


def check_password(password: str) -> None:
    """Raise InvalidInput for a password that no server can be sent."""
    if not password:
        raise InvalidInput("password: it is empty", field="password")
    if any(c in password for c in "\r\n\0") or len(password) > LONGEST:
        raise InvalidInput(
            f"password: it must be one line of at most {LONGEST} characters, without NUL", field="password"
        )


def check_username(username: str) -> None:
    """Raise InvalidInput for a user name that is too long; ``check_endpoint`` looks at the rest of it."""
    if len(username) > LONGEST:
        raise InvalidInput(f"user name: it is longer than {LONGEST} characters", field="username")


def check_name(text: str | None) -> str | None:
    """The name to show, without the blanks around it, None for none; raises InvalidInput."""
    name = (text or "").strip()
    if len(name) > LONGEST_NAME or _STEERING.search(name):
        raise InvalidInput(
            f"name: expected one line of at most {LONGEST_NAME} characters", field="display_name"
        )
    return name or None


def check_window(since: datetime | None, days: int | None) -> None:
    """Raise InvalidInput unless at most one says how far back mail is mirrored; 0 days is all mail."""
    if since is not None and days is not None:
        raise InvalidInput("sync_since and sync_window_days exclude each other", field="sync_since")
    if since is not None and since > datetime.now(UTC):
        raise InvalidInput("sync_since: it lies in the future", field="sync_since")
    if since is not None and since.year < 1900:
        raise InvalidInput("sync_since: it lies before 1900; leave it out for all mail", field="sync_since")
    if days is not None and not 0 <= days <= 36_500:
        raise InvalidInput(f"sync_window_days: {days} is not between 0 and 36500", field="sync_window_days")


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise InvalidInput for what a jsonb column cannot hold, or what is too much for one account."""
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "metadata: a number in it is not finite, or it cannot be stored", field="metadata"
        ) from error
    if size > MAX_METADATA:
        raise InvalidInput(f"metadata: {size} bytes of JSON are more than {MAX_METADATA}", field="metadata")
    if any("\0" in text for text in _texts(metadata)):
        raise InvalidInput("metadata: a text in it holds NUL, which Postgres cannot store", field="metadata")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


# -- where it leads -----------------------------------------------------------------------------------


def try_login(
    endpoint: Endpoint,
    password: str,
    settings: Settings,
    bucket: TokenBucket,
    provider: Provider | None,
    on_wait: Callable[[], None] = lambda: None,
) -> Tested:
    """Log in with what a person has given, and list folders.

    Raises what :func:`mailsync.accounts.try_login.try_connection` does, PasswordRejected where the server
    takes no such login, and Busy for want of commands.
    """
    try:
        return try_connection(endpoint, password, settings, bucket=bucket, on_wait=on_wait)
    except OutOfTokens as error:
        raise Busy("the account's command budget for this minute is used up", retry_after=30.0) from error
    except AuthenticationFailed as error:
        hint = f". {provider.name}: {provider.note}" if provider and provider.note else ""
        raise PasswordRejected(f"{error}{hint}", step=error.step, retry_after=error.retry_after) from error


def refuse_private(endpoint: Endpoint, settings: Settings) -> None:
    """Raise ForbiddenHost for an address that may not be connected to, in any of the forms it may have.

    Without a connection there is no look-up of a name; that is judged when it is connected to.
    """
    try:
        # 2130706433 and 0x7f.1 are addresses too
        socket.getaddrinfo(endpoint.host, endpoint.port, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return
    resolve(endpoint, settings, lambda: None)
