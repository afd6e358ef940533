"""A TCP proxy that can go deaf, slow down or break, like a real network.

It listens on a loopback port and forwards to another port or a Unix socket; tests may change it at any time.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

_POLL = 0.02


class Proxy:
    """Forwards to `target`: ``("127.0.0.1", 143)`` or the path of a Unix socket.

    While ``deaf``, connections stay up, new ones are accepted, and no byte passes. After :meth:`lose_links`,
    only the connections of that moment are deaf, for ever. While ``refusing``, new connections are closed at
    once and counted in ``refused``.

    ``round_trip`` is how many seconds a piece of data and its answer are on the way, half in each direction;
    pieces do not wait for each other. ``delay`` is how many seconds each piece takes, one after another.
    ``sent_up`` and ``sent_down`` count the bytes forwarded to the target and to the clients. ``on_piece`` is
    called in the link's thread before each piece of data to the target, with the number of the link, from 0;
    the target gets the piece after the call.
    """

    host = "127.0.0.1"

    def __init__(self, target: tuple[str, int] | str) -> None:
        self.target = target
        self.deaf = False
        self.refusing = False
        self.refused = 0
        self.delay = 0.0
        self.round_trip = 0.0
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
        """Reset the connections once `count` more bytes have gone to clients; new ones work again."""
        with self._lock:
            self._cut_at = self.sent_down + count

    def lose_links(self) -> int:
        """Let nothing pass through the connections of now any more, as a NAT that forgot them.

        Returns how many there are. Both sides may still send: the kernel acknowledges it, and nobody gets it.
        New connections work.
        """
        links = self._open()
        for link in links:
            with link.passing:
                link.is_lost = True
        return len(links)

    def reset(self) -> None:
        """Break all connections with a TCP reset; afterwards no byte passes through them."""
        self._end("reset")

    def reset_link(self, number: int) -> None:
        """Break the connection with this number, as ``on_piece`` counts them, without waiting."""
        with self._lock:
            link = self._links[number]
        link.end("reset")

    def close_connections(self) -> None:
        """End all connections in order, and wait until both sides have read end of file."""
        self._end("close")

    def _end(self, how: str) -> None:
        links = self._open()
        for link in links:
            link.end(how)
        for link in links:
            # a link that cuts itself ends the others too; then no link waits for another
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
        """Return how many of `size` bytes may go to a client now, and count them."""
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
        # without this, the second of two pieces waits 40 ms
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ending: str | None = None
        self.is_lost = False
        self.passing = threading.RLock()
        self._on_the_way: deque[tuple[float, socket.socket, bytes]] = deque()
        self.thread = _LinkThread(target=self._run, daemon=True)

    def end(self, how: str) -> None:
        """Make the thread end the link, by ``reset`` or ``close``."""
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
        reading = [self._client, target]
        while (reading or self._on_the_way or self.is_lost) and not self._ending:
            if self._proxy.deaf or self.is_lost:
                self._swallow(reading)
                continue
            left = self._on_the_way[0][0] - time.monotonic() if self._on_the_way else _POLL
            readable = select.select(reading, [], [], max(0.0, min(_POLL, left)))[0]
            with self.passing:
                if not self.is_lost and not self._pass_on(readable, reading, target):
                    return

    def _pass_on(
        self, readable: list[socket.socket], reading: list[socket.socket], target: socket.socket
    ) -> bool:
        for source in readable:
            data = self._read(source)
            if data is None:
                return False
            if not data:
                reading.remove(source)
            self._on_the_way.append((time.monotonic() + self._proxy.round_trip / 2, source, data))
        while self._on_the_way and self._on_the_way[0][0] <= time.monotonic():
            _, source, data = self._on_the_way.popleft()
            down = source is target
            self._forward(data, self._client if down else target, down)
        return True

    def _swallow(self, reading: list[socket.socket]) -> None:
        time.sleep(_POLL)
        if not self.is_lost:
            return
        self._on_the_way.clear()
        for source in select.select(reading, [], [], 0)[0]:
            with contextlib.suppress(OSError):
                if source.recv(65536):
                    continue
            reading.remove(source)

    def _read(self, source: socket.socket) -> bytes | None:
        try:
            return source.recv(65536)
        except ConnectionError:
            self.end("reset")
            return None

    def _forward(self, data: bytes, sink: socket.socket, down: bool) -> None:
        if not data:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
            return
        if self._proxy.delay:
            time.sleep(self._proxy.delay)
        if not down:
            self._proxy.on_piece(self._number)
            self._proxy.sent_up += len(data)
            sink.sendall(data)
            return
        allowed = self._proxy.allowed(len(data))
        sink.sendall(data[:allowed])
        if allowed < len(data):
            self._proxy.reset()


def _connect(target: tuple[str, int] | str) -> socket.socket:
    if isinstance(target, tuple):
        connected = socket.create_connection(target, timeout=10)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(target)
    return sock


def postgres_target(url: str) -> tuple[tuple[str, int] | str, str]:
    """Return the address in a Postgres URL, and the URL with ``{host}:{port}`` in its place for a proxy."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    host = query.get("host", [parts.hostname or "127.0.0.1"])[0]
    port = int(query.get("port", [parts.port or 5432])[0])
    user = parts.netloc.rpartition("@")[0] or "postgres"
    target = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
    return target, f"postgresql://{user}@{{host}}:{{port}}{parts.path}"
