"""Commands out, responses in: the conversation loop over one checked and verified connection.

The loop yields each response as soon as it has arrived, limits every length that the server names, and waits
in slices so that callers can write heartbeats.
"""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mailsync.errors import CertificateRejected, ProtocolError, SentTooMuch, Throttled, Transient
from mailsync.imap.arguments import ContinuationArgument, LiteralArgument
from mailsync.imap.greeting import read_greeting
from mailsync.imap.idling import Idling
from mailsync.imap.in_flight import InFlight, Sent
from mailsync.imap.reader import LONGEST_ANSWER
from mailsync.imap.status_responses import StatusResponse, error_for, parse_status_response
from mailsync.imap.token_bucket import TokenBucket
from mailsync.imap.transport import Transport
from mailsync.network.timeouts import Timeouts
from mailsync.redaction import Mask

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint

MOST_RESPONSES = 200_000
"""Responses in one answer, not counting those for its messages."""
SECONDS_TO_DRAIN = 2.0
LONGEST_PROOF = 10.0
"""Seconds of silence that end a kept connection, before it has completed a command."""

Response = list[bytes]
"""One response as :meth:`Reader.read_response` returns it: text, literal, text, …"""


class Connection(Transport):
    """One connection to a server. It closes itself as soon as it may be out of step with the server.

    ``completion`` is the tagged response to the last command; before the first command, the greeting.
    ``on_untagged`` is called with every untagged response that the running command did not claim, and
    ``on_challenge`` with lines that may be challenges of AUTHENTICATE: it answers them, and returns whether
    they are. ``mask`` hides the password in words of the server that people see.
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
        super().__init__(sock, endpoint, settings, timeouts)
        self.bucket = bucket
        self.mask = mask
        self.commands: Counter[str] = Counter()
        self.on_untagged: Callable[[Response], None] = lambda response: None
        # one response may hold several literals of the largest size
        self._longest_answer = max(LONGEST_ANSWER, 4 * settings.imap_max_literal_bytes)
        self.on_challenge: Callable[[bytes], bool] = lambda line: False
        self.in_flight = InFlight()
        """The commands whose answers have yet to be read."""
        self._early_completion: StatusResponse | None = None
        self.completed = b""
        """The tag of the command that :attr:`completion` completes."""
        self.was_lost_in_flight = False
        """Whether the connection ended because it got several commands in one flight."""
        self.idling = Idling()
        self.is_proven = True
        """Whether a command was completed since the connection was last :meth:`resumed <resume>`."""
        with self._closing_on_error():
            self.completion = read_greeting(self.reader, mask)

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
        self._begin_tls()

    def close(self) -> None:
        """Close the socket, without LOGOUT."""
        self.in_flight.clear()
        super().close()

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
        return self.finish(name, claim, check=check)

    def finish(
        self, name: str, claim: Callable[[Response], bool] | None = None, *, check: bool = True
    ) -> StatusResponse:
        """Read the answer to the oldest command in flight, which is called `name`, as :meth:`run` does."""
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
        tag = self.in_flight.new_tag()
        verb = name.rpartition(" ")[2].upper()
        self.reader.allow(self._longest_answer)
        with self._closing_on_error():
            self.timeouts.begin(name)
            line = b"%s %s" % (tag, name.encode("ascii"))
            for arg in args:
                if isinstance(arg, LiteralArgument | ContinuationArgument):
                    length = b" {%d}" % len(arg) if isinstance(arg, LiteralArgument) else b""
                    self._writer.send(b"%s%s\r\n" % (line, length))
                    if not self._may_continue(tag, verb):
                        break
                    line = bytes(arg)
                else:
                    line += b" " + arg
            else:
                self._writer.send(line + b"\r\n")
        self.commands[verb] += 1
        self.in_flight.add(tag, verb)
        return tag

    def start_idle(self) -> None:
        """Send IDLE (RFC 2177) behind what is in flight; :mod:`mailsync.imap.unasked` reads what follows."""
        self.pipeline("IDLE")
        self.idling.is_running = True

    def end_idle(self) -> None:
        """Send DONE if IDLE is running; its completion is the next one that :meth:`responses` reads."""
        if not self.closed and self.idling.end():
            with self._closing_on_error():
                self._writer.send(b"DONE\r\n")

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
        command = self.in_flight.oldest
        tagged = command.tag + b" "
        read_response = self.reader.read_response
        self.reader.allow(self._longest_answer + messages * bytes_each)
        left = MOST_RESPONSES + 4 * messages
        while self._early_completion is None:
            try:
                response = read_response()
                head = response[0]
                if head.startswith(tagged):
                    break
                if not in_order and (other := self.in_flight.completed_by(head)) is not None:
                    command = other
                    break
                left -= 1
                if left < 0:
                    raise self.too_much(f"{MOST_RESPONSES + 4 * messages:,} responses")
                if not head.startswith(b"* "):
                    if not self.may_ignore(head):
                        raise ProtocolError(
                            "the server is out of step: it sent a line that belongs to no command"
                        )
                    continue
                if head[2:5].upper() == b"BYE":
                    self._raise_on_bye(response, command.verb)
            except BaseException:
                self.close()
                raise
            yield response
        completion, self._early_completion = self._early_completion, None
        if completion is None:
            completion = parse_status_response(head[len(command.tag) + 1 :], self.mask)
        if completion is None or completion.status not in ("OK", "NO", "BAD"):
            self.close()
            raise ProtocolError(f"{command.verb}: the completion cannot be understood")
        self.complete(command, completion)

    def complete(self, command: Sent, completion: StatusResponse) -> None:
        """Note that a command in flight was completed."""
        self.completion, self.completed = completion, command.tag
        if command.verb == "IDLE":
            self.idling.note_completion(completion)
        self.is_proven = True
        self.timeouts.longest_silence = self.timeouts.timeout
        self.in_flight.remove(command.tag)

    def may_ignore(self, line: bytes) -> bool:
        """Whether we are still in step after a line that is neither data nor a completion.

        Some servers send blank lines; for the others see :meth:`Idling.may_ignore`.
        """
        if not line.strip() or self.on_challenge(line):
            return True
        return self.idling.may_ignore(line, in_flight=self.in_flight.has("IDLE"))

    def too_much(self, what: str) -> SentTooMuch:
        """Close the connection and return the error for a server that sends more than `what`."""
        name = self.in_flight.oldest.verb if self.in_flight else "connection"
        self.close()
        return SentTooMuch(f"{name}: the server sends more than {what}")

    def _raise_on_bye(self, response: Response, verb: str) -> None:
        status = parse_status_response(response[0][2:], self.mask)
        if status is not None and status.status == "BYE":
            raise error_for(status, verb)

    def drain(self) -> None:
        """Read and discard what is in flight; close the connection if that takes too long or fails."""
        self.end_idle()
        if self.closed or not self.in_flight:
            return
        with (
            contextlib.suppress(Transient, Throttled, ProtocolError),
            self._closing_on_error(),
            # a server may take its time to end an IDLE
            self.timeouts.deadline(SECONDS_TO_DRAIN if self.is_proven else LONGEST_PROOF),
        ):
            while self.in_flight:
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
