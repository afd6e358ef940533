"""IMAPClient over our own connection, for the commands that open a session.

STARTTLS, LOGIN, AUTHENTICATE, CAPABILITY, ID and ENABLE are sent here. LIST, STATUS, EXAMINE, SEARCH and
FETCH use :class:`Connection` directly: IMAPClient has no LIST-STATUS, ESEARCH or QRESYNC, loses the whole
answer to one malformed row, and takes ten times as long per message.

IMAPClient sends through an ``imaplib.IMAP4``. :class:`ImaplibShim` replaces that, because imaplib collects a
whole answer before anybody can look at it and trusts every length that the server names.
"""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Set
from typing import TYPE_CHECKING

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError

from mailsync.errors import CertificateRejected, ProtocolError
from mailsync.imap.arguments import ContinuationArgument, astring
from mailsync.imap.connection import Connection, Response
from mailsync.imap.sasl import Challenges
from mailsync.imap.status_responses import StatusResponse

if TYPE_CHECKING:
    from mailsync.model import Endpoint

LONGEST_CAPABILITIES = 16 * 1024
"""Bytes of CAPABILITY and ENABLED that are looked at."""

LONGEST_INITIAL = 8000
"""Bytes of a response that goes with AUTHENTICATE; servers limit the length of a command."""

_KEPT = frozenset({b"CAPABILITY", b"ENABLED"})


class ImaplibShim:
    """The methods of ``imaplib.IMAP4`` that IMAPClient calls, in terms of a :class:`Connection`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._untagged: dict[bytes, bytes] = {}

    def run(self, name: str, *args: bytes, check: bool = False) -> StatusResponse:
        """Run a command, and keep CAPABILITY and ENABLED in its answer for :meth:`pop`."""
        self._untagged.clear()
        return self.connection.run(name, *args, claim=self._claim, check=check)

    def _claim(self, response: Response) -> bool:
        word, _, rest = response[0][2 : LONGEST_CAPABILITIES + 2].partition(b" ")
        word = word.upper()
        if word in _KEPT:
            self._untagged[word] = rest
        return word in _KEPT

    def run_together(self, *sent: tuple[str, tuple[bytes, ...]]) -> dict[str, StatusResponse]:
        """Run commands in one flight; return their completions by name, and keep what :meth:`run` keeps."""
        self._untagged.clear()
        connection = self.connection
        connection.drain()
        with connection.one_write():
            names = {connection.pipeline(name, *args): name for name, args in sent}
        completions: dict[str, StatusResponse] = {}
        while connection.in_flight:
            for response in connection.responses(in_order=False):
                if not self._claim(response):
                    connection.on_untagged(response)
            if connection.completed in names:
                completions[names[connection.completed]] = connection.completion
        return completions

    def pop(self, name: bytes) -> bytes | None:
        """Return and forget the CAPABILITY or ENABLED in the answer to the last command, if any."""
        return self._untagged.pop(name, None)

    def _simple_command(self, name: str, *args: str) -> tuple[str, list[bytes]]:
        completion = self.run(name, *(arg.encode() for arg in args))
        return completion.status, [completion.text]

    def _untagged_response(self, status: str, data: list[bytes], name: str) -> tuple[str, list[bytes | None]]:
        return status, [self.pop(name.encode())]


class Client(IMAPClient):  # type: ignore[misc]  # IMAPClient has no types
    """IMAPClient on a :class:`Connection`; raises our own errors."""

    _imap: ImaplibShim

    def __init__(self, connection: Connection, endpoint: Endpoint) -> None:
        """Wrap a connection that has read the server's greeting."""
        self.connection = connection
        self._capabilities: tuple[bytes, ...] = ()
        super().__init__(endpoint.host, endpoint.port, ssl=endpoint.security == "tls")
        self._remember_capabilities()

    def _create_IMAP4(self) -> ImaplibShim:
        return ImaplibShim(self.connection)

    def _set_read_timeout(self) -> None:
        """Leave the socket non-blocking: :class:`Timeouts` does the waiting."""

    def capabilities(self) -> tuple[bytes, ...]:
        """Return what the server volunteered, or else its answer to CAPABILITY.

        Raises ProtocolError if the answer is missing, or the error that a refusal stands for.
        """
        if not self._capabilities:
            self._imap.run("CAPABILITY", check=True)
            self._capabilities = _words(self._imap.pop(b"CAPABILITY"))
            if not self._capabilities:
                raise ProtocolError("CAPABILITY: the answer is missing")
        return self._capabilities

    def offered(self) -> frozenset[str]:
        """Return the capabilities as upper-case text; raises what :meth:`capabilities` does."""
        return frozenset(word.decode("ascii", "replace") for word in self.capabilities())

    def _remember_capabilities(self) -> None:
        """Keep the capabilities that came with the last completion, and forget earlier ones."""
        completion, untagged = self.connection.completion, self._imap.pop(b"CAPABILITY")
        is_coded = completion.code == "CAPABILITY"
        self._capabilities = _words(completion.argument[:LONGEST_CAPABILITIES] if is_coded else untagged)

    def starttls(self, ssl_context: None = None) -> None:
        """Upgrade to TLS by the connection's own context; raises CertificateRejected if that fails."""
        if "STARTTLS" not in self.offered():
            raise CertificateRejected(f"{self.host} does not offer STARTTLS; use tls", step="tls")
        self.connection.start_tls()
        self._capabilities = ()

    def try_login(self, username: bytes, password: bytes) -> StatusResponse:
        """Send LOGIN with both arguments quoted or as literals (RFC 9051 §6.2.3); return the completion."""
        return self._sign_in("LOGIN", astring(username), astring(password))

    def try_authenticate(
        self, mechanism: str, *responses: bytes, to_refusal: bytes = b"*"
    ) -> tuple[StatusResponse, list[bytes]]:
        """Send AUTHENTICATE (RFC 9051 §6.2.2) and a response to each challenge.

        A single response goes with the command where the server allows it (SASL-IR, RFC 4959) and the line
        does not get too long (RFC 7162 §4). A further challenge is answered by `to_refusal`; ``*`` gives up.
        Returns the completion and the further challenges.
        """
        encoded = [b64encode(response) for response in responses]
        args: list[bytes] = [mechanism.encode(), *map(ContinuationArgument, encoded)]
        initial = None
        if len(encoded) == 1 and len(encoded[0]) <= LONGEST_INITIAL and "SASL-IR" in self.offered():
            initial = args[1] = encoded[0]
        challenges = Challenges(to_refusal, initial)
        connection = self.connection
        before = connection.on_challenge
        connection.on_challenge = lambda line: challenges.reply(line, connection.send_line)
        try:
            return self._sign_in("AUTHENTICATE", *args), challenges.parts
        finally:
            connection.on_challenge = before

    def _sign_in(self, name: str, *args: bytes) -> StatusResponse:
        completion = self._imap.run(name, *args)
        if completion.status == "OK":
            self._remember_capabilities()
        return completion

    @property
    def has_capabilities(self) -> bool:
        """Whether the capabilities are known without a command."""
        return bool(self._capabilities)

    def send_id(self, fields: dict[str, str]) -> None:
        """Send ID (RFC 2971); the answer is ignored, a refusal too."""
        with contextlib.suppress(IMAPClientError, ValueError, TypeError):
            self.id_(fields)

    def send_enable(self, extensions: Set[str]) -> frozenset[str]:
        """Send ENABLE (RFC 5161); return the extensions that the server enabled, in upper case."""
        if not extensions:
            return frozenset()
        completion = self._imap.run("ENABLE", *(name.encode() for name in sorted(extensions)))
        enabled = _words(self._imap.pop(b"ENABLED")) if completion.status == "OK" else ()
        return frozenset(word.decode("ascii", "replace") for word in enabled)

    def introduce(
        self, expected: frozenset[str], fields: dict[str, str], extensions: Set[str]
    ) -> frozenset[str] | None:
        """Send CAPABILITY if its answer is not known, ID and ENABLE in one flight.

        `expected` are the capabilities that the server offers or, as far as that is not known, offered before
        the login. Returns the extensions that the server enabled, or None if ENABLE was not sent or got BAD.
        """
        pairs = " ".join(f'"{key}" "{value}"' for key, value in fields.items())
        sent: list[tuple[str, tuple[bytes, ...]]] = [] if self._capabilities else [("CAPABILITY", ())]
        if "ID" in expected:
            sent.append(("ID", (f"({pairs})".encode("ascii"),)))
        if "ENABLE" in expected and extensions:
            sent.append(("ENABLE", tuple(name.encode("ascii") for name in sorted(extensions))))
        if len(sent) < 2:
            return None
        completions = self._imap.run_together(*sent)
        self._capabilities = self._capabilities or _words(self._imap.pop(b"CAPABILITY"))
        enabled = _words(self._imap.pop(b"ENABLED"))
        completion = completions.get("ENABLE")
        if completion is None or completion.status == "BAD":
            return None
        is_enabled = completion.status == "OK"
        return frozenset(word.decode("ascii", "replace") for word in enabled if is_enabled)


def _words(capabilities: bytes | None) -> tuple[bytes, ...]:
    return tuple(capabilities.upper().split()) if capabilities else ()
