"""From an endpoint and a password to a session: every step of SPEC §9.1 and §9.2, in order."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from mailsync import __version__
from mailsync.errors import AuthenticationFailed, MailsyncError, ProtocolError
from mailsync.imap.imapclient_adapter import Client
from mailsync.imap.network.connect import connect, secure
from mailsync.imap.network.resolve import check_endpoint, refuse_control, resolve
from mailsync.imap.network.timeouts import Timeouts
from mailsync.imap.session import Session
from mailsync.imap.token_bucket import TokenBucket
from mailsync.redaction import kept_secret, masking

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint


def open_session(
    endpoint: Endpoint,
    password: str,
    settings: Settings,
    *,
    bucket: TokenBucket,
    on_wait: Callable[[], None],
    on_begin: Callable[[str], None] = lambda doing: None,
    hidden: frozenset[str] = frozenset(),
) -> Session:
    """Connect and log in.

    `on_wait` is called at least once a second while waiting, `on_begin` with the name of each command.
    `hidden` are capabilities, in upper case, to take for not offered. The password is secret meanwhile, and
    as long as the session lives. Raises InvalidInput, ForbiddenHost, Transient, CertificateRejected,
    Throttled, AuthenticationFailed or ProtocolError, each with ``step`` set, and OutOfTokens.
    """
    check_endpoint(endpoint, settings)
    refuse_control("password", password)
    with ExitStack() as held:
        held.enter_context(kept_secret(password))
        session = _open(endpoint, password, settings, bucket, on_wait, on_begin, hidden)
        # for as long as anybody may show what the server says; nobody is told when a session is given up
        weakref.finalize(session, held.pop_all().close).atexit = False
    return session


def _open(
    endpoint: Endpoint,
    password: str,
    settings: Settings,
    bucket: TokenBucket,
    on_wait: Callable[[], None],
    on_begin: Callable[[str], None],
    hidden: frozenset[str],
) -> Session:
    addresses = resolve(endpoint, settings, on_wait)
    timeouts = Timeouts(on_wait, settings.imap_read_timeout, on_begin)
    sock = connect(endpoint, addresses, settings, timeouts)
    if endpoint.security == "tls":
        sock = secure(sock, endpoint, settings, timeouts)
    with _step("connect"), timeouts.deadline(settings.imap_connect_timeout + settings.imap_read_timeout):
        client = Client(sock, endpoint, settings, bucket, timeouts, masking(password))
    try:
        # A server that drips would otherwise hold us for ever: one silence and one handshake are allowed.
        with timeouts.deadline(settings.imap_connect_timeout + settings.imap_read_timeout):
            return _log_in(client, endpoint, password, hidden)
    except BaseException:
        client.wire.shutdown()
        raise


def _log_in(client: Client, endpoint: Endpoint, password: str, hidden: frozenset[str]) -> Session:
    preauthenticated = client.wire.reply.status == "PREAUTH"
    if endpoint.security == "starttls":
        with _step("tls"):
            if preauthenticated:
                # There is no STARTTLS any more, and this may be somebody in between.
                raise ProtocolError(f"{endpoint.host} logs in before STARTTLS")
            client.starttls()
    with _step("login"):
        if not preauthenticated:
            if endpoint.security == "plaintext" and "LOGINDISABLED" in client.offered():
                raise AuthenticationFailed(f"{endpoint.host} does not accept passwords in plaintext")
            client.login(endpoint.username, password)
        capabilities = client.offered() - hidden
        if "ID" in capabilities:
            client.introduce({"name": "mailsync", "version": __version__})
        enabled: frozenset[str] = frozenset()
        if "ENABLE" in capabilities:
            enabled = client.switch_on({"CONDSTORE", "QRESYNC"} & capabilities)
        # QRESYNC counts only once enabled, and then brings CONDSTORE with it (RFC 7162 §3.2.3).
        if "QRESYNC" in enabled:
            capabilities |= {"CONDSTORE"} - hidden
        else:
            capabilities -= {"QRESYNC"}
    return Session(client, capabilities, enabled)


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except MailsyncError as error:
        error.step = error.step or name
        raise
