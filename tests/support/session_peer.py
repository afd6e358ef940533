"""The server's end of a session over a pair of sockets, of which a test sends every byte."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable

import pytest

from mailsync.config import Settings
from mailsync.imap import Session, TokenBucket
from mailsync.imap.connection import Connection
from mailsync.model import Endpoint
from mailsync.network.timeouts import Timeouts
from mailsync.redaction import masking
from tests.support.certificates import Authority

ENDPOINT = Endpoint("h", 143, "plaintext", "user")
CAPABILITIES = frozenset({"IMAP4REV1", "UNSELECT", "IDLE", "NOTIFY"})
EXAMINED = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 4] ok\r\n%b OK [READ-ONLY] done\r\n"


class Peer:
    """The server's end. ``tag`` names the commands of the client from 1 on; their answers may come early."""

    def __init__(self, sock: socket.socket, session: Session) -> None:
        self.sock, self.session = sock, session
        self._first = session._connection.in_flight.new_tag()

    def tag(self, number: int) -> bytes:
        return self._first.removesuffix(b"1") + b"%d" % (number + 1)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def received(self) -> bytes:
        return self.sock.recv(1 << 16)

    def idle(self) -> None:
        """Let the session idle in INBOX, by its commands 1 and 2."""
        self.send(EXAMINED % self.tag(1))
        self.session.idle(b"INBOX")
        assert self.received() == b'%b EXAMINE "INBOX"\r\n%b IDLE\r\n' % (self.tag(1), self.tag(2))

    def notify(self, *names: bytes) -> None:
        """Let the session have NOTIFY, by its command 1, and follow these mailboxes."""
        rows = b"".join(b"* STATUS %b (MESSAGES 3 UIDNEXT 4)\r\n" % name for name in names)
        self.send(rows + self.tag(1) + b" OK done\r\n")
        assert self.session.notify()
        self.session.push.watched = frozenset(names)
        self.received()


def session_over(ours: socket.socket) -> Session:
    ours.setblocking(False)
    timeouts = Timeouts(lambda: None, 5.0, lambda command: None)
    bucket = TokenBucket(1000.0, 10_000, 0.0)
    connection = Connection(ours, ENDPOINT, Settings(), bucket, timeouts, masking("password"))
    return Session(connection, CAPABILITIES, frozenset())


class TlsPeer(Peer):
    """A server whose records can be cut at any byte."""

    def __init__(self, ours: socket.socket, theirs: socket.socket, authority: Authority) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = authority.good().context().wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.sock = theirs
        theirs.setblocking(False)
        ours.setblocking(False)
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        client = context.wrap_socket(ours, server_hostname="localhost", do_handshake_on_connect=False)
        steps: list[Callable[[], None]] = [client.do_handshake, self._tls.do_handshake]
        while steps:
            steps = [step for step in steps if not self._done(step)]
        self.client = client
        self.send(b"* OK hello\r\n")
        super().__init__(theirs, session_over(client))

    def _done(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._exchange()
        return True

    def _exchange(self) -> None:
        if data := self._outgoing.read():
            self.sock.sendall(data)
        with contextlib.suppress(BlockingIOError):
            self._incoming.write(self.sock.recv(1 << 16))

    def record(self, data: bytes) -> bytes:
        """Return the bytes that carry `data`."""
        self._tls.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return the bytes that end TLS."""
        with pytest.raises(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        self.sock.sendall(self.record(data))

    def received(self) -> bytes:
        self._exchange()
        return self._tls.read(1 << 16)
