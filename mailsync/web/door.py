"""Where connections wait until they have said what they want: gunicorn's threads get whole requests only.

A thread that reads from a client waits as long as the client likes, and sixteen slow ones would be all that a
process has (Slowloris). So one thread here gathers what all of them say, without waiting for any, and lets
those in whose request has come. What a request is, and whether it is one, is decided by gunicorn alone, from
the same bytes; a wrong guess here costs no more than time, and that is bounded.

It also waits for clients to close after the last answer (RFC 9112 §9.6); gunicorn's main loop does so itself.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import select
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

SILENT = 10.0
"""Seconds that a new connection may say nothing."""
WITHIN = 20.0
"""Seconds from the first byte of a request in which it must be whole."""
LINGER = 2.0
"""Seconds in which a client may take the last answer and close."""
SWALLOWED = 4 << 20
"""Bytes that it may still send meanwhile, so that who sends too much can read why that is refused."""
HELD = 16 << 20
"""Bytes that are gathered at most; above that requests are let in as they are."""
MOST = 500
"""How many may wait here; for one more the one that has waited for longest must go."""
UNTAKEN = 40.0
"""Seconds that an answer may lie unread before its client is taken for gone (``TCP_USER_TIMEOUT``)."""

_FRAMING = re.compile(rb"\r\n(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_PIECE = 1 << 16


@dataclass(slots=True)
class _Leaving:
    """A client that has its answer: how long it may stay, and how much it may say."""

    until: float
    left: int


class _Guest:
    """A connection whose request is being gathered."""

    def __init__(self, conn: Any, until: float) -> None:
        self.conn = conn
        self.until = until
        parser = getattr(conn, "parser", None)
        # the beginning of it may have come together with the request before
        early = parser.unreader.read() if parser and parser.unreader.buf.getvalue() else b""
        self.data = bytearray(early)
        self.is_heard = False
        self._head = 0

    def has_said_all(self, limits: tuple[int, int]) -> bool | None:
        """True for a whole request, False for one that goes on, None where it cannot be told.

        `limits` are bytes of head and body above which nothing of it will be taken anyway.
        """
        most_head, most_body = limits
        if not self._head:
            end = self.data.find(b"\r\n\r\n")
            if end <= 0:
                return None if not end or len(self.data) > most_head else False
            self._head = end + 4
        framing = _FRAMING.findall(self.data, 0, self._head)
        if not framing:
            return True
        name, length = framing[0]
        if len(framing) > 1 or name.lower() == b"expect":
            return None
        if name.lower() == b"content-length":
            wanted = int(length) if length.isdigit() and len(length) < 20 else -1
            if not 0 <= wanted <= most_body:
                return None
            return len(self.data) >= self._head + wanted
        if length.strip().lower() != b"chunked":
            return None
        ended = self.data.find(b"\r\n0\r\n", self._head - 2) >= 0
        return None if ended or len(self.data) > self._head + most_body else False


def _takes_answers(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return bool(poll.poll(0))


class Door(threading.Thread):
    """The thread; `admit` hands a connection to gunicorn's threads. ``limits`` as of :class:`_Guest`."""

    def __init__(self, admit: Callable[[Any], None], limits: tuple[int, int]) -> None:
        super().__init__(name="door", daemon=True)
        self._admit_to = admit
        self._limits = limits
        self._said: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._bell, self._wire = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._wire, False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._guests: dict[socket.socket, _Guest] = {}
        self._leaving: dict[socket.socket, _Leaving] = {}
        self._unsure: dict[socket.socket, float] = {}
        self._held = 0
        self._closing = False

    # -- for other threads ----------------------------------------------------------------------------

    def receive(self, conn: Any) -> None:
        """Take a connection that will say something."""
        self._tell(lambda: self._sit(conn))

    def is_unsure(self, conn: Any) -> bool:
        """Whether it was let in although more of its request may come."""
        return conn.sock in self._unsure

    def has_answered(self, conn: Any, *, stays: bool) -> None:
        """The request is done; unless it `stays`, see it off: its socket is closed here."""
        self._unsure.pop(conn.sock, None)
        if not stays:
            conn.close = lambda graceful=False: None
            self._tell(lambda: self._see_off(conn.sock))

    def close(self) -> None:
        """The process ends: wait for nobody who has not said anything."""
        self._closing = True
        self._tell(lambda: None)

    def _tell(self, what: Callable[[], None]) -> None:
        self._said.put(what)
        with suppress(OSError):
            os.write(self._wire, b"\0")

    # -- the thread -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the process ends."""
        while True:
            try:
                for key, _ in self._selector.select(1.0):
                    self._attend(key.fileobj)
                self._look_at_the_clock()
            except Exception:  # one connection is lost by it, and not all that are still to come
                log.exception("A connection is lost", extra={"action": "http"})

    def _attend(self, source: Any) -> None:
        if source == self._bell:
            self._listen()
        elif source in self._guests:
            guest = self._guests[source]
            self._let_in(guest) if guest.is_heard else self._hear(guest)
        elif source in self._leaving:
            self._wait_for_end(source)

    def _listen(self) -> None:
        with suppress(OSError):
            os.read(self._bell, 4096)
        with suppress(queue.Empty):
            while True:
                self._said.get_nowait()()

    def _sit(self, conn: Any) -> None:
        if len(self._guests) >= MOST:
            self._turn_away(next(iter(self._guests.values())))
        conn.sock.setblocking(False)
        if conn.sock.family in (socket.AF_INET, socket.AF_INET6):
            conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNTAKEN * 1000))
        guest = _Guest(conn, time.monotonic() + SILENT)
        self._held += len(guest.data)
        self._guests[conn.sock] = guest
        self._selector.register(conn.sock, selectors.EVENT_READ)
        self._judge(guest)

    def _hear(self, guest: _Guest) -> None:
        try:
            piece = guest.conn.sock.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            piece = b""
        if not guest.data:
            guest.until = time.monotonic() + WITHIN
        guest.data += piece
        self._held += len(piece)
        if piece:
            self._judge(guest)
        else:
            self._let_in(guest)

    def _judge(self, guest: _Guest) -> None:
        all_said = guest.has_said_all(self._limits) if guest.data else False
        if all_said is None or (not all_said and self._held > HELD):
            self._unsure[guest.conn.sock] = time.monotonic() + WITHIN
            self._let_in(guest)
        elif all_said and _takes_answers(guest.conn.sock):
            self._let_in(guest)
        elif all_said:
            # it has not read what it was answered before; no thread shall wait for that
            guest.is_heard = True
            self._selector.modify(guest.conn.sock, selectors.EVENT_WRITE)

    def _turn_away(self, guest: _Guest) -> None:
        """To gunicorn this is a client that has gone."""
        with suppress(OSError):
            guest.conn.sock.shutdown(socket.SHUT_RD)
        self._let_in(guest)

    def _let_in(self, guest: _Guest) -> None:
        conn = guest.conn
        self._selector.unregister(conn.sock)
        del self._guests[conn.sock]
        self._held -= len(guest.data)
        conn.init()
        conn.sock.setblocking(True)
        if guest.data:
            conn.parser.unreader.unread(bytes(guest.data))
        with suppress(RuntimeError):  # the threads have ended, and the process does
            self._admit_to(conn)

    def _see_off(self, sock: socket.socket) -> None:
        try:
            sock.shutdown(socket.SHUT_WR)
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        except (OSError, ValueError):
            sock.close()
        else:
            self._leaving[sock] = _Leaving(time.monotonic() + LINGER, SWALLOWED)
            if len(self._leaving) > MOST:
                self._forget(next(iter(self._leaving)))

    def _wait_for_end(self, sock: socket.socket) -> None:
        leaving = self._leaving[sock]
        try:
            piece = sock.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            piece = b""
        leaving.left -= len(piece)
        if not piece or leaving.left < 0:
            self._forget(sock)

    def _forget(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        del self._leaving[sock]
        sock.close()

    def _look_at_the_clock(self) -> None:
        now = time.monotonic()
        for guest in list(self._guests.values()):
            if now > guest.until or (self._closing and not guest.data):
                self._turn_away(guest)
        for sock, leaving in list(self._leaving.items()):
            if now > leaving.until:
                self._forget(sock)
        for sock, until in list(self._unsure.items()):
            if now > until:
                self._unsure.pop(sock, None)
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RD)
