"""From an endpoint and a credential to a session: the steps of SPEC §9.1 and §9.2, in order."""

from __future__ import annotations

import weakref
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from mailsync import __version__
from mailsync.credentials import BearerToken, Credential
from mailsync.errors import MailsyncError, ProtocolError, Throttled, Transient
from mailsync.imap.connection import Connection
from mailsync.imap.flights import FlightLimit
from mailsync.imap.imapclient_adapter import Client
from mailsync.imap.sasl import TOKEN_MECHANISMS, check_token, plain_response, token_response
from mailsync.imap.session import Session
from mailsync.imap.sign_in import sign_in
from mailsync.imap.token_bucket import TokenBucket
from mailsync.network.connect import connect, wrap_tls
from mailsync.network.resolve import check_endpoint, refuse_control, resolve
from mailsync.network.timeouts import Timeouts
from mailsync.redaction import kept_secret, masking

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint


_ID = {"name": "mailsync", "version": __version__}
_ENABLED = frozenset({"CONDSTORE", "QRESYNC"})


def open_session(
    endpoint: Endpoint,
    credential: Credential,
    settings: Settings,
    *,
    bucket: TokenBucket,
    on_wait: Callable[[], None],
    on_begin: Callable[[str], None] = lambda command: None,
    disabled_capabilities: frozenset[str] = frozenset(),
    flights: FlightLimit | None = None,
) -> Session:
    """Connect and log in.

    `on_wait` is called at least once a second while waiting, `on_begin` with the name of each command.
    `disabled_capabilities` are capabilities, in upper case, to treat as not offered. `flights` says how many
    commands the server gets at once; if the connection ends for that, another is opened. The credential is
    masked in logs and messages until the session is garbage-collected. Raises InvalidInput, ForbiddenHost,
    Transient, CertificateRejected, Throttled, AuthenticationFailed or ProtocolError, each with ``step``
    set, and OutOfTokens.
    """
    check_endpoint(endpoint, settings)
    if isinstance(credential, BearerToken):
        check_token(endpoint, credential)
    else:
        refuse_control("password", credential)
    with ExitStack() as secret:
        for value in _secrets(endpoint, credential):
            secret.enter_context(kept_secret(value))
        limit = flights or FlightLimit()
        most = limit.most
        attempt = partial(
            _open, endpoint, credential, settings, bucket, on_wait, on_begin, disabled_capabilities, limit
        )
        try:
            session = attempt()
        except (Transient, Throttled, ProtocolError):
            if limit.most == most:
                raise
            # the server did not accept a flight, and does not get another one
            session = attempt()
        session.flights = limit
        # the server's words may be shown after close() too, so mask until nobody holds the session
        weakref.finalize(session, secret.pop_all().close).atexit = False
    return session


def _open(
    endpoint: Endpoint,
    credential: Credential,
    settings: Settings,
    bucket: TokenBucket,
    on_wait: Callable[[], None],
    on_begin: Callable[[str], None],
    disabled_capabilities: frozenset[str],
    limit: FlightLimit,
) -> Session:
    addresses = resolve(endpoint.host, endpoint.port, settings, on_wait)
    timeouts = Timeouts(on_wait, settings.imap_read_timeout, on_begin)
    sock = connect(endpoint.host, endpoint.port, addresses, settings.imap_connect_timeout, timeouts)
    if endpoint.security == "tls":
        sock = wrap_tls(sock, endpoint.host, settings, timeouts)
    # A server that drips bytes never hits the read timeout: allow one silence and one handshake.
    seconds = settings.imap_connect_timeout + settings.imap_read_timeout
    with _step("connect"), timeouts.deadline(seconds):
        connection = Connection(
            sock, endpoint, settings, bucket, timeouts, masking(*_secrets(endpoint, credential))
        )
    try:
        with timeouts.deadline(seconds):
            return _log_in(connection, endpoint, credential, disabled_capabilities, limit)
    except BaseException:
        connection.close()
        raise


def _secrets(endpoint: Endpoint, credential: Credential) -> list[str]:
    """Return the password or token, and the arguments of AUTHENTICATE that hold it."""
    if isinstance(credential, BearerToken):
        text = credential.text
        messages = [token_response(name, endpoint, text) for name in TOKEN_MECHANISMS]
    else:
        text = credential
        messages = [plain_response(endpoint.username, text)]
    return [text, *(b64encode(message).decode() for message in messages)]


def _log_in(
    connection: Connection,
    endpoint: Endpoint,
    credential: Credential,
    disabled_capabilities: frozenset[str],
    limit: FlightLimit,
) -> Session:
    client = Client(connection, endpoint)
    is_preauthenticated = connection.completion.status == "PREAUTH"
    if endpoint.security == "starttls":
        with _step("tls"):
            if is_preauthenticated:
                # STARTTLS is no longer allowed, and an attacker in between may have sent this greeting.
                raise ProtocolError(f"{endpoint.host} skips the login (PREAUTH), so STARTTLS is not possible")
            client.starttls()
    with _step("login"):
        before = client.offered() if not is_preauthenticated or client.has_capabilities else frozenset()
        if not is_preauthenticated:
            sign_in(client, endpoint, credential)
        known = client.offered() if client.has_capabilities else before
        enabled = _introduce(connection, client, known - disabled_capabilities, limit)
        capabilities = client.offered() - disabled_capabilities
        if enabled is None:
            enabled = _introduce_one_by_one(connection, client, capabilities)
        # QRESYNC counts only once enabled, and then includes CONDSTORE (RFC 7162 §3.2.3).
        if "QRESYNC" in enabled:
            capabilities |= {"CONDSTORE"} - disabled_capabilities
        else:
            capabilities -= {"QRESYNC"}
    return Session(connection, capabilities, enabled)


def _introduce(
    connection: Connection, client: Client, expected: frozenset[str], limit: FlightLimit
) -> frozenset[str] | None:
    """Send the commands after the login in one flight, if the server accepts that (SPEC §22.8).

    Returns the enabled extensions; None if they have yet to be asked for.
    """
    if limit.most < 2:
        return None
    sent = connection.commands.total()
    try:
        enabled = client.introduce(expected, _ID, _ENABLED & expected)
    except (Transient, Throttled, ProtocolError):
        if connection.closed:
            limit.note_lost(connection.commands.total() - sent)
        raise
    limit.answered = max(limit.answered, connection.commands.total() - sent)
    return enabled


def _introduce_one_by_one(
    connection: Connection, client: Client, capabilities: frozenset[str]
) -> frozenset[str]:
    """Send ID, unless it was sent, and ENABLE; returns the enabled extensions."""
    if "ID" in capabilities and not connection.commands["ID"]:
        client.send_id(_ID)
    return client.send_enable(_ENABLED & capabilities) if "ENABLE" in capabilities else frozenset()


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except MailsyncError as error:
        error.step = error.step or name
        raise
