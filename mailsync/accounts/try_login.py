"""The login test: connect, log in, list folders; errors say which step failed and what to type (SPEC §5)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass

from mailsync.config import Settings
from mailsync.core.advice import CLOSED_MAILBOX
from mailsync.core.providers import Provider
from mailsync.credentials import BearerToken, Credential
from mailsync.errors import (
    AuthenticationFailed,
    Busy,
    CertificateRejected,
    MailsyncError,
    NotConnected,
    OutOfTokens,
    PasswordRejected,
    TimedOut,
)
from mailsync.imap import TokenBucket, open_session
from mailsync.model import Endpoint
from mailsync.network.resolve import bare_host, is_address, resolve


@dataclass(frozen=True, slots=True)
class Tested:
    """The result of a login: the server's capabilities, sorted, and how many folders it lists."""

    capabilities: tuple[str, ...]
    folders: int


def try_login(
    endpoint: Endpoint,
    credential: Credential,
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
        with open_session(endpoint, credential, settings, bucket=bucket, on_wait=on_wait) as session:
            try:
                listed = session.list_folders()
            except MailsyncError as error:
                error.step = error.step or "list"
                raise
            return Tested(tuple(sorted(session.capabilities)), len(listed))
    except OutOfTokens as error:
        raise Busy("the account's command budget for this minute is used up", retry_after=30.0) from error
    except AuthenticationFailed as error:
        if isinstance(credential, BearerToken):
            note = f". The user who signed in must have access to the mailbox {endpoint.username}"
        else:
            note = f". {provider.name}: {provider.note}" if provider and provider.note else ""
        raise PasswordRejected(f"{error}{note}", step=error.step, retry_after=error.retry_after) from error
    except NotConnected as error:
        raise NotConnected(f"{error}; {CLOSED_MAILBOX}", step=error.step) from error
    except TimedOut as error:
        if not _may_expect_tls(error, endpoint):
            raise
        hint = f"if port {endpoint.port} starts with TLS, use --security tls"
        raise TimedOut(f"{error}; {hint} (over HTTP: imap_security)", step=error.step) from error
    except CertificateRejected as error:
        if not _may_be_plaintext(error, endpoint):
            raise
        hint = f"if port {endpoint.port} starts in plaintext, use --security starttls"
        raise CertificateRejected(f"{error}; {hint} (over HTTP: imap_security)", step=error.step) from error


def refuse_private(endpoint: Endpoint, settings: Settings) -> None:
    """Raise ForbiddenHost if the host is an address, in any notation, that may not be connected to.

    A host name is not looked up: it is judged whenever mailsync connects.
    """
    if is_address(bare_host(endpoint.host)):
        resolve(endpoint.host, endpoint.port, settings, lambda: None)


def _may_be_plaintext(error: CertificateRejected, endpoint: Endpoint) -> bool:
    """Whether the TLS handshake may have failed because the server's greeting is in plaintext."""
    cause = error.__cause__
    is_certificate = isinstance(cause, ssl.SSLCertVerificationError)
    return endpoint.security == "tls" and isinstance(cause, ssl.SSLError) and not is_certificate


def _may_expect_tls(error: TimedOut, endpoint: Endpoint) -> bool:
    """Whether the greeting may be missing because the server waits for a TLS handshake."""
    return error.step == "connect" and endpoint.security != "tls" and endpoint.port != 143
