"""Commands out, responses in: the one conversation loop over a checked, verified connection.

Neither imaplib nor IMAPClient stands below it. Their loops collect a whole answer before anybody can look at
it, trust every length the server names, and cannot wait in slices; so nothing but the tags would remain.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import select
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mailsync.errors import CertificateRejected, MailsyncError, ProtocolError, Transient
from mailsync.imap.connecting import secure
from mailsync.imap.reader import Reader
from mailsync.imap.replies import Completion, error_for, parse_completion
from mailsync.imap.throttle import Throttle
from mailsync.imap.waiting import Patience

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint

MOST_TO_DRAIN = 64 * 1024 * 1024
SECONDS_TO_DRAIN = 5.0

_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]{0,1000}")


class Literal(bytes):
    """An argument that is sent as a literal (RFC 9051 §4.3), after the server's ``+``."""


def astring(value: bytes) -> bytes:
    """Return `value` as an argument: quoted, or a literal where a quoted string may not hold it."""
    if not _QUOTABLE.fullmatch(value):
        return Literal(value)
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


class Wire:
    """One connection to a server, which it closes whenever it can no longer be trusted to be in step.

    ``unasked`` is called with every untagged response that the command in hand did not claim.
    """

    def __init__(
        self,
        sock: socket.socket,
        endpoint: Endpoint,
        settings: Settings,
        throttle: Throttle,
        patience: Patience,
        unasked: Callable[[list[bytes]], None],
    ) -> None:
        self.sock = sock
        self.throttle = throttle
        self.patience = patience
        self.unasked = unasked
        self.reader = Reader(sock, patience, settings.imap_max_literal_bytes)
        self.commands: Counter[str] = Counter()
        self.closed = False
        self.reply = Completion("OK", b"")
        self._endpoint = endpoint
        self._settings = settings
        self._in_flight: deque[tuple[bytes, str]] = deque()
        self._refused: Completion | None = None
        self._prefix = b"M%05d." % secrets.randbelow(100_000)
        self._number = 0

    def close(self) -> None:
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
            self.close()
            raise

    # -- commands ----------------------------------------------------------------------------------

    def greeting(self) -> Completion:
        """Read ``* OK …`` or ``* PREAUTH …``; raises the error that BYE or anything else stands for."""
        with self._trusted():
            line = self.reader.response()[0]
            reply = parse_completion(line[2:]) if line.startswith(b"* ") else None
            if reply is None or reply.status in ("NO", "BAD"):
                raise ProtocolError("the other side does not greet as an IMAP server", step="connect")
            if reply.status == "BYE":
                raise error_for(reply, "greeting", step="connect")
            return reply

    def run(
        self, name: str, *args: bytes, claim: Callable[[list[bytes]], bool] | None = None, check: bool = True
    ) -> Completion:
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
            raise error_for(self.reply, _plain(name))
        return self.reply

    def start(self, name: str, *args: bytes) -> bytes:
        """Send one command, leave its answer to :meth:`answer`, and return its tag.

        An answer that is still in flight is read and forgotten first.
        """
        self.drain()
        if self.closed:
            raise Transient("the connection is closed")
        self.throttle.take()
        plain = _plain(name)
        self.commands[plain] += 1
        self._number += 1
        tag = self._prefix + b"%d" % self._number
        with self._trusted():
            line = b"%s %s" % (tag, name.encode("ascii"))
            for arg in args:
                if isinstance(arg, Literal):
                    self._send(b"%s {%d}\r\n" % (line, len(arg)))
                    if not self._may_continue(tag):
                        break
                    line = bytes(arg)
                else:
                    line += b" " + arg
            else:
                self._send(line + b"\r\n")
            self._in_flight.append((tag, plain))
        return tag

    def _may_continue(self, tag: bytes) -> bool:
        """Await the ``+`` for a literal; the completion that came instead is left for :meth:`answer`."""
        while True:
            parts = self.reader.response()
            if parts[0].startswith(b"+"):
                return True
            if parts[0].startswith(tag + b" "):
                self._refused = parse_completion(parts[0][len(tag) + 1 :])
                return False
            self._watch(parts)
            self.unasked(parts)

    def _send(self, data: bytes) -> None:
        left = memoryview(data)
        self.patience.check()
        while left:
            try:
                left = left[self.sock.send(left) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                self.patience.writable(self.sock)
            except ssl.SSLWantReadError:
                self.patience.readable(self.sock)
            except OSError as error:
                raise Transient(f"the connection broke: {error.strerror or error}") from error

    # -- answers -----------------------------------------------------------------------------------

    def answer(self) -> Iterator[list[bytes]]:
        """Yield the untagged responses up to the completion of the oldest command in flight.

        The completion is then in :attr:`reply`; NO and BAD are not raised here. A generator that is left
        early leaves the rest of the answer to :meth:`drain`.
        """
        tag, name = self._in_flight[0]
        mark = tag + b" "
        response = self.reader.response
        while self._refused is None:
            try:
                parts = response()
                head = parts[0]
                if head.startswith(mark):
                    break
                if not head.startswith(b"* "):
                    self._strange(head)
                    continue
                if head[2:5].upper() == b"BYE":
                    self._watch(parts)
            except BaseException:
                self.close()
                raise
            yield parts
        reply, self._refused = self._refused, None
        if reply is None:
            reply = parse_completion(head[len(mark) :])
        if reply is None or reply.status not in ("OK", "NO", "BAD"):
            self.close()
            raise ProtocolError(f"{name}: the completion cannot be understood")
        self.reply = reply
        if self._in_flight:
            self._in_flight.popleft()

    def _watch(self, parts: list[bytes]) -> None:
        reply = parse_completion(parts[0][2:])
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
        end = self.reader.bytes_in + MOST_TO_DRAIN
        try:
            with self.patience.deadline(SECONDS_TO_DRAIN):
                while self._in_flight:
                    for parts in self.answer():
                        self.unasked(parts)
                        if self.reader.bytes_in > end:
                            self.close()
                            return
        except MailsyncError:
            self.close()

    def alive(self) -> bool:
        """Whether the peer has neither closed the connection nor said BYE; costs no command."""
        if self.closed:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(0) and not self.reader.pending:
            return True
        waiting = self.reader.peek()
        if waiting is None or any(line[:5].upper() == b"* BYE" for line in waiting.split(b"\n")):
            self.close()
            return False
        return True

    # -- TLS ---------------------------------------------------------------------------------------

    def start_tls(self) -> None:
        """Upgrade by STARTTLS (RFC 9051 §6.2.1); what came in plaintext is discarded.

        Raises CertificateRejected if the server refuses or its certificate does not verify.
        """
        reply = self.run("STARTTLS", check=False)
        if reply.status != "OK":
            self.close()
            raise CertificateRejected(f"{self._endpoint.host} refuses STARTTLS: {reply.words}", step="tls")
        try:
            self.sock = secure(self.sock, self._endpoint, self._settings, self.patience)
        except BaseException:
            self.closed = True
            raise
        self.reader.switch(self.sock)


def _plain(name: str) -> str:
    return name.rpartition(" ")[2]
