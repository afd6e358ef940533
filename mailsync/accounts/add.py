"""Add an account, for the command line and the API alike (SPEC §5).

:func:`check_request` judges a request before its password is known; :func:`add_account` checks the request
again, logs in, and stores the account only if the login succeeds. :mod:`mailsync.accounts.change` uses the
same checks for single fields.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mailsync.accounts.try_login import Tested, refuse_private, try_login
from mailsync.config import Settings
from mailsync.core.providers import Provider, likely_domain, normalise_email, provider_at, provider_for
from mailsync.errors import Conflict, InvalidInput
from mailsync.imap import TokenBucket, burst, check_endpoint
from mailsync.model import Endpoint
from mailsync.network.resolve import bare_host, resolve
from mailsync.redaction import kept_secret
from mailsync.store import accounts
from mailsync.store.accounts import NewAccount
from mailsync.store.db import Connection

MAX_METADATA = 64 * 1024
"""The largest size of an account's ``metadata``, in bytes of JSON."""

LONGEST = 1000
"""The largest number of characters of a password or a user name."""

LONGEST_NAME = 200
"""The largest number of characters of an account's display name."""

_PORTS = {"tls": 993, "starttls": 143, "plaintext": 143}
_HOST_AND_PORT = re.compile(r"([^\s:/\[\]]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")
_URL = re.compile(r"([A-Za-z]{1,20}://)([A-Za-z0-9_.-]{1,253})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class AccountRequest:
    """The input that adds an account; None where a person entered nothing.

    ``password`` may be empty for :func:`check_request`. At most one of ``sync_since`` and
    ``sync_window_days`` may be given; a window of 0 days means all mail. With ``verify`` False the account is
    stored without a connection to its server.
    """

    email: str
    password: str = field(default="", repr=False)
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
) -> Endpoint:
    """Return where and as whom to log in, with defaults from the provider of the address.

    A `host` in brackets (``[::1]``) is the address inside. Raises InvalidInput if `host` holds a port, if
    neither a host nor a provider is known, and for a provider that accepts no passwords.
    """
    if host is not None:
        check_host(host)
        host = bare_host(host)
    provider = find_provider(email, host)
    if host is None and provider is None:
        raise InvalidInput(_no_provider(email), field="imap_host")
    if host is None and provider is not None and not provider.accepts_passwords:
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
    check_password(request.password)
    with kept_secret(request.password):
        checked = _check(conn, request, settings)
        provider, endpoint = checked.provider, checked.endpoint
        tested = None
        if request.verify:
            limit = settings.imap_max_commands_per_minute
            bucket = TokenBucket(burst(limit), limit, 0)
            tested = try_login(endpoint, request.password, settings, bucket, provider)
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
        account_id = accounts.create(conn, new, request.password, settings)
    return Added(account_id, checked.email, endpoint, provider, tested)


def _check(conn: Connection, request: AccountRequest, settings: Settings) -> CheckedRequest:
    email = normalise_email(request.email)
    endpoint = endpoint_for(
        email, host=request.host, port=request.port, security=request.security, username=request.username
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
        command = f"mailsync set-password {shlex.quote(email)}"
        raise Conflict(f"{error}; to change its password: `{command}` (over HTTP: PATCH)") from error
    accounts.check_limit(conn, settings, adding=1)
    return CheckedRequest(email, endpoint, find_provider(email, endpoint.host))


# -- single fields ------------------------------------------------------------------------------------


def check_password(password: str) -> None:
    """Raise InvalidInput for a password that cannot be sent to a server."""
    if not password:
        raise InvalidInput("password: expected at least one character", field="password")
    if any(c in password for c in "\r\n\0") or len(password) > LONGEST:
        raise InvalidInput(
            f"password: expected one line of at most {LONGEST} characters, without NUL", field="password"
        )


def check_host(host: str) -> None:
    """Raise InvalidInput for a URL or a host with a port; ``check_endpoint`` checks the rest of the host."""
    if match := _URL.match(host):
        raise InvalidInput(
            f"host: expected the server's name without {match[1]}; give it as --host {match[2]}"
            " (over HTTP: imap_host)",
            field="imap_host",
            step="connect",
        )
    if match := _HOST_AND_PORT.fullmatch(host):
        name, port = match[1].strip("[]"), match[2]
        raise InvalidInput(
            f"host: {host} includes a port; give them apart: --host {name} --port {port}"
            " (over HTTP: imap_host, imap_port)",
            field="imap_host",
            step="connect",
        )


def check_username(username: str) -> None:
    """Raise InvalidInput for a user name that is too long; ``check_endpoint`` checks its characters."""
    if len(username) > LONGEST:
        raise InvalidInput(f"user name: expected at most {LONGEST} characters", field="username")


def check_name(text: str | None) -> str | None:
    """The display name without blanks around it, or None if it is empty; raises InvalidInput."""
    name = (text or "").strip()
    if len(name) > LONGEST_NAME or _CONTROL.search(name):
        raise InvalidInput(
            f"name: expected one line of at most {LONGEST_NAME} characters", field="display_name"
        )
    return name or None


def check_window(since: datetime | None, days: int | None) -> None:
    """Check how far back mail is mirrored: by `since` or by a number of `days`, where 0 means all mail.

    Raises InvalidInput if both are given, or one is out of range.
    """
    if since is not None and days is not None:
        raise InvalidInput("give either sync_since or sync_window_days, not both", field="sync_since")
    if since is not None and since > datetime.now(UTC):
        raise InvalidInput("sync_since: expected a time in the past", field="sync_since")
    if since is not None and since.year < 1900:
        raise InvalidInput(
            "sync_since: expected a time after 1900; leave it out to mirror all mail", field="sync_since"
        )
    if days is not None and not 0 <= days <= 36_500:
        raise InvalidInput(f"sync_window_days: {days} is not between 0 and 36500", field="sync_window_days")


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise InvalidInput for metadata that a jsonb column cannot hold, or that is too large."""
    try:
        size = len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            "metadata: expected JSON without NaN and Infinity, nested less deeply", field="metadata"
        ) from error
    if size > MAX_METADATA:
        raise InvalidInput(
            f"metadata: expected at most {MAX_METADATA} bytes of JSON, not {size}", field="metadata"
        )
    if any("\0" in text for text in _texts(metadata)):
        raise InvalidInput(
            "metadata: expected texts without NUL, which Postgres cannot store", field="metadata"
        )


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
