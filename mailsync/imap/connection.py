"""Commands out, responses in: the conversation loop over one checked and verified connection.

The loop yields each response as soon as it has arrived, limits every length that the server names, and waits
in slices so that callers can write heartbeats.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mailsync.errors import CertificateRejected, ProtocolError, SentTooMuch, Throttled, Transient
from mailsync.imap.arguments import ContinuationArgument, LiteralArgument
from mailsync.imap.network.connect import wrap_tls
from mailsync.imap.network.timeouts import Timeouts
from mailsync.imap.reader import LONGEST_ANSWER, Reader
from mailsync.imap.status_responses import StatusResponse, error_for, parse_status_response
from mailsync.imap.token_bucket import TokenBucket
from mailsync.redaction import Mask

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint

MOST_RESPONSES = 200_000
"""Responses in one answer, not counting those for its messages."""
LONGEST_GREETING = 1024 * 1024
SECONDS_TO_DRAIN = 2.0
LONGEST_PROOF = 10.0
"""Seconds of silence that end a kept connection, before it has completed a command."""
MOST_UNREAD = 64 * 1024
"""Bytes that a server may send to an idle session."""

_BYE = re.compile(rb"(?:\A|\n)\* BYE\b", re.IGNORECASE)

Response = list[bytes]
"""One response as :meth:`Reader.read_response` returns it: text, literal, text, …"""


class Connection:
    """One connection to a server. It closes itself as soon as it may be out of step with the server.

    ``completion`` is the tagged response to the last command; before the first command, the greeting.
    ``on_untagged`` is called with every untagged response that the running command did not claim. ``mask``
    hides the password in words of the server that people see.
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
        """Take over a connected socket, with TLS on it where the endpoint says so, and read the greeting.

        Raises ProtocolError, Transient or Throttled, with ``step`` ``connect``, if no session can begin.
        """
        self.sock = sock
        self.bucket = bucket
        self.timeouts = timeouts
        self.mask = mask
        self.reader = Reader(sock, timeouts, settings.imap_max_literal_bytes)
        self.commands: Counter[str] = Counter()
        self.closed = False
        self.on_untagged: Callable[[Response], None] = _ignore
        self._endpoint = endpoint
        self._settings = settings
        # one response may hold several literals of the largest size
        self._longest_answer = max(LONGEST_ANSWER, 4 * settings.imap_max_literal_bytes)
        self._tag_prefix = b"M%05d." % secrets.randbelow(100_000)
        self._tags_used = 0
        self._in_flight: deque[tuple[bytes, str]] = deque()
        self._early_completion: StatusResponse | None = None
        self._unsent: bytearray | None = None
        self.completed = b""
        """The tag of the command that :attr:`completion` completes."""
        self.was_lost_in_flight = False
        """Whether the connection ended because it got several commands in one flight."""
        self.is_idling = False
        """Whether IDLE was sent and DONE was not."""
        self.is_proven = True
        """Whether a command was completed since the connection was last :meth:`resumed <resume>`."""
        self.completion = self._read_greeting()

    def _read_greeting(self) -> StatusResponse:
        with self._closing_on_error():
            self.reader.allow(LONGEST_GREETING)
            line = self.reader.read_response()[0]
            greeting = parse_status_response(line[2:], self.mask) if line.startswith(b"* ") else None
            if greeting is None or greeting.status in ("NO", "BAD"):
                raise ProtocolError(
                    "the greeting is not that of an IMAP server; check host, port and security",
                    step="connect",
                )
            if greeting.status == "BYE":
                raise error_for(greeting, "greeting", step="connect")
        return greeting

    def start_tls(self) -> None:
        """Upgrade by STARTTLS (RFC 9051 §6.2.1); bytes that arrived in plaintext are discarded.

        Raises CertificateRejected if the server refuses or its certificate does not verify.
        """
        completion = self.run("STARTTLS", check=False)
        if completion.status != "OK":
            self.close()
            raise CertificateRejected(
                f"{self._endpoint.host} refuses STARTTLS: {completion.words}", step="tls"
            )
        try:
            self.sock = wrap_tls(self.sock, self._endpoint, self._settings, self.timeouts)
        except BaseException:
            self.closed = True
            raise
        self.reader.switch(self.sock)

    def close(self) -> None:
        """Close the socket, without LOGOUT."""
        self.closed = True
        self._in_flight.clear()
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    # -- commands ----------------------------------------------------------------------------------

    def run(
        self, name: str, *args: bytes, claim: Callable[[Response], bool] | None = None, check: bool = True
    ) -> StatusResponse:
        """Send one command, read its answer, and return the completion.

        `claim` is called first with each untagged response and returns whether that was part of the answer.
        With `check`, a completion other than OK is raised as the error of :func:`error_for`. Raises
        OutOfTokens before anything is sent.
        """
        self.start(name, *args)
        for response in self.responses():
            if claim is None or not claim(response):
                self.on_untagged(response)
        if check and self.completion.status != "OK":
            raise error_for(self.completion, name.rpartition(" ")[2])
        return self.completion

    def start(self, name: str, *args: bytes) -> bytes:
        """Send one command, leave its answer to :meth:`responses`, and return its tag.

        An answer that is still in flight is read and discarded first. Raises OutOfTokens before anything is
        sent.
        """
        self.drain()
        return self.pipeline(name, *args)

    def pipeline(self, name: str, *args: bytes) -> bytes:
        """Send one command behind those in flight (RFC 9051 §5.5), and return its tag; ends an IDLE.

        The answers are read by :meth:`responses`, oldest first. With commands in flight, `args` must not hold
        a literal that waits for the server. Raises as :meth:`start`.
        """
        self.end_idle()
        if self.closed:
            raise Transient("the connection is closed")
        self.bucket.acquire()
        self._tags_used += 1
        tag = self._tag_prefix + b"%d" % self._tags_used
        verb = name.rpartition(" ")[2].upper()
        self.reader.allow(self._longest_answer)
        with self._closing_on_error():
            self.timeouts.begin(name)
            line = b"%s %s" % (tag, name.encode("ascii"))
            for arg in args:
                if isinstance(arg, LiteralArgument | ContinuationArgument):
                    length = b" {%d}" % len(arg) if isinstance(arg, LiteralArgument) else b""
                    self._send(b"%s%s\r\n" % (line, length))
                    if not self._may_continue(tag, verb):
                        break
                    line = bytes(arg)
                else:
                    line += b" " + arg
            else:
                self._send(line + b"\r\n")
        self.commands[verb] += 1
        self._in_flight.append((tag, verb))
        return tag

    @contextlib.contextmanager
    def one_write(self) -> Iterator[None]:
        """Send the commands that :meth:`pipeline` is given in the context together, at its end.

        If the context ends by an error, the commands before it are sent: they are in flight.
        """
        self._unsent = bytearray()
        try:
            yield
        finally:
            unsent, self._unsent = self._unsent, None
            if unsent and not self.closed:
                with self._closing_on_error():
                    self._send(bytes(unsent))

    def start_idle(self) -> None:
        """Send IDLE (RFC 2177) behind what is in flight; :meth:`arrived` returns what then comes."""
        self.pipeline("IDLE")
        self.is_idling = True

    def end_idle(self) -> None:
        """Send DONE if IDLE is running; its completion is the next one that :meth:`responses` reads."""
        if self.is_idling and not self.closed:
            self.is_idling = False
            with self._closing_on_error():
                self._send(b"DONE\r\n")

    def _may_continue(self, tag: bytes, verb: str) -> bool:
        """Wait for the ``+`` before a literal or a line; False if the completion came instead."""
        while True:
            response = self.reader.read_response()
            if response[0].startswith(b"+"):
                return True
            if response[0].startswith(tag + b" "):
                completion = parse_status_response(response[0][len(tag) + 1 :], self.mask)
                self._early_completion = completion or StatusResponse("BAD", b"")
                return False
            self._raise_on_bye(response, verb)
            self.on_untagged(response)

    def _send(self, data: bytes) -> None:
        if self._unsent is not None:
            self._unsent += data
            return
        unsent = memoryview(data)
        self.timeouts.check()
        while unsent:
            try:
                unsent = unsent[self.sock.send(unsent) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self.timeouts.writable(self.sock)
            except ssl.SSLWantReadError:
                self.timeouts.readable(self.sock)
            except OSError as error:
                raise Transient(f"the connection broke: {error.strerror or error}") from error

    # -- responses ---------------------------------------------------------------------------------

    def responses(
        self, messages: int = 0, bytes_each: int = 0, *, in_order: bool = True
    ) -> Iterator[Response]:
        """Yield the untagged responses up to the completion of the oldest command in flight.

        Without `in_order`, up to the completion of any: a server may answer commands that do not depend on
        each other in another order (RFC 9051 §5.5).

        `messages` is how many messages the command asked for, `bytes_each` what one of them may take on
        average. An answer that is far longer closes the connection and raises SentTooMuch. Afterwards
        :attr:`completion` holds the completion; NO and BAD are not raised here. If the caller stops early,
        :meth:`drain` reads the rest.
        """
        tag, verb = self._in_flight[0]
        tagged = tag + b" "
        read_response = self.reader.read_response
        self.reader.allow(self._longest_answer + messages * bytes_each)
        left = MOST_RESPONSES + 4 * messages
        while self._early_completion is None:
            try:
                response = read_response()
                head = response[0]
                if head.startswith(tagged):
                    break
                if not in_order and (other := self._in_flight_with(head)) is not None:
                    tag, verb = other
                    tagged = tag + b" "
                    break
                left -= 1
                if left < 0:
                    raise self.too_much(f"{MOST_RESPONSES + 4 * messages:,} responses")
                if not head.startswith(b"* "):
                    if head.strip() and not (verb == "IDLE" and head.startswith(b"+")):
                        raise ProtocolError(
                            "the server is out of step: it sent a line that belongs to no command"
                        )
                    continue  # "+ idling", or a blank line, which some servers send
                if head[2:5].upper() == b"BYE":
                    self._raise_on_bye(response, verb)
            except BaseException:
                self.close()
                raise
            yield response
        completion, self._early_completion = self._early_completion, None
        if completion is None:
            completion = parse_status_response(head[len(tagged) :], self.mask)
        if completion is None or completion.status not in ("OK", "NO", "BAD"):
            self.close()
            raise ProtocolError(f"{verb}: the completion cannot be understood")
        self.completion, self.completed = completion, tag
        self._prove()
        with contextlib.suppress(ValueError):
            self._in_flight.remove((tag, verb))

    def too_much(self, what: str) -> SentTooMuch:
        """Close the connection and return the error for a server that sends more than `what`."""
        name = self._in_flight[0][1] if self._in_flight else "connection"
        self.close()
        return SentTooMuch(f"{name}: the server sends more than {what}")

    def _raise_on_bye(self, response: Response, verb: str) -> None:
        status = parse_status_response(response[0][2:], self.mask)
        if status is not None and status.status == "BYE":
            raise error_for(status, verb)

    def _in_flight_with(self, line: bytes) -> tuple[bytes, str] | None:
        """Return the command in flight that the line completes."""
        tag = line.partition(b" ")[0]
        return next((command for command in self._in_flight if command[0] == tag), None)

    @property
    def has_in_flight(self) -> bool:
        """Whether answers have yet to be read."""
        return bool(self._in_flight)

    def is_in_flight(self, tag: bytes) -> bool:
        """Whether the answer to the command with this tag has yet to be read."""
        return any(tag == waiting for waiting, _ in self._in_flight)

    def drain(self) -> None:
        """Read and discard what is in flight; close the connection if that takes too long or fails."""
        self.end_idle()
        if self.closed or not self._in_flight:
            return
        with (
            contextlib.suppress(Transient, Throttled, ProtocolError),
            self._closing_on_error(),
            self.timeouts.deadline(SECONDS_TO_DRAIN),
        ):
            while self._in_flight:
                for response in self.responses():
                    self.on_untagged(response)

    # -- between turns -----------------------------------------------------------------------------

    def resume(
        self, bucket: TokenBucket, on_wait: Callable[[], None], on_begin: Callable[[str], None]
    ) -> None:
        """Begin another turn. Until a command is completed, only a short silence is allowed.

        A peer that was lost without a packet looks like one that has nothing to say.
        """
        self.bucket, self.is_proven = bucket, False
        self.timeouts.resume(on_wait, on_begin)
        self.timeouts.longest_silence = min(LONGEST_PROOF, self.timeouts.timeout)

    def _prove(self) -> None:
        self.is_proven = True
        self.timeouts.longest_silence = self.timeouts.timeout

    def arrived(self) -> list[Response]:
        """Return the whole responses that have arrived, without waiting.

        Closes the connection if the peer has closed it, has said BYE, or has sent more than
        :data:`MOST_UNREAD` bytes at once. A completion of IDLE that came without DONE ends the IDLE.
        """
        if self.closed:
            return []
        is_open = self.reader.receive_now(MOST_UNREAD)
        responses = self.reader.take_whole()
        for response in responses:
            if self._in_flight and response[0].startswith(self._in_flight[0][0] + b" "):
                tag, _ = self._in_flight.popleft()
                completion = parse_status_response(response[0][len(tag) + 1 :], self.mask)
                self.completion = completion or StatusResponse("BAD", b"")
                self.is_idling = False
            elif _BYE.match(response[0]):
                is_open = False
        if not is_open:
            self.close()
        return responses

    def release_memory(self) -> None:
        """Free the read buffer until the next command; close if the server has sent much unasked."""
        if not self.closed and not self.reader.trim(MOST_UNREAD):
            self.close()

    def alive(self) -> bool:
        """Whether the peer has neither closed the connection nor said BYE; sends no command."""
        if self.closed:
            return False
        unread = self.reader.peek()
        if unread is None or len(unread) > MOST_UNREAD or _BYE.search(unread):
            self.close()
        return not self.closed


def _ignore(response: Response) -> None:
    """Untagged responses before there is a session."""
