"""An IMAP server on a real socket; tests can change each of its answers.

By default it is an honest server with mailboxes in memory. A journal records all commands::

    server = ScriptedServer()
    user = server.new_user()
    user.folder("INBOX").add(b"Subject: hello\\r\\n\\r\\nworld\\r\\n", rb"\\Seen")
    server.on("UID FETCH", lambda request: request.default().replace(b"FLAGS", b"FLGS"), times=1)
    server.on("EXAMINE", b"NO [INUSE] Mailbox is in use")
    server.on("STATUS", lambda request: request.hang())

A change of a mailbox reaches clients in IDLE or with NOTIFY at once. Rules place it between two commands
(see ``tests.support.placing``); they know ``IDLE`` and ``DONE``, whose tag is that of IDLE::

    server.on("DONE", lambda request: user.folder("INBOX").add(raw) and request.default(), times=1)
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from tests.support import planted
from tests.support.certificates import Certificate
from tests.support.habits import CAPABILITIES, Habits
from tests.support.journal import Conflict, Journal
from tests.support.mailboxes import Account
from tests.support.session import CONNECTION_COMMANDS, Connection, Request

Handler = Callable[[Request], bytes | None]


@dataclass
class _Rule:
    handler: Handler
    times: int | None


class ScriptedServer(Habits):
    """The server. It listens until :meth:`stop`; public attributes may be set at any time.

    What it offers and how it behaves are the attributes of :class:`Habits`. `security` is ``plaintext``,
    ``tls`` or ``starttls``; the latter two need a `certificate`. ``starttls`` is the outcome of an upgrade:
    ``good``, ``refuse`` (NO), ``inject`` (more plaintext after the OK) or ``drop`` (close).
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        capabilities: bytes = CAPABILITIES,
        greeting: bytes | None = b"* OK ready",
        security: str = "plaintext",
        certificate: Certificate | None = None,
        latency: float = 0.0,
    ) -> None:
        super().__init__(capabilities=capabilities, greeting=greeting, latency=latency)
        self.security = security
        self.certificate = certificate
        self.starttls = "good"
        self.injected = b"* CAPABILITY IMAP4rev1 X-INJECTED\r\n"
        self.journal = Journal()
        self.accounts: dict[str, Account] = {}
        self.stopping = threading.Event()
        self._rules: dict[str, list[_Rule]] = {}
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self._numbers, self._users = count(1), count(1)
        self._listener = socket.create_server((self.host, 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def new_user(self, name: str | None = None, password: str | None = None) -> Account:
        """Add a user with an empty INBOX."""
        name = name or f"user{next(self._users)}@scripted.test"
        account = Account(name, planted.keep(password or secrets.token_urlsafe(18)))
        self.accounts[name] = account
        return account

    # -- rules of a test -------------------------------------------------------------------------------

    def on(self, name: bytes | str, handler: Handler | bytes, times: int | None = None) -> None:
        """Let `handler` answer the next `times` commands of this name (``"UID FETCH"``), or all of them.

        The newest rule counts. A handler of bytes is the tagged response: ``b"NO [INUSE] later"``.
        """
        rule = _Rule(_tagged(handler) if isinstance(handler, bytes) else handler, times)
        with self._lock:
            self._rules.setdefault(_name(name), []).append(rule)

    def off(self, name: bytes | str) -> None:
        """Answer this command honestly again."""
        with self._lock:
            self._rules.pop(_name(name), None)

    def inject(self, name: bytes | str, untagged: bytes, times: int | None = 1) -> None:
        """Send untagged lines before the honest answer: ``inject("NOOP", b"* 9 EXISTS\\r\\n")``."""
        self.on(name, lambda request: untagged + request.default(), times)

    def push(self, data: bytes) -> None:
        """Send bytes to every connected client."""
        for connection in self._open():
            connection.push(data)

    def bye(self, text: bytes = b"Session expired", user: Account | None = None) -> None:
        """Say BYE to every connected client, or to those of a user, and close."""
        for connection in self.connections(user):
            connection.bye(text)

    def end_expired(self) -> int:
        """End the sessions whose tokens have ended, as a server does by itself; returns how many."""
        over = [connection for connection in self._open() if connection.is_over]
        for connection in over:
            connection.bye(self.token_farewell)
        return len(over)

    def connections(self, user: Account | None = None) -> list[Connection]:
        """Return the clients that are connected, or those that are logged in as a user."""
        return [connection for connection in self._open() if user in (None, connection.account)]

    def parked(self, user: Account | None = None) -> list[Connection]:
        """Return the connections that listen: in IDLE, or by NOTIFY with nothing selected and no command.

        A client may have the answer a moment before its connection is one of them: use ``wait_until``.
        """
        return [connection for connection in self.connections(user) if connection.is_listening]

    @property
    def speaking_conflicts(self) -> list[Conflict]:
        """Commands that came while another connection of the user had one in flight, or during IDLE."""
        self.note_the_gone()
        return self.journal.conflicts()

    def disconnect(self) -> None:
        """Close every connection; new ones are accepted."""
        for connection in self._open():
            connection.stop()

    def handler(self, name: str) -> Handler:
        """Return the handler of the next command of this name, and count that command."""
        with self._lock:
            rules = self._rules.get(name, [])
            while rules:
                rule = rules[-1]
                if rule.times is None:
                    return rule.handler
                rule.times -= 1
                if rule.times >= 0:
                    return rule.handler
                rules.pop()
        return CONNECTION_COMMANDS.get(name, Request.default)

    @property
    def open_connections(self) -> int:
        """How many clients are connected."""
        return len(self._open())

    def note_the_gone(self) -> None:
        """Record in the journal which clients have closed; their threads may notice it late."""
        for connection in self._open():
            if connection.stream.is_gone():
                self.journal.close(connection.number)

    # -- connections -----------------------------------------------------------------------------------

    def _open(self) -> list[Connection]:
        with self._lock:
            return [connection for connection in self._connections if connection.thread.is_alive()]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self.stopping.is_set():
                sock.close()
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock, next(self._numbers))
            with self._lock:
                self._connections.append(connection)
            connection.thread.start()

    def stop(self) -> None:
        """Close everything and wait for the threads."""
        self.stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self._thread.join(5)
        for connection in self._open():
            connection.stop()
            connection.thread.join(5)


def _tagged(text: bytes) -> Handler:
    return lambda request: request.tagged(text)


def _name(name: bytes | str) -> str:
    return (name.decode() if isinstance(name, bytes) else name).upper()
