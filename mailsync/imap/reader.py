"""Responses from a socket, one at a time, in bounded memory."""

from __future__ import annotations

import re
import socket
import ssl
import time

from mailsync.errors import SentTooMuch, Transient
from mailsync.imap.parsing.pushed import whole_responses
from mailsync.network.timeouts import Timeouts

CHUNK = 256 * 1024
SMALL_CHUNK = 16 * 1024
"""Bytes to receive at once from a session that is parked; there may be a thousand of them."""
LONGEST_LINE = KEPT_OF_A_LONG_LINE = 8192
"""Bytes of a line that carries no data: OK, NO, BAD, BYE, tagged or not, ``+``, and unknown responses."""
LONGEST_ROW = 64 * 1024
"""Bytes of a line that is one row of a list: LIST, STATUS, CAPABILITY, FLAGS."""
LONGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of the answer to one command, not counting its messages; more is an attack or a fault."""
MOST_LITERALS = 5000
"""Literals of one response that are kept. An empty literal takes seven bytes to send and a hundred here."""
MOST_BLANK_LINES = 8
"""Empty lines in a row that are skipped inside a FETCH response."""

_LITERAL = re.compile(rb"~?\{(\d{1,18})\+?\}\r?\n\Z")
_STATUS = re.compile(rb"\* (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)
_FETCH = re.compile(rb"\* \d{1,18} FETCH\b", re.IGNORECASE)
_DATA = re.compile(rb"\* (?:\d{1,18} FETCH|E?SEARCH|VANISHED)\b", re.IGNORECASE)
_ROW = re.compile(rb"\* (?:X?LIST|LSUB|STATUS|CAPABILITY|ENABLED|FLAGS|NAMESPACE)\b", re.IGNORECASE)


class Reader:
    """Reads responses from a non-blocking socket.

    ``limit`` is the most bytes of a literal and of a line of data (FETCH, SEARCH, VANISHED); a response may
    have twice as many. Other lines have their own limits. Bytes above a limit are read and discarded, so that
    the session stays in step, and :attr:`oversized` names what was cut. :meth:`allow` limits a whole answer.
    """

    def __init__(self, sock: socket.socket, timeouts: Timeouts, limit: int) -> None:
        self.sock = sock
        self.timeouts = timeouts
        self.limit = limit
        self.bytes_in = 0
        self.heard_at = time.monotonic()
        """The monotonic time of the last byte."""
        self.oversized: str | None = None
        self._buffer = b""
        self._position = 0
        self._allowed = self._ceiling = 0
        self.allow(max(LONGEST_ANSWER, 4 * limit))

    def allow(self, size: int) -> None:
        """Accept `size` more bytes; reading more raises SentTooMuch."""
        self._allowed, self._ceiling = size, self.bytes_in + size

    def read_response(self) -> list[bytes]:
        """Return the next response: text, literal, text, …, text; always an odd number of parts.

        ``* 1 FETCH (BODY[] {3}\\r\\nabc FLAGS ())\\r\\n`` gives
        ``[b"* 1 FETCH (BODY[] ", b"abc", b" FLAGS ())"]``.

        Afterwards :attr:`oversized` names what was cut, if anything. Raises Transient on EOF, reset, silence
        or deadline, and SentTooMuch.
        """
        self.oversized = None
        buffer = self._buffer
        end = buffer.find(b"\n", self._position)
        if end >= 0:
            line = buffer[self._position : end + 1]
            self._position = end + 1
        else:
            line = self._long_line(first=True)
        if len(line) > LONGEST_LINE and len(line) > (limit := self._limit_of(line)):
            line = self._cut(line, limit)
        if b"}" not in line[-3:] or not line.startswith(b"* ") or _STATUS.match(line):
            return [line.rstrip(b"\r\n")]
        return self._with_literals(line)

    def _with_literals(self, line: bytes) -> list[bytes]:
        parts: list[bytes] = []
        total = literals = 0
        while True:
            total += len(line)
            literals += 1
            marker = _LITERAL.search(line)
            if total > 2 * self.limit and parts:
                self.oversized = self.oversized or f"a response of more than {2 * self.limit} bytes"
                line = line[marker.start() :] if marker else b"\r\n"
                marker = _LITERAL.search(line)
            if not marker:
                parts.append(line.rstrip(b"\r\n"))
                return parts
            size = int(marker[1])
            total += size
            if literals > MOST_LITERALS:
                self.oversized = self.oversized or f"a response of more than {MOST_LITERALS} literals"
                if literals > 20 * MOST_LITERALS:
                    raise self.too_much(f"{literals - 1:,} literals in one response")
            if self.oversized is None and size <= self.limit and total <= 2 * self.limit:
                parts += line[: marker.start()], self._exactly(size)
            else:
                self.oversized = self.oversized or f"a literal of {size} bytes"
                self._skip(size)
                if len(parts) < 3:
                    parts += line[: marker.start()], b""
            line = self._line()
            if not line.strip() and _FETCH.match(parts[0]):
                line = self._after_blank_lines(line)

    def _after_blank_lines(self, blank: bytes) -> bytes:
        """Return the line that continues a FETCH response after lines of blanks, or `blank` if there is none.

        Servers that count the end of a line differently send an empty line between a literal and the closing
        parenthesis. Only a blank or a parenthesis can follow a literal (RFC 9051 §9), so no other line is
        taken for the rest of the response.
        """
        for _ in range(MOST_BLANK_LINES):
            # look at one byte first: a line of the next response must be read there, within its own limits
            if self._position == len(self._buffer):
                self._buffer, self._position = self._receive(), 0
            if self._buffer[self._position] not in b") \t\r\n":
                break
            line = self._line()
            if line.strip():
                return line
        return blank

    def _line(self) -> bytes:
        end = self._buffer.find(b"\n", self._position)
        if end < 0:
            return self._long_line()
        line = self._buffer[self._position : end + 1]
        self._position = end + 1
        return line

    def _long_line(self, *, first: bool = False) -> bytes:
        """Read a line that the buffer does not hold whole; cut it if it is longer than its limit.

        `first` means that the line begins a response, so that its limit depends on its kind.
        """
        line = bytearray(self._buffer[self._position :])
        self._buffer, self._position = b"", 0
        limit = self.limit
        while True:
            chunk = self._receive()
            end = chunk.find(b"\n") + 1
            line += chunk[:end] if end else chunk
            if first and len(line) > LONGEST_LINE:
                limit, first = self._limit_of(line), False
            if len(line) > limit:
                line = bytearray(self._cut(line, limit))
                limit = 0
            if end:
                self._buffer, self._position = chunk, end
                return bytes(line)

    def _limit_of(self, line: bytes | bytearray) -> int:
        """Return the most bytes that a line with this beginning may have."""
        if _DATA.match(line):
            return self.limit
        return min(self.limit, LONGEST_ROW if _ROW.match(line) else LONGEST_LINE)

    def _cut(self, line: bytes | bytearray, limit: int) -> bytes:
        """Return the beginning of a line, and its end if a literal may follow; status lines have none."""
        self.oversized = self.oversized or f"a line of more than {limit} bytes"
        begin = bytes(line[:KEPT_OF_A_LONG_LINE])
        if not begin.startswith(b"* ") or _STATUS.match(begin):
            return begin
        return begin + line[KEPT_OF_A_LONG_LINE:][-64:]

    def _exactly(self, size: int) -> bytes:
        start, buffer = self._position, self._buffer
        if len(buffer) - start >= size:
            self._position = start + size
            return buffer[start : start + size]
        pieces = [buffer[start:]]
        missing = size - len(pieces[0])
        while missing > 0:
            chunk = self._receive()
            pieces.append(chunk[:missing])
            self._buffer, self._position = chunk, min(missing, len(chunk))
            missing -= len(chunk)
        return b"".join(pieces)

    def _skip(self, size: int) -> None:
        missing = size - (len(self._buffer) - self._position)
        if missing <= 0:
            self._position += size
            return
        while missing > 0:
            chunk = self._receive()
            self._buffer, self._position = chunk, min(missing, len(chunk))
            missing -= len(chunk)

    def _receive(self) -> bytes:
        self.timeouts.check()
        while True:
            try:
                chunk = self.sock.recv(CHUNK)
            except (BlockingIOError, ssl.SSLWantReadError):
                self.timeouts.readable(self.sock)
            except ssl.SSLWantWriteError:
                self.timeouts.writable(self.sock)
            except OSError as error:
                raise Transient(f"the connection broke: {error.strerror or error}") from error
            else:
                if not chunk:
                    raise Transient("the server closed the connection")
                self._heard(len(chunk))
                if self.bytes_in > self._ceiling:
                    raise self.too_much(f"{self._allowed:,} bytes in one answer")
                return chunk

    def too_much(self, what: str) -> SentTooMuch:
        """Return the error for a server that sends more than `what`, which no command asked for."""
        name = self.timeouts.activity.rpartition(" ")[2]
        return SentTooMuch(f"{name}: the server sends more than {what}")

    def trim(self, most: int) -> bool:
        """Free the memory of consumed bytes; returns whether at most `most` bytes remain unread."""
        self._buffer, self._position = self._buffer[self._position :], 0
        return len(self._buffer) <= most

    def peek(self) -> bytes | None:
        """Return the unread bytes without waiting or consuming them; None if the peer is gone."""
        try:
            chunk = self.sock.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return self._buffer[self._position :]
        except (OSError, ValueError):
            return None
        if not chunk:
            return None
        self._heard(len(chunk))
        self._buffer, self._position = self._buffer[self._position :] + chunk, 0
        return self._buffer

    def _heard(self, size: int) -> None:
        self.bytes_in += size
        self.heard_at = time.monotonic()

    def receive_now(self, most: int) -> bool:
        """Receive what has arrived, without waiting; False if the peer is gone or has sent too much.

        Too much is over `most` bytes at once, or more than :meth:`allow` accepts. With TLS, bytes that wait
        in the TLS layer make no socket readable, so everything is taken.
        """
        unread = bytearray(self._buffer[self._position :])
        try:
            while len(unread) <= most:
                chunk = self.sock.recv(SMALL_CHUNK)
                if not chunk:
                    return False
                self._heard(len(chunk))
                unread += chunk
                if self.bytes_in > self._ceiling:
                    return False
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except (OSError, ValueError):
            return False
        finally:
            self._buffer, self._position = bytes(unread), 0
        return False

    def take_whole(self) -> list[list[bytes]]:
        """Return and consume the unread responses, as :meth:`read_response` does, up to an incomplete one."""
        responses, end = whole_responses(self._buffer, self._position)
        self._buffer, self._position = self._buffer[end:], 0
        return responses

    def switch(self, sock: socket.socket) -> None:
        """Read from `sock`, which wraps the old socket; buffered bytes came without TLS and are discarded."""
        self.sock = sock
        self._buffer, self._position = b"", 0
