"""The process behind ``crowd_server.py``: one thread serves many clients by a selector.

It knows the commands of the scripted server and answers them honestly. Each line of its control socket is the
name of a method of :class:`Control` and its arguments, in JSON, and is answered by a line.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import resource
import selectors
import socket
import ssl
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.certificates import Certificate
from tests.support.crowd_client import Client
from tests.support.habits import Habits
from tests.support.mailboxes import Account

_ACCEPTED_AT_ONCE = 20


class Crowd(Habits):
    """The server: users, clients and the loop."""

    def __init__(self, habits: Habits, certificate: Certificate | None) -> None:
        super().__init__()
        self.adopt(habits)
        self.accounts: dict[str, Account] = {}
        self.commands: Counter[str] = Counter()
        self.logins: Counter[str] = Counter()
        self.refusals: dict[str, bytes] = {}
        self.conflicts = 0
        self.clients: set[Client] = set()
        self._context = certificate.context() if certificate else None
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waiting: list[tuple[float, int, Client]] = []
        self._order = count()

    def run(self, control: Control) -> None:
        """Serve until the control socket is closed."""
        self._selector.register(control.sock, selectors.EVENT_READ)
        while not control.is_over:
            left = self._waiting[0][0] - time.monotonic() if self._waiting else None
            for key, events in self._selector.select(left if left is None else max(0.0, left)):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is control.sock:
                    control.handle()
                elif key.data in self.clients:
                    if events & selectors.EVENT_WRITE:
                        self.flush(key.data)
                    if events & selectors.EVENT_READ:
                        self._read(key.data)
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                client = heapq.heappop(self._waiting)[2]
                if client in self.clients:
                    client.answer(client.due.popleft()[1])

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            if self._context:
                sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            client = Client(self, sock)
            self.clients.add(client)
            self._selector.register(sock, selectors.EVENT_READ, client)
            if not client.is_shaking_hands:
                self._greet(client)

    def _greet(self, client: Client) -> None:
        if self.greeting is not None:
            client.send(self.greeting + b"\r\n")

    def _read(self, client: Client) -> None:
        try:
            if client.is_shaking_hands:
                assert isinstance(client.sock, ssl.SSLSocket)
                client.sock.do_handshake()
                client.is_shaking_hands = False
                self._greet(client)
            data = client.sock.recv(65536)
            while isinstance(client.sock, ssl.SSLSocket) and client.sock.pending():
                data += client.sock.recv(65536)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return
        except OSError:
            data = b""
        if not data:
            self.close(client)
            return
        client.feed(data)
        if client.account:
            peers = (watcher.__self__ for watcher in client.account.watchers)  # type: ignore[attr-defined]
            self.conflicts += any(peer is not client and peer.due for peer in peers)
        if self.latency:
            due = time.monotonic() + self.latency
            client.due.append((due, client.received))
            heapq.heappush(self._waiting, (due, next(self._order), client))
        else:
            client.answer(client.received)

    def flush(self, client: Client) -> None:
        """Send what can be sent; the rest goes when the client has read."""
        try:
            while client.unsent:
                client.unsent = client.unsent[client.sock.send(client.unsent) :]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except OSError:
            self.close(client)
            return
        if client.is_closing and not client.unsent:
            self.close(client)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.unsent else 0)
        if self._selector.get_key(client.sock).events != events:
            self._selector.modify(client.sock, events, client)

    def close(self, client: Client) -> None:
        """Close one client's connection."""
        if client in self.clients:
            self.clients.remove(client)
            client.log_out()
            self._selector.unregister(client.sock)
            client.sock.close()


class Control:
    """What the tests may ask of the server; arguments and results are JSON."""

    def __init__(self, crowd: Crowd, sock: socket.socket) -> None:
        self.sock, self.is_over = sock, False
        self._crowd = crowd
        self._file = sock.makefile("rwb")

    def handle(self) -> None:
        """Read one request and answer it."""
        line = self._file.readline()
        if not line:
            self.is_over = True
            return
        request = json.loads(line)
        try:
            answer = {"result": getattr(self, request["method"])(**request["arguments"])}
        except Exception as error:
            answer = {"error": repr(error)}
        self._file.write(json.dumps(answer).encode() + b"\n")
        self._file.flush()

    def add_users(
        self, users: dict[str, str], folders: list[list[str]], messages: int, raws: list[str]
    ) -> None:
        """Add users, by name and password, with these folders (name, attributes) and messages in each."""
        for name, password in users.items():
            account = self._crowd.accounts[name] = Account(name, password)
            for path, *attributes in folders:
                if path != "INBOX":
                    account.create(path, *(word.encode() for word in attributes))
            for folder in account.folders.values():
                for n in range(messages):
                    folder.add(raws[n % len(raws)].encode())

    def deliver(self, users: list[str], folder: str, raw: str) -> float:
        """Add one message for each user; returns the monotonic time before the first one."""
        began = time.monotonic()
        for user in users:
            self._crowd.accounts[user].folder(folder).add(raw.encode())
        return began

    def change(self, user: str, folder: str, method: str, arguments: list[Any]) -> None:
        """Call a method of a folder: set_flags, expunge, renumber."""
        words = (word.encode() if isinstance(word, str) else word for word in arguments)
        getattr(self._crowd.accounts[user].folder(folder), method)(*words)

    def change_names(self, user: str, method: str, names: list[str]) -> None:
        """Call a method of an account: create, delete, rename."""
        getattr(self._crowd.accounts[user], method)(*names)

    def cut(self, text: str | None) -> int:
        """Close every connection, after BYE if there is a text; returns how many."""
        clients = list(self._crowd.clients)
        for client in clients:
            if text is not None:
                client.send(b"* BYE %s\r\n" % text.encode())
            self._crowd.close(client)
        return len(clients)

    def refuse(self, name: str, text: str | None) -> None:
        """Answer the commands of this name by a tagged NO or BAD; honestly again without a text."""
        self._crowd.refusals.pop(name, None)
        if text is not None:
            self._crowd.refusals[name] = text.encode()

    def set_latency(self, seconds: float) -> None:
        """Change the round trip."""
        self._crowd.latency = seconds

    def figures(self) -> dict[str, Any]:
        """Return what was counted since the last :meth:`forget`, and how many clients there are now."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "commands": self._crowd.commands,
            "logins": self._crowd.logins,
            "connections": len(self._crowd.clients),
            "parked": sum(client.is_listening for client in self._crowd.clients),
            "conflicts": self._crowd.conflicts,
            "cpu": usage.ru_utime + usage.ru_stime,
        }

    def forget(self) -> None:
        """Begin to count at 0 again."""
        self._crowd.commands.clear()
        self._crowd.logins.clear()
        self._crowd.conflicts = 0


def main(descriptor: int) -> None:
    """Serve; the first line of the control socket says how."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sock = socket.socket(fileno=descriptor)
    options = json.loads(sock.makefile("rb", buffering=0).readline())
    habits = Habits(
        **{
            name: value.encode() if isinstance(value, str) else value
            for name, value in options["habits"].items()
        }
    )
    files = options["certificate"]
    crowd = Crowd(habits, Certificate(*map(Path, files)) if files else None)
    sock.sendall(json.dumps({"result": crowd.port}).encode() + b"\n")
    crowd.run(Control(crowd, sock))


if __name__ == "__main__":
    main(int(sys.argv[1]))
