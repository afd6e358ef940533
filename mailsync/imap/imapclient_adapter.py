"""IMAPClient over our own connection: for the commands that open and close a conversation.

STARTTLS, LOGIN, CAPABILITY, ID, ENABLE, UNSELECT and CLOSE go through IMAPClient. LIST, STATUS, EXAMINE,
SEARCH and FETCH do not: it has no LIST-STATUS, ESEARCH or QRESYNC, one bad row or structure costs it the
whole answer, and it takes ten times as long for a message. They use :class:`Wire` directly.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from imapclient import IMAPClient
from imapclient.exceptions import CapabilityError, IMAPClientError

from mailsync.errors import CertificateRejected, ProtocolError
from mailsync.imap.connection import LONGEST_WORDS, Wire
from mailsync.imap.network.connect import trust
from mailsync.imap.network.timeouts import Timeouts
from mailsync.imap.status_responses import error_for
from mailsync.imap.token_bucket import TokenBucket
from mailsync.redaction import Mask

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint


class Client(IMAPClient):  # type: ignore[misc]  # IMAPClient has no types
    """IMAPClient on a :class:`Wire`, which is in ``wire``; raises our own errors.

    What IMAPClient does at its own risk is turned off: its timeouts, and its hook into imaplib's debugging,
    which would format every line that is read and log the password that is sent.
    """

    wire: Wire

    def __init__(
        self,
        sock: socket.socket,
        endpoint: Endpoint,
        settings: Settings,
        bucket: TokenBucket,
        timeouts: Timeouts,
        mask: Mask,
    ) -> None:
        """Take over a connected socket, with TLS on it where the endpoint says so, and read the greeting."""
        self._settings = settings
        self._make_wire: Callable[[], Wire] = lambda: Wire(sock, endpoint, settings, bucket, timeouts, mask)
        self._cached_capabilities: tuple[bytes, ...] | None = None
        super().__init__(endpoint.host, endpoint.port, ssl=endpoint.security == "tls")
        del self._imap._mesg
        self._imap.debug = 0
        self._note()

    def _create_IMAP4(self) -> Wire:
        self.wire = self._make_wire()
        return self.wire

    def _set_read_timeout(self) -> None:
        """Leave the socket non-blocking: :class:`Timeouts` does the waiting."""

    def capabilities(self) -> tuple[bytes, ...]:
        """Return what the server volunteered or, where it said nothing yet, answers to CAPABILITY."""
        if not self._cached_capabilities:
            said = self.wire.capability()[1][0]
            if not said:
                raise ProtocolError("CAPABILITY: the answer is missing")
            self._cached_capabilities = self._normalise_capabilites(said)
        return self._cached_capabilities or ()

    def offered(self) -> frozenset[str]:
        """Return the capabilities as upper-case text; raises what a refusal stands for."""
        try:
            return frozenset(word.decode("ascii", "replace") for word in self.capabilities())
        except IMAPClientError as error:
            raise error_for(self.wire.reply, "CAPABILITY") from error

    def _note(self) -> None:
        """Keep the capabilities of ``OK [CAPABILITY …]`` or ``* CAPABILITY …``; those of before are void."""
        said = self.wire.untagged_responses.pop("CAPABILITY", None)
        if self.wire.reply.code == "CAPABILITY":
            self._cached_capabilities = self._normalise_capabilites(self.wire.reply.argument[:LONGEST_WORDS])
        else:
            self._cached_capabilities = self._normalise_capabilites(said[0]) if said else None

    def starttls(self, ssl_context: object = None) -> None:
        """Upgrade to TLS; raises CertificateRejected if that fails in any way."""
        try:
            super().starttls(ssl_context or trust(self._settings))
        except CapabilityError as error:
            raise CertificateRejected(f"{self.host} does not offer STARTTLS", step="tls") from error
        self._cached_capabilities = None

    def login(self, username: str, password: str) -> None:
        """Log in; what was known of the server's capabilities is void then."""
        super().login(username, password)
        self._note()

    def introduce(self, fields: dict[str, str]) -> None:
        """Send ID (RFC 2971); what the server answers does not matter."""
        try:
            self.id_(fields)
        except (IMAPClientError, ValueError, TypeError):
            self.wire.untagged_responses.clear()

    def switch_on(self, extensions: set[str] | frozenset[str]) -> frozenset[str]:
        """Send ENABLE (RFC 5161); return those that the server says it enabled, in upper case."""
        if not extensions:
            return frozenset()
        try:
            said = self.enable(*sorted(extensions))
        except IMAPClientError:
            return frozenset()
        return frozenset(word.decode("ascii", "replace").upper() for word in said)

    def opened(self) -> None:
        """Tell imaplib that a mailbox is open."""
        self.wire.state = "SELECTED"

    def leave(self, unselect: bool) -> None:
        """Leave the mailbox by UNSELECT (RFC 3691), or by CLOSE, which removes nothing after EXAMINE.

        pymap refuses CLOSE after EXAMINE; an EXAMINE that fails leaves the mailbox too (RFC 9051 §6.3.2).
        """
        try:
            if unselect:
                self.wire.unselect()
            else:
                self.close_folder()
        except IMAPClientError as error:
            refused = not unselect and self.wire.reply.status == "NO"
            if refused and self.wire.run("EXAMINE", b'"mailsync/no/such/folder"', check=False).status == "NO":
                return
            raise error_for(self.wire.reply, "UNSELECT" if unselect else "CLOSE") from error
