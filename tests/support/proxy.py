"""A TCP proxy that can be made deaf, slow, or broken: networks as they are.

It stands on a loopback port in front of another port or a Unix socket; tests turn its screws at any time.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

_POLL = 0.02


class Proxy:
    """Forwards to `target`: ``("127.0.0.1", 143)`` or the path of a Unix socket.

    ``deaf`` True: connections stay up, new ones are accepted, and no byte passes. ``refusing`` True: new
    connections are closed at once, and counted in ``refused``. ``delay``: seconds that each piece of data
    waits, in either direction. ``sent_up`` and ``sent_down`` count the bytes passed on to the target and to
    the clients. ``on_piece``: called with the number of the link, from 0, before each piece of data that goes
    to the target, in the link's own thread; whatever it does is done when the target gets the piece.
    """

    host = "127.0.0.1"

    def __init__(self, target: tuple[str, int] | str) -> None:
        self.target = target
        self.deaf = False
        self.refusing = False
        self.refused = 0
        self.delay = 0.0
        self.on_piece: Callable[[int], None] = lambda link: None
        self.sent_up = 0
        self.sent_down = 0
        self._cut_at: int | None = None
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._listener = socket.create_server((self.host, 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut_after(self, count: int) -> None:
        """Reset the connections as soon as `count` more bytes have gone to clients; new ones work again."""
        with self._lock:
            self._cut_at = self.sent_down + count

    def reset(self) -> None:
        """Break all connections with a TCP reset; when it returns, nothing passes through them any more."""
        self._end("reset")

    def reset_link(self, number: int) -> None:
        """Break the connection of this number, as ``on_piece`` counts them; does not wait."""
        with self._lock:
            link = self._links[number]
        link.end("reset")

    def close_connections(self) -> None:
        """End all connections in order: both sides read end of file; returns when that is so."""
        self._end("close")

    def _end(self, how: str) -> None:
        links = self._open()
        for link in links:
            link.end(how)
        for link in links:
            # one of them may be the caller: a cut ends the others too, and none waits for another then
            if not isinstance(threading.current_thread(), _LinkThread):
                link.thread.join(5)

    @property
    def open_connections(self) -> int:
        """How many clients are connected through it."""
        return len(self._open())

    def stop(self) -> None:
        """Close everything and wait for the threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self._thread.join(5)
        self._end("close")

    def _open(self) -> list[_Link]:
        with self._lock:
            return [link for link in self._links if link.thread.is_alive()]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                self.refused += 1
                continue
            with self._lock:
                link = _Link(self, client, len(self._links))
                self._links.append(link)
            link.thread.start()

    def allowed(self, size: int) -> int:
        """How many of so many bytes may go to a client now; counts them."""
        with self._lock:
            if self._cut_at is not None and self.sent_down + size >= self._cut_at:
                size, self._cut_at = self._cut_at - self.sent_down, None
                self.sent_down += size
                return size
            self.sent_down += size
            return size


class _LinkThread(threading.Thread):
    """The thread of one client."""


class _Link:
    """One client and its connection to the target, served by one thread."""

    def __init__(self, proxy: Proxy, client: socket.socket, number: int) -> None:
        self._proxy = proxy
        self._number = number
        self._client = client
        # the second of two pieces waits 40 ms else
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ending: str | None = None
        self.thread = _LinkThread(target=self._run, daemon=True)

    def end(self, how: str) -> None:
        """Let the thread end it: ``reset`` or ``close``."""
        self._ending = self._ending or how

    def _run(self) -> None:
        with self._client, contextlib.suppress(OSError):
            while self._proxy.deaf and not self._ending:
                time.sleep(_POLL)
            with _connect(self._proxy.target) as target:
                self._pump(target)
            if self._ending == "reset":
                self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _pump(self, target: socket.socket) -> None:
        other = {self._client: target, target: self._client}
        reading = [self._client, target]
        while reading and not self._ending:
            if self._proxy.deaf:
                time.sleep(_POLL)
                continue
            for source in select.select(reading, [], [], _POLL)[0]:
                if not self._pass_on(source, other[source], down=source is target):
                    reading.remove(source)

    def _pass_on(self, source: socket.socket, sink: socket.socket, down: bool) -> bool:
        try:
            data = source.recv(65536)
        except ConnectionError:
            self.end("reset")
            return False
        if not data:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
            return False
        if self._proxy.delay:
            time.sleep(self._proxy.delay)
        if not down:
            self._proxy.on_piece(self._number)
            self._proxy.sent_up += len(data)
            sink.sendall(data)
            return True
        allowed = self._proxy.allowed(len(data))
        sink.sendall(data[:allowed])
        if allowed < len(data):
            self._proxy.reset()
        return True


def _connect(target: tuple[str, int] | str) -> socket.socket:
    if isinstance(target, tuple):
        connected = socket.create_connection(target, timeout=10)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(target)
    return sock


def postgres_target(url: str) -> tuple[tuple[str, int] | str, str]:
    """Where a Postgres URL leads, and the URL with ``{host}:{port}`` for a proxy's own address."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = query.get("host", [parts.hostname or "127.0.0.1"])[0]
    port = int(query.get("port", [parts.port or 5432])[0])
    user = parts.netloc.rpartition("@")[0] or "postgres"
    target = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
    return target, f"postgresql://{user}@{{host}}:{{port}}{parts.path}"
