"""Keeps slow clients from holding threads: the worker's main loop waits for them instead.

gunicorn's ``gthread`` gives a connection to a thread at its first byte, and the thread waits for the rest of
the head (the request line and headers). It also closes connections in its main loop, and waits there until
the client closes its side. Here the main loop reads heads without blocking, a connection gets a thread when
its head is complete, and closing never blocks.
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

HEAD_TIMEOUT = 10.0
"""Seconds for a complete head, counted from the connection or from the answer before."""

BODY_TIMEOUT = 30.0
"""Seconds for the complete body of a request."""

ANSWER_STALL_TIMEOUT = 20
"""Seconds that a client may read nothing of an answer; for files see ``downloads``."""

MAX_HEAD = 64 << 10
"""Most bytes of a request line with all its headers."""

_ACCEPTED_AT_ONCE = 8
_LINGER = 2.0
_MAX_DISCARDED = 64 << 10
# An empty line, or a line that ends with a bare LF, which gunicorn refuses at once. Both alternatives begin
# with the same byte, because Python searches for such a pattern many times faster.
_END_OF_HEAD = re.compile(rb"\n(?:\r\n|(?<!\r\n))")


class HeadTimeout(ParseException):  # type: ignore[misc]
    """The head of a request is still incomplete after ``HEAD_TIMEOUT`` seconds."""

    def __str__(self) -> str:
        return f"the head was incomplete after {HEAD_TIMEOUT:g} s"


class _Source:
    """The socket for gunicorn's parser: non-blocking in the main loop, with a deadline in a thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.deadline: float | None = None

    def recv(self, size: int) -> bytes:
        """Read up to `size` bytes of a body, or whatever has arrived of a head.

        Raises RequestTimeout after the deadline.
        """
        if self.deadline is None:
            return self._sock.recv(MAX_HEAD)
        remaining = self.deadline - time.monotonic()
        try:
            if remaining <= 0:
                raise TimeoutError
            self._sock.settimeout(remaining)
            return self._sock.recv(size)
        except TimeoutError:
            raise RequestTimeout(f"The body was incomplete after {BODY_TIMEOUT:g} s.") from None
        finally:
            self._sock.settimeout(None)


@dataclass
class _Waiting:
    """A connection that waits for its client: since when, its head so far, and bytes discarded."""

    since: float = field(default_factory=time.monotonic)
    head: bytearray = field(default_factory=bytearray)
    discarded: int = 0


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """``gthread``, except that a client occupies a thread only while its complete request is answered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # both are ordered by age
        self._heads: dict[Any, _Waiting] = {}
        self._closing: dict[Any, _Waiting] = {}
        self._max_waiting = max(self.max_keepalived, self.worker_connections // 2)

    def accept(self, listener: Any) -> None:
        """Accept several connections per round, because a round also reads from all those that wait.

        If the process runs out of file descriptors, it keeps fewer connections from then on.
        """
        try:
            for _ in range(_ACCEPTED_AT_ONCE):
                before = self.nr_conns
                super().accept(listener)
                if self.nr_conns in (before, self.worker_connections):
                    break
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._max_waiting = max(self.cfg.threads, self.nr_conns - self.cfg.threads)
            log.warning("Too many open files: keeping at most %d connections from now on", self._max_waiting)

    def enqueue_req(self, conn: Any) -> None:
        """Wait for a complete head on a connection that is new or was just answered."""
        if conn.parser is None:
            conn.parser = http.get_parser(self.cfg, _Source(conn.sock), conn.client)
            # so that gunicorn's thread does not wait for data
            conn.data_ready = True
            # in the kernel, because gunicorn resets Python's own timeout
            conn.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", ANSWER_STALL_TIMEOUT, 0)
            )
        conn.parser.unreader.sock.deadline = None
        conn.sock.setblocking(False)
        self._heads[conn] = _Waiting()
        self.poller.register(conn.sock, EVENT_READ, partial(self._read_head, conn))
        self._read_head(conn, conn.sock)

    def _read_head(self, conn: Any, sock: Any) -> None:
        waiting = self._heads[conn]
        try:
            piece = conn.parser.unreader.read()
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        searched = max(0, len(waiting.head) - 3)
        waiting.head += piece
        if not piece:
            del self._heads[conn]
            self._drop(conn)
        elif _END_OF_HEAD.search(waiting.head, searched):
            # start when the socket is writable: the client may not have read earlier answers yet
            self.poller.modify(sock, EVENT_WRITE, partial(self._start, conn))
        elif len(waiting.head) > MAX_HEAD:
            self._refuse(conn, LimitRequestHeaders(f"the head is longer than {MAX_HEAD} bytes"))

    def _start(self, conn: Any, sock: Any) -> None:
        conn.parser.unreader.unread(bytes(self._heads.pop(conn).head))
        self.poller.unregister(sock)
        super().enqueue_req(conn)

    def _refuse(self, conn: Any, error: Exception) -> None:
        del self._heads[conn]
        self.poller.unregister(conn.sock)
        self.handle_error(None, conn.sock, conn.client, error)
        self._close(conn)

    def handle(self, conn: Any) -> Any:
        """In a thread: answer a request, whose body has to arrive within ``BODY_TIMEOUT`` seconds."""
        conn.parser.unreader.sock.deadline = time.monotonic() + BODY_TIMEOUT
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request, and close the connection afterwards if part of the body was not read.

        The rest of the body would occupy the thread, or be parsed as the next request.
        """
        wants_to_close = req.should_close
        req.should_close = lambda: wants_to_close() or not _is_fully_read(req.body.reader)
        try:
            return super().handle_request(req, conn)
        except (TimeoutError, BlockingIOError) as error:
            raise ConnectionResetError(errno.ECONNRESET, "the client stopped reading the answer") from error

    def finish_request(self, conn: Any, fs: Any) -> None:
        """In the main loop: keep the connection or close it, without waiting for the client."""
        if fs.cancelled() or fs.exception() or not fs.result():
            self._close(conn)
        else:
            super().finish_request(conn, fs)

    def _close(self, conn: Any) -> None:
        # if the client is still sending, closing the socket at once would lose the answer (RFC 9112 §9.6)
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, EVENT_READ, partial(self._discard, conn))
        except (OSError, ValueError):
            self.nr_conns -= 1
            conn.close()
        else:
            self._closing[conn] = _Waiting()

    def _discard(self, conn: Any, sock: Any) -> None:
        waiting = self._closing[conn]
        try:
            piece = sock.recv(_MAX_DISCARDED)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        waiting.discarded += len(piece)
        if not piece or waiting.discarded > _MAX_DISCARDED:
            del self._closing[conn]
            self._drop(conn)

    def murder_pending(self) -> None:
        """Close connections that took too long, and the oldest ones if too many are waiting.

        gunicorn calls this after the events of each round, so no pending event refers to a closed connection.
        """
        super().murder_pending()
        now = time.monotonic()
        while conn := _oldest_before(self._heads, now - (HEAD_TIMEOUT if self.alive else _LINGER)):
            if self._heads[conn].head:
                self._refuse(conn, HeadTimeout())
            else:
                del self._heads[conn]
                self._drop(conn)
        while conn := _oldest_before(self._closing, now - _LINGER):
            del self._closing[conn]
            self._drop(conn)
        while self.nr_conns > self._max_waiting:
            # from the largest group, so that one kind of client does not crowd out the others
            group: Any = max(self._heads, self.keepalived_conns, self._closing, key=len)
            if len(group) <= self.cfg.threads:
                break  # most connections wait for a thread, so new ones have to wait to be accepted
            conn = next(iter(group))
            group.popleft() if group is self.keepalived_conns else group.pop(conn)
            self._drop(conn)

    def _drop(self, conn: Any) -> None:
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def check_hooks(worker: type, base: type = ThreadWorker) -> None:
    """Raise ConfigError unless `base` has each method that `worker` overrides, with the same parameters.

    A release of gunicorn without them would never call ours, and the limits would silently be missing.
    """
    ours = [kind for kind in worker.__mro__ if kind not in base.__mro__]
    for name in sorted({name for kind in ours for name in vars(kind) if not name.startswith("_")}):
        expected = _parameters(getattr(worker, name))
        if _parameters(getattr(base, name, None)) != expected:
            raise ConfigError(
                f"gunicorn {gunicorn.__version__}: its threaded worker has no method {name}({expected}),"
                " which mailsync needs to limit slow clients; install a supported release of gunicorn"
            )


def _parameters(method: Any) -> str | None:
    return ", ".join(inspect.signature(method).parameters) if callable(method) else None


def _oldest_before(connections: dict[Any, _Waiting], moment: float) -> Any:
    """The oldest connection if it has been waiting since before `moment`, else None."""
    conn = next(iter(connections), None)
    return conn if conn and connections[conn].since < moment else None


def _is_fully_read(reader: Any) -> bool:
    """Whether a body, of known length or chunked, has been read to its end."""
    return not getattr(reader, "length", 0) and getattr(reader, "parser", None) is None
