"""The login test: connect, log in, list folders; errors say which step failed and what to type (SPEC §5)."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from mailsync.config import Settings
from mailsync.core.providers import Provider
from mailsync.errors import (
    AuthenticationFailed,
    Busy,
    CertificateRejected,
    MailsyncError,
    OutOfTokens,
    PasswordRejected,
)
from mailsync.imap import TokenBucket, open_session
from mailsync.imap.network.resolve import resolve
from mailsync.model import Endpoint

# X509_V_ERR_* of OpenSSL: no certificate that we trust has signed the server's
_UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})


@dataclass(frozen=True, slots=True)
class Tested:
    """What a server showed: its capabilities after login, sorted, and how many folders it lists."""

    capabilities: tuple[str, ...]
    folders: int


def try_login(
    endpoint: Endpoint,
    password: str,
    settings: Settings,
    bucket: TokenBucket,
    provider: Provider | None,
    on_wait: Callable[[], None] = lambda: None,
) -> Tested:
    """Log in and list the folders; nothing is stored and nothing on the server changes.

    `on_wait` is called again and again while the server is waited for. Raises what
    :func:`mailsync.imap.open_session` does, with ``step`` ``dns``, ``connect``, ``tls``, ``login`` or
    ``list``; PasswordRejected if the server rejects the login; Busy if `bucket` is empty.
    """
    try:
        with open_session(endpoint, password, settings, bucket=bucket, on_wait=on_wait) as session:
            try:
                listed = session.list_folders()
            except MailsyncError as error:
                error.step = error.step or "list"
                raise
            return Tested(tuple(sorted(session.capabilities)), len(listed))
    except OutOfTokens as error:
        raise Busy("the account's command budget for this minute is used up", retry_after=30.0) from error
    except AuthenticationFailed as error:
        note = f". {provider.name}: {provider.note}" if provider and provider.note else ""
        raise PasswordRejected(f"{error}{note}", step=error.step, retry_after=error.retry_after) from error
    except CertificateRejected as error:
        if hint := _tls_hint(error, endpoint):
            raise CertificateRejected(f"{error}; {hint}", step=error.step) from error
        raise


def refuse_private(endpoint: Endpoint, settings: Settings) -> None:
    """Raise ForbiddenHost if the host is an address, in any notation, that may not be connected to.

    A host name is not looked up: it is judged whenever mailsync connects.
    """
    try:
        # 2130706433 and 0x7f.1 are addresses too
        socket.getaddrinfo(endpoint.host, endpoint.port, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return
    resolve(endpoint, settings, lambda: None)


def _tls_hint(error: CertificateRejected, endpoint: Endpoint) -> str:
    """What to type after a failed TLS handshake; empty where nothing on our side helps."""
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _UNKNOWN_ISSUER:
            return "if you trust its issuer, save the issuer's certificate as PEM and set IMAP_CA_FILE=FILE"
        return ""
    if endpoint.security == "tls" and isinstance(cause, ssl.SSLError):
        return (
            f"if port {endpoint.port} begins in plaintext, use --security starttls (over HTTP: imap_security)"
        )
    if endpoint.security == "starttls" and cause is not None and "STARTTLS" in str(error):
        return "use --security tls --port 993 (over HTTP: imap_security, imap_port)"
    return ""
