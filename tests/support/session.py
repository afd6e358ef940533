"""A client's connection to the scripted server, and the requests that handlers get."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from typing import TYPE_CHECKING

from tests.support.byte_stream import ByteStream, Disconnected
from tests.support.conversation import Conversation
from tests.support.journal import Command
from tests.support.request import HonestRequest, split_command

if TYPE_CHECKING:
    from tests.support.scripted import ScriptedServer


class Request(HonestRequest):
    """One command, and the ways in which a handler can answer.

    A handler returns the whole answer (``request.default()`` is the honest one), or None if it has sent the
    answer itself.
    """

    connection: Connection

    def __init__(self, connection: Connection, tag: bytes, name: str, text: bytes, entry: Command) -> None:
        super().__init__(connection, connection.server.accounts, tag, name, text)
        self.entry = entry

    def default(self) -> bytes:
        """As an honest server. IDLE is over when this returns: nothing is left to be sent."""
        if self.name == "IDLE":
            return self.connection.idle(self)
        if self.name == "DONE":
            with self.account.lock:
                return self.connection.end_idle() + self.tagged(b"OK Idle completed")
        return super().default()

    def answer(self, data: bytes) -> None:
        """Send the whole answer now; the handler then returns None, and may do something after the answer."""
        self.connection.finish(self.entry, answered=True)
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send bytes at once, whole lines or not."""
        self.connection.send(data)

    def ask(self, prompt: bytes = b"") -> bytes:
        """Send a continuation request, and return the client's next line without its end."""
        return self.connection.ask(prompt)

    def delay(self, seconds: float) -> None:
        """Wait; raises Disconnected when the client goes away."""
        self.connection.wait(seconds)

    def hang(self) -> bytes:
        """Send nothing until the client goes away."""
        self.connection.wait(None)
        raise Disconnected

    def bye(self, text: bytes = b"Logging out") -> bytes:
        """Send BYE and close."""
        self.send(b"* BYE %s\r\n" % text)
        raise Disconnected

    def close(self) -> bytes:
        """Close the connection without BYE."""
        raise Disconnected

    def reset(self) -> bytes:
        """Break the connection with a TCP reset."""
        self.connection.stream.reset()
        raise Disconnected


class Connection(Conversation):
    """One client. ``number`` counts from 1."""

    def __init__(self, server: ScriptedServer, sock: socket.socket, number: int) -> None:
        super().__init__(server)
        self.server, self.number = server, number
        self.secure = False
        self.stream = ByteStream(sock, server.stopping)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def announced(self) -> bytes:
        """Return the capabilities that the server offers now, as they are announced."""
        offers_tls = self.server.security == "starttls" and not self.secure
        return super().announced() + (b" STARTTLS" if offers_tls else b"")

    def record_login(self, user: str, accepted: bool) -> None:
        """Record in the journal that this client tried to log in."""
        self.server.journal.login(self.number, user, accepted)

    # -- the socket ----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send all bytes; raises Disconnected if the client is gone."""
        self.stream.send(data)

    def push(self, data: bytes) -> None:
        """Send untagged lines at once; nothing happens if the client is gone."""
        with contextlib.suppress(Disconnected):
            self.send(data)

    def ask(self, prompt: bytes) -> bytes:
        """Send a continuation request, and return the client's next line without its end."""
        self.send(b"+ %s\r\n" % prompt)
        return self.read_line()

    def bye(self, text: bytes = b"Session expired") -> None:
        """Say BYE and close, from the thread of a test."""
        self.push(b"* BYE %s\r\n" % text)
        self.stop()

    def read_line(self) -> bytes:
        """Return the client's next line without its end."""
        return self.stream.line().removesuffix(b"\r\n")

    def wait(self, seconds: float | None) -> None:
        """Wait for some seconds, or without limit; raises Disconnected when the client or the server ends."""
        self.stream.wait(seconds)

    def start_tls(self) -> None:
        """Do the TLS handshake; raises Disconnected if it fails."""
        assert self.server.certificate
        self.stream.start_tls(self.server.certificate.context())
        self.secure = True

    def stop(self) -> None:
        """Shut the socket down, so that the thread ends."""
        self.stream.stop()

    def _command(self) -> tuple[bytes, str, bytes]:
        text = self.stream.line()
        while literal := re.search(rb"\{(\d+)(\+?)\}\r\n\Z", text):
            if not literal[2]:
                self.send(b"+ go ahead\r\n")
            text += self.stream.exactly(int(literal[1])) + self.stream.line()
        return split_command(text)

    # -- the conversation ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self.server.security == "tls":
                self.start_tls()
            if not self._greet():
                return
            while True:
                self._answer(*self._command())
        except Disconnected:
            pass
        finally:
            self.server.journal.close(self.number)
            self.log_out()
            self.stream.close()

    def _greet(self) -> bool:
        greeting = self.server.greeting
        if greeting is None:
            self.wait(None)
        assert greeting is not None
        self.send(greeting + b"\r\n")
        if greeting.upper().startswith(b"* PREAUTH"):
            self.log_in(next(iter(self.server.accounts.values())))
            assert self.account
            self.server.journal.login(self.number, self.account.name, accepted=True)
        return not greeting.upper().startswith(b"* BYE")

    def _answer(self, tag: bytes, name: str, text: bytes) -> None:
        self.server.note_the_gone()
        entry = self.server.journal.begin(self.number, name, text)
        entry.arrived = self.stream.arrived_at()
        request = Request(self, tag, name, text, entry)
        try:
            with self._lock():
                self.begin()
            if self.server.latency:
                self.wait(self.stream.arrived_at() + self.server.latency - time.monotonic())
            if self.is_over:
                request.bye(self.server.token_farewell)
            answer = self.server.handler(name)(request)
            # record before sending: once the client has the answer, another session may send commands
            self.finish(entry, answered=True)
            if answer:
                self.send(answer)
            if name != "DONE":  # after DONE, IDLE itself ends
                with self._lock():
                    self.end()
        except Disconnected:
            self.finish(entry, answered=False)
            raise

    def _lock(self) -> contextlib.AbstractContextManager[object]:
        return self.account.lock if self.account else contextlib.nullcontext()

    def idle(self, request: Request) -> bytes:
        """Answer IDLE (RFC 2177), and everything until its end; rules for DONE decide how it ends."""
        if not self.offers(b"IDLE"):
            return request.tagged(b"BAD IDLE is not offered")
        # a client that listens does not speak
        self.finish(request.entry, answered=True)
        request.entry.selected = False
        with request.account.lock:
            self.begin_idle()
        line = self.read_line()
        if line.upper() == b"DONE":
            self._answer(request.tag, "DONE", b"")
            with request.account.lock:
                self.is_idling = False
            return b""
        self.server.journal.violate(self.number, "IDLE", line)
        with request.account.lock:
            self.begin()
            return self.end_idle() + request.tagged(b"BAD Expected DONE.")

    def finish(self, entry: Command, answered: bool) -> None:
        """Record that a command was answered, or will not be; the first call counts."""
        if entry.finished is None:
            entry.answered, entry.selected = answered, self.selected is not None
            entry.finished = time.monotonic()


def _start_tls(request: Request) -> bytes | None:
    server, connection = request.connection.server, request.connection
    if server.security != "starttls" or connection.secure:
        return request.tagged(b"BAD STARTTLS is not offered")
    if server.starttls == "refuse":
        return request.tagged(b"NO TLS is not available now")
    if server.starttls == "drop":
        return request.close()
    extra = server.injected if server.starttls == "inject" else b""
    request.send(request.tagged(b"OK begin TLS") + extra)
    connection.start_tls()
    return None


def _log_out(request: Request) -> bytes | None:
    request.send(b"* BYE Logging out\r\n" + request.tagged(b"OK done"))
    return request.close()


CONNECTION_COMMANDS = {"STARTTLS": _start_tls, "LOGOUT": _log_out}
