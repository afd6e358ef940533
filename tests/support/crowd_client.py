"""One client of the server for crowds: commands in, answers out, without waiting."""

from __future__ import annotations

import re
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING

from tests.support.conversation import Conversation
from tests.support.imap_arguments import Refused
from tests.support.request import HonestRequest, split_command

if TYPE_CHECKING:
    from tests.support.crowd_process import Crowd

_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r\n\Z")


class Client(Conversation):
    """One client. ``due`` holds when what has arrived is to be answered, and how many bytes that is."""

    def __init__(self, server: Crowd, sock: socket.socket) -> None:
        super().__init__(server)
        self.server, self.sock = server, sock
        self.is_shaking_hands = isinstance(sock, ssl.SSLSocket)
        self.unsent = b""
        self.due: deque[tuple[float, int]] = deque()
        self.received = self.consumed = 0
        self.is_closing = False
        self._buffer = b""
        self._is_answering = False
        self._literal_end = 0
        self._idle_tag = b""

    def send(self, data: bytes) -> None:
        """Send bytes, after the answer in the making if there is one."""
        self.unsent += data
        if not self._is_answering:
            self.server.flush(self)

    push = send

    def ask(self, prompt: bytes) -> bytes:
        """Refuse: one thread waits for nobody."""
        raise Refused("BAD send the initial response with the command")

    def record_login(self, user: str, accepted: bool) -> None:
        """Count a login."""
        if accepted:
            self.server.logins[user] += 1

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived."""
        self._buffer += data
        self.received += len(data)

    def answer(self, until: int) -> None:
        """Answer the commands among the first `until` bytes, and send all answers together."""
        self._is_answering = True
        while not self.is_closing and (command := self._command(until)):
            self._execute(command)
        self._is_answering = False
        self.server.flush(self)

    def _command(self, until: int) -> bytes:
        """Return the next command with its literals; nothing if it has not arrived as a whole."""
        limit = until - self.consumed
        while True:
            end = self._buffer.find(b"\r\n", self._literal_end, limit) + 2
            if end == 1:
                return b""
            literal = _LITERAL.search(self._buffer, max(0, end - 16), end)
            if literal is None or self.is_idling:
                command, self._buffer = self._buffer[:end], self._buffer[end:]
                self.consumed += end
                self._literal_end = 0
                return command
            if not literal[2]:
                self.unsent += b"+ go ahead\r\n"
            self._literal_end = end + int(literal[1])

    def _execute(self, line: bytes) -> None:
        if self.is_idling:
            is_done = line.strip().upper() == b"DONE"
            self.server.conflicts += not is_done
            self.unsent += self.end_idle() + self._idle_tag
            self.unsent += b" OK Idle completed\r\n" if is_done else b" BAD Expected DONE.\r\n"
            return
        tag, name, text = split_command(line)
        self.server.commands[name] += 1
        request = HonestRequest(self, self.server.accounts, tag, name, text)
        self.begin()
        if (refusal := self.server.refusals.get(name)) is not None:
            self.unsent += request.tagged(refusal)
        elif name == "IDLE" and self.offers(b"IDLE"):
            self._idle_tag = tag
            self.begin_idle()
            return
        elif name == "LOGOUT":
            self.unsent += b"* BYE Logging out\r\n" + request.tagged(b"OK done")
            self.is_closing = True
        else:
            self.unsent += request.default()
        self.end()
