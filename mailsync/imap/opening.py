"""From an endpoint and a password to a session: every step of SPEC §9.1 and §9.2, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mailsync import __version__
from mailsync.errors import AuthenticationFailed, MailsyncError, ProtocolError
from mailsync.imap.address import check_endpoint, refuse_control, resolve
from mailsync.imap.connecting import connect, secure
from mailsync.imap.replies import Completion, error_for
from mailsync.imap.session import Session
from mailsync.imap.throttle import Throttle
from mailsync.imap.waiting import Patience
from mailsync.imap.wire import Wire, astring
from mailsync.logs import keep_secret

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint


def open_session(
    endpoint: Endpoint,
    password: str,
    settings: Settings,
    *,
    throttle: Throttle,
    on_wait: Callable[[], None],
    hidden: frozenset[str] = frozenset(),
) -> Session:
    """Connect and log in.

    `on_wait` is called at least once a second while waiting. `hidden` are capabilities, in upper case, to
    take for not offered. Raises InvalidInput, ForbiddenHost, Transient, CertificateRejected, Throttled,
    AuthenticationFailed or ProtocolError, each with ``step`` set, and OutOfTokens.
    """
    check_endpoint(endpoint, settings)
    refuse_control("password", password)
    keep_secret(password)
    addresses = resolve(endpoint, settings, on_wait)
    patience = Patience(on_wait, settings.imap_read_timeout)
    sock = connect(endpoint, addresses, settings, patience)
    if endpoint.security == "tls":
        sock = secure(sock, endpoint, settings, patience)
    wire = Wire(sock, endpoint, settings, throttle, patience, lambda parts: None)
    try:
        return _log_in(wire, endpoint, password, hidden)
    except BaseException:
        wire.close()
        raise


def _log_in(wire: Wire, endpoint: Endpoint, password: str, hidden: frozenset[str]) -> Session:
    known = _Capabilities(wire)
    with _step("connect"):
        greeting = wire.greeting()
        known.read(greeting)
    if endpoint.security == "starttls":
        with _step("tls"):
            if greeting.status == "PREAUTH":
                # There is no STARTTLS any more, and this may be somebody in between.
                raise ProtocolError(f"{endpoint.host} logs in before STARTTLS", step="tls")
            wire.start_tls()
            known.forget()
    with _step("login"):
        if greeting.status != "PREAUTH":
            if endpoint.security == "plaintext" and "LOGINDISABLED" in known.get():
                raise AuthenticationFailed(f"{endpoint.host} does not accept passwords in plaintext")
            known.forget()
            _login(wire, endpoint.username, password, known)
        capabilities = known.get() - hidden
    with _step("login"):
        if "ID" in capabilities:
            wire.run("ID", b'("name" "mailsync" "version" "%s")' % __version__.encode("ascii"), check=False)
        enabled = _enable(wire, capabilities)
    return Session(wire, capabilities, enabled)


def _login(wire: Wire, username: str, password: str, known: _Capabilities) -> None:
    reply = wire.run(
        "LOGIN", astring(username.encode()), astring(password.encode()), claim=known.claim, check=False
    )
    if reply.status != "OK":
        raise error_for(reply, "LOGIN", step="login")
    known.read(reply)


def _enable(wire: Wire, capabilities: frozenset[str]) -> frozenset[str]:
    """Send ENABLE (RFC 5161) for what changes the responses in ways that we know."""
    wanted = [name for name in ("CONDSTORE", "QRESYNC") if name in capabilities]
    if "ENABLE" not in capabilities or not wanted:
        return frozenset()
    enabled: set[str] = set()

    def claim(parts: list[bytes]) -> bool:
        words = parts[0][2:].decode("ascii", "replace").upper().split()
        if words[:1] != ["ENABLED"]:
            return False
        enabled.update(words[1:])
        return True

    wire.run("ENABLE", *(name.encode("ascii") for name in wanted), claim=claim, check=False)
    return frozenset(enabled)


class _Capabilities:
    """Capabilities as the server volunteers them, or as CAPABILITY tells when it does not."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._names: frozenset[str] | None = None

    def forget(self) -> None:
        """Before and after login, and before and after TLS, they may differ."""
        self._names = None

    def read(self, reply: Completion) -> None:
        """Take them from ``OK [CAPABILITY IMAP4rev1 …] …``."""
        if reply.code == "CAPABILITY":
            self._names = _names(reply.argument)

    def claim(self, parts: list[bytes]) -> bool:
        """Take them from ``* CAPABILITY IMAP4rev1 …``."""
        word, _, rest = parts[0][2:].partition(b" ")
        if word.upper() != b"CAPABILITY":
            return False
        self._names = _names(rest)
        return True

    def get(self) -> frozenset[str]:
        """Return what is known, asking if it is nothing."""
        if self._names is None:
            self._wire.run("CAPABILITY", claim=self.claim)
        if self._names is None:
            raise ProtocolError("CAPABILITY: the answer is missing")
        return self._names


def _names(words: bytes) -> frozenset[str]:
    return frozenset(words.decode("ascii", "replace").upper().split())


@contextmanager
def _step(name: str) -> Iterator[None]:
    try:
        yield
    except MailsyncError as error:
        error.step = error.step or name
        raise
