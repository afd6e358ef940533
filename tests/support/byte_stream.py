"""The bytes of one client of the scripted server, for its thread and for those that send unasked."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque


class Disconnected(Exception):
    """The connection has ended; ends its thread."""


class ByteStream:
    """A socket with a buffer. Any thread may send; one thread reads."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self._socket = sock
        self._stopping = stopping
        self._buffer = b""
        self._received = self._consumed = 0
        self._arrivals: deque[tuple[int, float]] = deque()
        # OpenSSL must not read and write at once
        self._using_socket = threading.RLock()

    def send(self, data: bytes) -> None:
        """Send all bytes; raises Disconnected if the client is gone."""
        try:
            with self._using_socket:
                self._socket.sendall(data)
        except OSError:
            raise Disconnected from None

    @property
    def has_unread(self) -> bool:
        """Whether bytes have been received that nobody has read."""
        return bool(self._buffer)

    def exactly(self, size: int) -> bytes:
        """Return the next bytes, this many."""
        while len(self._buffer) < size:
            self._receive()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        self._consumed += size
        return data

    def line(self) -> bytes:
        """Return the next line with its end."""
        while b"\r\n" not in self._buffer:
            self._receive()
        return self.exactly(self._buffer.index(b"\r\n") + 2)

    def wait(self, seconds: float | None) -> None:
        """Wait for some seconds, or without limit; raises Disconnected when the client or the server ends."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            left = 0.05 if until is None else max(0.0, min(0.05, until - time.monotonic()))
            if self._stopping.is_set():
                raise Disconnected
            if self._is_readable(left):
                self._receive()

    def arrived_at(self) -> float:
        """Return the monotonic time at which the last byte came that was read so far."""
        while len(self._arrivals) > 1 and self._arrivals[0][0] < self._consumed:
            self._arrivals.popleft()
        return self._arrivals[0][1] if self._arrivals else time.monotonic()

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Do the TLS handshake; raises Disconnected if it fails."""
        self._buffer, self._consumed = b"", self._received
        try:
            self._socket = context.wrap_socket(self._socket, server_side=True)
        except OSError:
            raise Disconnected from None

    def is_gone(self) -> bool:
        """Whether the client has closed its end; bytes of it may still be unread."""
        return bool(self._events(select.POLLRDHUP, 0))

    def reset(self) -> None:
        """Make the coming close a TCP reset."""
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def stop(self) -> None:
        """Shut the socket down, so that its reader ends."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _events(self, events: int, seconds: float | None) -> int:
        poll = select.poll()  # select() does not know descriptors above 1023
        try:
            poll.register(self._socket, events)
        except ValueError:  # closed
            return select.POLLNVAL
        return sum(found for _, found in poll.poll(None if seconds is None else seconds * 1000))

    def _is_readable(self, seconds: float | None) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(self._events(select.POLLIN, seconds))

    def _receive(self) -> None:
        self._is_readable(None)
        try:
            with self._using_socket:
                data = self._socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Disconnected
        self._buffer += data
        self._received += len(data)
        self._arrivals.append((self._received, time.monotonic()))
