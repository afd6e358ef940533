"""A client's connection to the scripted server, and the requests that handlers get."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING

from tests.support import imap_commands
from tests.support.imap_text import Token, as_set, tokens
from tests.support.journal import Command
from tests.support.mailboxes import Account, Folder

if TYPE_CHECKING:
    from tests.support.scripted import ScriptedServer


class Disconnected(Exception):
    """The connection has ended; ends its thread."""


class Request:
    """One command, and the ways in which a handler can answer.

    A handler returns the whole answer (``request.default()`` is the honest one), or None if it has sent the
    answer itself.
    """

    def __init__(self, connection: Connection, tag: bytes, name: str, text: bytes) -> None:
        self.connection, self.tag, self.name, self.text = connection, tag, name, text

    @cached_property
    def arguments(self) -> list[Token]:
        """The arguments: bytes, and lists for parentheses."""
        return tokens(self.text)

    @property
    def account(self) -> Account:
        """The account that is logged in."""
        if self.connection.account is None:
            raise imap_commands.Refused("BAD log in first")
        return self.connection.account

    def default(self) -> bytes:
        """Execute the command as an honest server does, and return the whole answer, not yet sent."""
        connection = self.connection
        command = imap_commands.COMMANDS.get(self.name)
        try:
            if command is None:
                return self.tagged(b"BAD unknown command")
            with connection.account.lock if connection.account else contextlib.nullcontext():
                data = command(self)
                if self.name not in ("EXAMINE", "SELECT"):
                    data += connection.news()
        except imap_commands.Refused as refusal:
            return self.tagged(str(refusal).encode())
        except (ValueError, IndexError) as error:
            return self.tagged(b"BAD %s" % str(error).encode(errors="replace"))
        return data + self.tagged(b"OK %s completed" % self.name.encode())

    def tagged(self, text: bytes) -> bytes:
        """Return the tagged response: ``request.tagged(b"NO [INUSE] later")``."""
        return b"%s %s\r\n" % (self.tag, text)

    def send(self, data: bytes) -> None:
        """Send bytes at once, whole lines or not."""
        self.connection.send(data)

    def ask(self, prompt: bytes = b"") -> bytes:
        """Send a continuation request, and return the client's next line without its end."""
        self.send(b"+ %s\r\n" % prompt)
        return self.connection.read_line()

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
        self.connection.reset()
        raise Disconnected


class Connection:
    """One client. ``number`` counts from 1; ``account`` is logged in, ``selected`` is open."""

    def __init__(self, server: ScriptedServer, sock: socket.socket, number: int) -> None:
        self.server, self.number = server, number
        self.account: Account | None = None
        self.selected: Folder | None = None
        self.read_only = True
        self.view: list[int] = []
        self.enabled: set[bytes] = set()
        self.secure = False
        self._socket = sock
        self._buffer = b""
        self._sending = threading.Lock()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def capabilities(self) -> list[bytes]:
        """Return the capabilities that the server offers now."""
        offered = self.server.capabilities.split()
        if self.server.security == "starttls" and not self.secure:
            offered.append(b"STARTTLS")
        return offered

    def offers(self, extension: bytes) -> bool:
        """Whether the server offers an extension."""
        return extension in (name.upper() for name in self.capabilities())

    def select(self, folder: Folder, read_only: bool) -> None:
        """Open a mailbox; the session then has its own view of its messages."""
        self.selected, self.read_only, self.view = folder, read_only, sorted(folder.mails)

    def unselect(self) -> None:
        """Close the mailbox."""
        self.selected, self.view = None, []

    def news(self) -> bytes:
        """Update the view of the selected mailbox; return EXPUNGE or VANISHED, and EXISTS."""
        if self.selected is None:
            return b""
        mails = self.selected.mails
        gone = [uid for uid in self.view if uid not in mails]
        lines = []
        if gone and b"QRESYNC" in self.enabled:
            lines.append(b"* VANISHED %s\r\n" % as_set(gone))
        elif gone:
            numbers = [number for number, uid in enumerate(self.view, 1) if uid not in mails]
            lines += [b"* %d EXPUNGE\r\n" % number for number in reversed(numbers)]
        remaining = len(self.view) - len(gone)
        self.view = sorted(mails)
        if len(self.view) > remaining:
            lines.append(b"* %d EXISTS\r\n" % len(self.view))
        return b"".join(lines)

    # -- the socket ----------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send all bytes; raises Disconnected if the client is gone."""
        try:
            with self._sending:
                self._socket.sendall(data)
        except OSError:
            raise Disconnected from None

    def wait(self, seconds: float | None) -> None:
        """Wait for some seconds, or without limit; raises Disconnected when the client or the server ends."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            left = 0.05 if until is None else max(0.0, min(0.05, until - time.monotonic()))
            if self.server.stopping.is_set():
                raise Disconnected
            if select.select([self._socket], [], [], left)[0]:
                self._receive()

    def reset(self) -> None:
        """Make the coming close a TCP reset."""
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def start_tls(self) -> None:
        """Do the TLS handshake; raises Disconnected if it fails."""
        assert self.server.certificate
        context = self.server.certificate.context()
        self._buffer = b""
        try:
            self._socket = context.wrap_socket(self._socket, server_side=True)
        except OSError:
            raise Disconnected from None
        self.secure = True

    def is_gone(self) -> bool:
        """Whether the client has closed its end and all of its bytes were read."""
        try:
            # recv of the plain socket, below TLS
            return not socket.socket.recv(self._socket, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def stop(self) -> None:
        """Shut the socket down, so that the thread ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _receive(self) -> None:
        try:
            data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Disconnected
        self._buffer += data

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._receive()
        return self._exactly(self._buffer.index(b"\r\n") + 2)

    def read_line(self) -> bytes:
        """Return the client's next line without its end."""
        return self._line().removesuffix(b"\r\n")

    def _command(self) -> tuple[bytes, str, bytes]:
        text = self._line()
        while literal := re.search(rb"\{(\d+)(\+?)\}\r\n\Z", text):
            if not literal[2]:
                self.send(b"+ go ahead\r\n")
            text += self._exactly(int(literal[1])) + self._line()
        tag, _, rest = text.removesuffix(b"\r\n").partition(b" ")
        name, _, rest = rest.partition(b" ")
        if name.upper() == b"UID":
            second, _, rest = rest.partition(b" ")
            name += b" " + second
        return tag, name.upper().decode(errors="replace"), rest

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
            with contextlib.suppress(OSError):
                self._socket.close()

    def _greet(self) -> bool:
        greeting = self.server.greeting
        if greeting is None:
            self.wait(None)
        assert greeting is not None
        self.send(greeting + b"\r\n")
        if greeting.upper().startswith(b"* PREAUTH"):
            self.account = next(iter(self.server.accounts.values()))
            self.server.journal.login(self.number, self.account.name, accepted=True)
        return not greeting.upper().startswith(b"* BYE")

    def _answer(self, tag: bytes, name: str, text: bytes) -> None:
        self.server.note_the_gone()
        entry = self.server.journal.begin(self.number, name, text)
        request = Request(self, tag, name, text)
        try:
            if self.server.latency:
                self.wait(self.server.latency)
            answer = self.server.handler(name)(request)
            # record before sending: once the client has the answer, another session may send commands
            self._finish(entry, answered=True)
            if answer is not None:
                self.send(answer)
        except Disconnected:
            if not entry.answered:
                self._finish(entry, answered=False)
            raise

    def _finish(self, entry: Command, answered: bool) -> None:
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
