"""Connections that wait for their client: the worker's main loop holds them, and no thread does.

gunicorn's ``gthread`` gives a connection to a thread as soon as it says something, and that thread waits for
the rest of the head. It also closes connections in its main loop, where it waits for the client to close its
side. Here the main loop reads heads without waiting, and a connection gets a thread when its head is whole.
"""

from __future__ import annotations

import errno
import inspect
import logging
import re
import socket
import struct
import time
from dataclasses import dataclass, field
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import gunicorn  # type: ignore[import-untyped]
from gunicorn import http
from gunicorn.http.errors import LimitRequestHeaders, ParseException  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]
from werkzeug.exceptions import RequestTimeout

from mailsync.errors import ConfigError

log = logging.getLogger(__name__)

HEAD = 10.0
"""Seconds from the connection, or from the answer before, in which the head of a request has to be whole."""

BODY = 30.0
"""Seconds in which a thread reads the whole body of a request."""

STALLED = 20
"""Seconds in which a client has to take something of an answer."""

MAX_HEAD = 64 << 10
"""Bytes of a request line and all its headers."""

_AT_ONCE = 8
_LINGER = 2.0
_MAX_DISCARDED = 64 << 10
# An empty line, or a line that ends with LF alone, which gunicorn refuses as soon as it sees it. Python looks
# for a pattern that begins with one byte many times as fast as for two that begin differently.
_END_OF_HEAD = re.compile(rb"\n(?:\r\n|(?<!\r\n))")


class HeadTimeout(ParseException):  # type: ignore[misc]
    """The head of a request has begun but is not whole after ``HEAD`` seconds."""

    def __str__(self) -> str:
        return f"the head was not whole after {HEAD:g} s"


class _Source:
    """A socket as gunicorn's parser reads it: without waiting, or in a thread until a deadline."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.deadline: float | None = None

    def recv(self, size: int) -> bytes:
        """Read `size` bytes of a body at most, or what is there of a head. Raises RequestTimeout if late."""
        if self.deadline is None:
            return self._sock.recv(MAX_HEAD)
        left = self.deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            return self._sock.recv(size)
        except TimeoutError:
            raise RequestTimeout(f"The body was not whole within {BODY:g} s.") from None
        finally:
            self._sock.settimeout(None)


@dataclass
class _Held:
    """A connection that is held: since when, the bytes of its head, and how many bytes were discarded."""

    since: float = field(default_factory=time.monotonic)
    data: bytearray = field(default_factory=bytearray)
    discarded: int = 0


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """``gthread``, but a client costs a thread only while its request, whose head is whole, is answered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # both are in order of age
        self._heads: dict[Any, _Held] = {}
        self._closing: dict[Any, _Held] = {}
        self._room = max(self.max_keepalived, self.worker_connections // 2)

    def accept(self, listener: Any) -> None:
        """Gunicorn's, several times in a row, because many connections are read between two rounds.

        Without a free file descriptor fewer connections are held from now on.
        """
        try:
            for _ in range(_AT_ONCE):
                before = self.nr_conns
                super().accept(listener)
                if self.nr_conns in (before, self.worker_connections):
                    break
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._room = max(self.cfg.threads, self.nr_conns - self.cfg.threads)
            log.warning("Too many open files: at most %d connections are held from now on", self._room)

    def enqueue_req(self, conn: Any) -> None:
        """Hold a new connection, or one that was answered, until it has sent a whole head."""
        if conn.parser is None:
            conn.parser = http.get_parser(self.cfg, _Source(conn.sock), conn.client)
            # so that gunicorn does not wait for data in the thread
            conn.data_ready = True
            # by the kernel, since gunicorn resets Python's own timeout
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", STALLED, 0))
        conn.parser.unreader.sock.deadline = None
        conn.sock.setblocking(False)
        self._heads[conn] = _Held()
        self.poller.register(conn.sock, EVENT_READ, partial(self._read_head, conn))
        self._read_head(conn, conn.sock)

    def _read_head(self, conn: Any, sock: Any) -> None:
        held = self._heads[conn]
        try:
            piece = conn.parser.unreader.read()
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        searched = max(0, len(held.data) - 3)
        held.data += piece
        if not piece:
            del self._heads[conn]
            self._drop(conn)
        elif _END_OF_HEAD.search(held.data, searched):
            # it waits until it can write, in case the client has not yet read earlier answers
            self.poller.modify(sock, EVENT_WRITE, partial(self._start, conn))
        elif len(held.data) > MAX_HEAD:
            self._refuse(conn, LimitRequestHeaders(f"the head is longer than {MAX_HEAD} bytes"))

    def _start(self, conn: Any, sock: Any) -> None:
        conn.parser.unreader.unread(bytes(self._heads.pop(conn).data))
        self.poller.unregister(sock)
        super().enqueue_req(conn)

    def _refuse(self, conn: Any, why: Exception) -> None:
        del self._heads[conn]
        self.poller.unregister(conn.sock)
        self.handle_error(None, conn.sock, conn.client, why)
        self._close(conn)

    def handle(self, conn: Any) -> Any:
        """Gunicorn's, in a thread; the body has to come in time."""
        conn.parser.unreader.sock.deadline = time.monotonic() + BODY
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Gunicorn's; the connection is closed after an answer that left a part of the body unread.

        The rest of the body would hold the thread, or be taken for the next request.
        """
        wants_to_close = req.should_close
        req.should_close = lambda: wants_to_close() or not _is_read(req.body.reader)
        try:
            return super().handle_request(req, conn)
        except (TimeoutError, BlockingIOError) as error:
            raise ConnectionResetError(errno.ECONNRESET, "it took nothing of its answer") from error

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Gunicorn's, but the main loop does not wait for a client that has to close its side."""
        if fs.cancelled() or fs.exception() or not fs.result():
            self._close(conn)
        else:
            super().finish_request(conn, fs)

    def _close(self, conn: Any) -> None:
        # a client that still sends would lose the answer if the socket were closed at once (RFC 9112, 9.6)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, EVENT_READ, partial(self._discard, conn))
        except (OSError, ValueError):
            self.nr_conns -= 1
            conn.close()
        else:
            self._closing[conn] = _Held()

    def _discard(self, conn: Any, sock: Any) -> None:
        held = self._closing[conn]
        try:
            piece = sock.recv(_MAX_DISCARDED)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        held.discarded += len(piece)
        if not piece or held.discarded > _MAX_DISCARDED:
            del self._closing[conn]
            self._drop(conn)

    def murder_pending(self) -> None:
        """Close what took too long, and the oldest of those that wait when there are too many.

        gunicorn calls it after the events of each round, so none of those is about a closed connection.
        """
        super().murder_pending()
        now = time.monotonic()
        while conn := _older(self._heads, now - (HEAD if self.alive else _LINGER)):
            if self._heads[conn].data:
                self._refuse(conn, HeadTimeout())
            else:
                del self._heads[conn]
                self._drop(conn)
        while conn := _older(self._closing, now - _LINGER):
            del self._closing[conn]
            self._drop(conn)
        while self.nr_conns > self._room:
            # from the largest crowd, so that one kind of clients does not crowd out the others
            crowd: Any = max(self._heads, self.keepalived_conns, self._closing, key=len)
            if len(crowd) <= self.cfg.threads:
                break  # most connections wait for a thread, so a new one has to wait to be accepted
            conn = next(iter(crowd))
            crowd.popleft() if crowd is self.keepalived_conns else crowd.pop(conn)
            self._drop(conn)

    def _drop(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def check_hooks(worker: type, base: type = ThreadWorker) -> None:
    """Raise ConfigError if a method that `worker` overrides is not one of `base` with the same parameters.

    Such a release of gunicorn would never call it, and its limits would silently be missing.
    """
    ours = [kind for kind in worker.__mro__ if kind not in base.__mro__]
    for name in sorted({name for kind in ours for name in vars(kind) if not name.startswith("_")}):
        wanted = _parameters(getattr(worker, name))
        if _parameters(getattr(base, name, None)) != wanted:
            raise ConfigError(
                f"gunicorn {gunicorn.__version__}: its threaded worker has no method {name}({wanted}),"
                " by which mailsync limits clients; install a release that mailsync was tested with"
            )


def _parameters(method: Any) -> str | None:
    return ", ".join(inspect.signature(method).parameters) if callable(method) else None


def _older(held: dict[Any, _Held], than: float) -> Any:
    """The oldest connection, if it has been held since before `than`."""
    conn = next(iter(held), None)
    return conn if conn and held[conn].since < than else None


def _is_read(reader: Any) -> bool:
    """Whether nothing of a body is left: of a known length, or of chunks."""
    return not getattr(reader, "length", 0) and getattr(reader, "parser", None) is None
