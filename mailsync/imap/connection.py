"""Commands out, responses in: the one conversation loop over a checked, verified connection.

:class:`Wire` is imaplib's connection, and as such stands below IMAPClient
(see :mod:`mailsync.imap.imapclient_adapter`), whose commands it serves by the loop here. imaplib's own loop
collects a whole answer before anybody can look at it, trusts every length that the server names, and cannot
wait in slices.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import secrets
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from mailsync.errors import CertificateRejected, ProtocolError, SentTooMuch, Throttled, Transient
from mailsync.imap.arguments import LiteralArgument, astring
from mailsync.imap.network.connect import secure
from mailsync.imap.network.timeouts import Timeouts
from mailsync.imap.reader import LONGEST_ANSWER, Reader
from mailsync.imap.status_responses import StatusResponse, error_for, parse_completion
from mailsync.imap.token_bucket import TokenBucket
from mailsync.redaction import Mask

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint

MOST_RESPONSES = 200_000
"""Responses in one answer, not counting those of its messages."""
LONGEST_GREETING = 1024 * 1024
LONGEST_WORDS = 16 * 1024
"""Bytes of CAPABILITY, ID and ENABLED that are looked at."""
SECONDS_TO_DRAIN = 2.0
MOST_UNREAD = 64 * 1024
"""Bytes that a server may send to an idle session."""

_BYE = re.compile(rb"(?:\A|\n)\* BYE\b", re.IGNORECASE)
_SMALL = frozenset({b"CAPABILITY", b"ENABLED"})


class Wire(imaplib.IMAP4):
    """One connection to a server, which it closes whenever it can no longer be trusted to be in step.

    It takes a connected socket and reads the greeting at once; the errors are our own, with the ``step``
    that failed. ``unasked`` is called with every untagged response that the command in hand did not claim.
    ``mask`` hides the password in hand in the server's words that people see.
    """

    def __init__(
        self,
        sock: socket.socket,
        endpoint: Endpoint,
        settings: Settings,
        bucket: TokenBucket,
        timeouts: Timeouts,
        mask: Mask,
    ) -> None:
        self.bucket = bucket
        self.timeouts = timeouts
        self.unasked: Callable[[list[bytes]], None] = _ignore
        self.reader = Reader(sock, timeouts, settings.imap_max_literal_bytes)
        # the longest response has several literals of the longest kind
        self._longest_answer = max(LONGEST_ANSWER, 4 * settings.imap_max_literal_bytes)
        self.commands: Counter[str] = Counter()
        self.closed = False
        self.mask = mask
        self.reply = StatusResponse("OK", b"")
        self._endpoint = endpoint
        self._settings = settings
        self._in_flight: deque[tuple[bytes, str]] = deque()
        self._refused: StatusResponse | None = None
        self._connected = sock
        super().__init__(endpoint.host, endpoint.port)
        self.is_readonly = True  # else imaplib takes EXAMINE's READ-ONLY for a loss

    # -- what imaplib and IMAPClient call ----------------------------------------------------------

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Take the socket that is there already; imaplib would resolve the name again."""
        self.host, self.port, self.sock = host, port, self._connected

    def _connect(self) -> None:
        """Read the greeting, ``* OK …`` or ``* PREAUTH …``; no command is sent yet."""
        self._prefix = b"M%05d." % secrets.randbelow(100_000)
        with self._trusted():
            self.reader.allow(LONGEST_GREETING)
            line = self.reader.response()[0]
            reply = parse_completion(line[2:], self.mask) if line.startswith(b"* ") else None
            if reply is None or reply.status in ("NO", "BAD"):
                raise ProtocolError("the other side does not greet as an IMAP server", step="connect")
            if reply.status == "BYE":
                raise error_for(reply, "greeting", step="connect")
        self.reply = reply
        self.state = "AUTH" if reply.status == "PREAUTH" else "NONAUTH"

    def _new_tag(self) -> bytes:
        """Begin a tagged command, any: take a token for it; raises OutOfTokens."""
        self.drain()
        if self.closed:
            raise Transient("the connection is closed")
        self.bucket.take()
        self.tagnum += 1
        return self._prefix + b"%d" % self.tagnum

    def send(self, data: bytes | memoryview) -> None:  # type: ignore[override]
        """Send everything, or close the connection."""
        with self._trusted():
            self._send(bytes(data))

    def _command_complete(self, name: str, tag: bytes) -> tuple[str, list[bytes]]:
        """Read the answer to a command that imaplib or IMAPClient sent, and file it as they expect."""
        self._sent(tag, name)
        with self._trusted():
            self.timeouts.begin(name)
        self.untagged_responses.clear()
        for parts in self.answer():
            word, _, rest = parts[0][2 : LONGEST_WORDS + 2].partition(b" ")
            if word.upper() in _SMALL and len(self.untagged_responses) < len(_SMALL):
                self.untagged_responses[word.decode("ascii").upper()] = [rest]
            else:
                self.unasked(parts)
        if self.reply.status == "BAD":
            raise self.error(self.reply.words)
        return self.reply.status, [self.reply.text]

    def login(self, user: str, password: str) -> tuple[Literal["OK"], list[bytes]]:
        """Send LOGIN with both arguments quoted or as literals, where imaplib quotes only the password.

        Raises AuthenticationFailed, or whatever else the server's refusal stands for.
        """
        reply = self.run(
            "LOGIN", astring(user.encode()), astring(password.encode()), claim=self._volunteered, check=False
        )
        if reply.status != "OK":
            raise error_for(reply, "LOGIN", step="login")
        self.state = "AUTH"
        return "OK", [reply.text]

    def _volunteered(self, parts: list[bytes]) -> bool:
        word, _, rest = parts[0][2 : LONGEST_WORDS + 2].partition(b" ")
        if word.upper() == b"CAPABILITY":
            self.untagged_responses["CAPABILITY"] = [rest]
        return word.upper() == b"CAPABILITY"

    def starttls(self, ssl_context: ssl.SSLContext | None = None) -> tuple[Literal["OK"], list[None]]:
        """Upgrade by STARTTLS (RFC 9051 §6.2.1); what came in plaintext is discarded.

        Raises CertificateRejected if the server refuses or its certificate does not verify.
        """
        reply = self.run("STARTTLS", check=False)
        if reply.status != "OK":
            self.shutdown()
            raise CertificateRejected(f"{self.host} refuses STARTTLS: {reply.words}", step="tls")
        try:
            self.sock = secure(self.sock, self._endpoint, self._settings, self.timeouts)
        except BaseException:
            self.closed = True
            raise
        self.reader.switch(self.sock)
        self.untagged_responses.clear()
        return "OK", [None]

    def _log(self, line: str) -> None:
        """Keep nothing: imaplib would hold the last ten lines, a password among them."""

    def shutdown(self) -> None:
        """Close the socket, without a word to the server."""
        self.closed = True
        self._in_flight.clear()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    @contextlib.contextmanager
    def _trusted(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.shutdown()
            raise

    # -- commands ----------------------------------------------------------------------------------

    def run(
        self, name: str, *args: bytes, claim: Callable[[list[bytes]], bool] | None = None, check: bool = True
    ) -> StatusResponse:
        """Send one command, read its answer, and return the completion.

        `claim` sees each untagged response first and returns whether it was part of the answer. With `check`
        a completion other than OK is raised as the error it stands for. Raises OutOfTokens before anything
        is sent.
        """
        self.start(name, *args)
        for parts in self.answer():
            if claim is None or not claim(parts):
                self.unasked(parts)
        if check and self.reply.status != "OK":
            raise error_for(self.reply, name.rpartition(" ")[2])
        return self.reply

    def start(self, name: str, *args: bytes) -> bytes:
        """Send one command, leave its answer to :meth:`answer`, and return its tag.

        An answer that is still in flight is read and forgotten first.
        """
        tag = self._new_tag()
        self.reader.allow(self._longest_answer)
        with self._trusted():
            self.timeouts.begin(name)
            line = b"%s %s" % (tag, name.encode("ascii"))
            for arg in args:
                if isinstance(arg, LiteralArgument):
                    self._send(b"%s {%d}\r\n" % (line, len(arg)))
                    if not self._may_continue(tag):
                        break
                    line = bytes(arg)
                else:
                    line += b" " + arg
            else:
                self._send(line + b"\r\n")
        self._sent(tag, name)
        return tag

    def _sent(self, tag: bytes, name: str) -> None:
        plain = name.rpartition(" ")[2].upper()
        self.commands[plain] += 1
        self.timeouts.doing = name
        self._in_flight.append((tag, plain))

    def _may_continue(self, tag: bytes) -> bool:
        """Await the ``+`` for a literal; the completion that came instead is left for :meth:`answer`."""
        while True:
            parts = self.reader.response()
            if parts[0].startswith(b"+"):
                return True
            if parts[0].startswith(tag + b" "):
                reply = parse_completion(parts[0][len(tag) + 1 :], self.mask)
                self._refused = reply or StatusResponse("BAD", b"")
                return False
            self._watch(parts)
            self.unasked(parts)

    def _send(self, data: bytes) -> None:
        left = memoryview(data)
        self.timeouts.check()
        while left:
            try:
                left = left[self.sock.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self.timeouts.writable(self.sock)
            except ssl.SSLWantReadError:
                self.timeouts.readable(self.sock)
            except OSError as error:
                raise Transient(f"the connection broke: {error.strerror or error}") from error

    # -- answers -----------------------------------------------------------------------------------

    def answer(self, messages: int = 0, each: int = 0) -> Iterator[list[bytes]]:
        """Yield the untagged responses up to the completion of the oldest command in flight.

        `messages` is how many were asked for, `each` the bytes that one of them may take on average; an
        answer that is far longer closes the connection and raises SentTooMuch. The completion is in
        :attr:`reply` at the end; NO and BAD are not raised here. A generator that is left early leaves the
        rest of the answer to :meth:`drain`.
        """
        tag, name = self._in_flight[0]
        mark = tag + b" "
        response = self.reader.response
        self.reader.allow(self._longest_answer + messages * each)
        left = MOST_RESPONSES + 4 * messages
        while self._refused is None:
            try:
                parts = response()
                head = parts[0]
                if head.startswith(mark):
                    break
                left -= 1
                if left < 0:
                    raise self.too_much(f"{MOST_RESPONSES + 4 * messages:,} responses")
                if not head.startswith(b"* "):
                    self._strange(head)
                    continue
                if head[2:5].upper() == b"BYE":
                    self._watch(parts)
            except BaseException:
                self.shutdown()
                raise
            yield parts
        reply, self._refused = self._refused, None
        if reply is None:
            reply = parse_completion(head[len(mark) :], self.mask)
        if reply is None or reply.status not in ("OK", "NO", "BAD"):
            self.shutdown()
            raise ProtocolError(f"{name}: the completion cannot be understood")
        self.reply = reply
        if self._in_flight:
            self._in_flight.popleft()

    def too_much(self, what: str) -> SentTooMuch:
        """Close the connection; returns the error for a server that sends more than `what`."""
        name = self._in_flight[0][1] if self._in_flight else "connection"
        self.shutdown()
        return SentTooMuch(f"{name}: the server sends more than {what}")

    def _watch(self, parts: list[bytes]) -> None:
        reply = parse_completion(parts[0][2:], self.mask)
        if reply is not None and reply.status == "BYE":
            raise error_for(reply, self._in_flight[0][1] if self._in_flight else "connection")

    def _strange(self, head: bytes) -> None:
        """A line that is neither untagged nor ours: blank lines are skipped, others mean out of step."""
        if head.strip():
            raise ProtocolError("the server is out of step: a line without a tag of ours")

    def awaits(self, tag: bytes) -> bool:
        """Whether the answer to the command of this tag has yet to be read."""
        return any(tag == each for each, _ in self._in_flight)

    def drain(self) -> None:
        """Read and forget what is in flight, if that can be had quickly; else close the connection."""
        if self.closed or not self._in_flight:
            return
        with (
            contextlib.suppress(Transient, Throttled, ProtocolError),
            self._trusted(),
            self.timeouts.deadline(SECONDS_TO_DRAIN),
        ):
            while self._in_flight:
                for parts in self.answer():
                    self.unasked(parts)

    def rest(self) -> None:
        """Keep next to no memory until the next command; closes if the server has sent much unasked."""
        if not self.closed and not self.reader.rest(MOST_UNREAD):
            self.shutdown()

    def alive(self) -> bool:
        """Whether the peer has neither closed the connection nor said BYE; costs no command."""
        if self.closed:
            return False
        waiting = self.reader.peek()
        if waiting is None or len(waiting) > MOST_UNREAD or _BYE.search(waiting):
            self.shutdown()
        return not self.closed


def _ignore(parts: list[bytes]) -> None:
    """Nothing is followed before there is a session."""
