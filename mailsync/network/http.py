"""One HTTP request, as bounded as a connection to a mail server: address rules, deadline, size, no redirects.

Proxies are not supported, and no connection is kept.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import h11

from mailsync import __version__
from mailsync.config.oauth import is_endpoint_url
from mailsync.errors import ForbiddenHost, InvalidInput, ProtocolError, SentTooMuch, Transient
from mailsync.network.connect import connect, wrap_tls
from mailsync.network.resolve import LookUp, resolve
from mailsync.network.timeouts import Timeouts

if TYPE_CHECKING:
    from mailsync.config import Settings

LARGEST_HEAD = 32 * 1024
"""Bytes of a status line with its headers, or of the line before a chunk."""
MOST_OVERHEAD = 8
"""Bytes sent for each byte of the largest body: a chunk of one byte takes six."""

_CHUNK = 16 * 1024
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_ADDRESS = frozenset("0123456789abcdef:.")
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response; the names of ``headers`` are in lower case.

    Values of a header that was sent several times are joined by ``", "`` (RFC 9110 §5.2).
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Target:
    scheme: str
    host: str
    port: int
    path: str = field(repr=False)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def request(
    url: str,
    settings: Settings,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    most: int = 65536,
    seconds: float = 30.0,
    on_wait: Callable[[], None] = lambda: None,
    look_up: LookUp | None = None,
) -> HttpResponse:
    """Send a POST of `form`, or a GET without one, and return the response, a redirect too.

    The URL is https; http is allowed only to this machine, with IMAP_ALLOW_PRIVATE_HOSTS. Everything together
    takes at most `seconds`, and the body has at most `most` bytes. `on_wait` is called at least once a second
    and may raise. `look_up` replaces the system's resolver. Raises InvalidInput for the URL, ForbiddenHost,
    Transient, TimedOut, CertificateRejected, and ProtocolError for a response that is not HTTP or too large.
    The messages name the host, and nothing else of the request.
    """
    target = _parse(url, settings)
    connection, data = _build(target, form, headers or {})
    timeouts = Timeouts(on_wait, seconds)
    end = time.monotonic() + seconds
    with timeouts.deadline(seconds):
        sock = _open(target, settings, timeouts, end, look_up)
        try:
            timeouts.begin(target.host)
            _send(sock, data, target.host, timeouts)
            reader = ResponseReader(connection, target.host, most)
            while (response := reader.feed(_receive(sock, target.host, timeouts))) is None:
                pass
            return response
        finally:
            sock.close()


def _parse(url: str, settings: Settings) -> _Target:
    expected = "URL: expected https://host/path in ASCII, without user name and fragment"
    if not is_endpoint_url(url):
        raise InvalidInput(expected, step="connect")
    parts = urlsplit(url)
    host = parts.hostname or ""
    # Python 3.11 accepts anything in brackets
    if len(host) > 253 or not set(host) <= (_ADDRESS if "[" in parts.netloc else _NAME):
        raise InvalidInput(expected, step="connect")
    if parts.scheme == "http" and not settings.imap_allow_private_hosts:
        raise InvalidInput(f"URL: http to {host} is not encrypted; use https", step="connect")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(parts.scheme, host, parts.port or _PORTS[parts.scheme], path)


def _build(
    target: _Target, form: Mapping[str, str] | None, headers: Mapping[str, str]
) -> tuple[h11.Connection, bytes]:
    """Return the state of the connection after the request, and the bytes of the request."""
    body = b"" if form is None else urlencode(form).encode()
    fields = {
        "host": target.authority,
        "user-agent": f"mailsync/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
    }
    if form is not None:
        fields |= {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body))}
    fields |= {name.lower(): value for name, value in headers.items()}
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
    events: list[h11.Event]
    try:
        method = "GET" if form is None else "POST"
        events = [h11.Request(method=method, target=target.path, headers=list(fields.items()))]
    except (h11.LocalProtocolError, UnicodeError):
        # the error would quote the value, which may be a secret
        raise InvalidInput(f"the request to {target.host}: a header must be printable ASCII") from None
    events += [h11.Data(data=body)] if body else []
    events.append(h11.EndOfMessage())
    return connection, b"".join(connection.send(event) or b"" for event in events)


def _open(
    target: _Target, settings: Settings, timeouts: Timeouts, end: float, look_up: LookUp | None
) -> socket.socket:
    def left() -> float:
        return max(0.1, round(min(settings.imap_connect_timeout, end - time.monotonic()), 1))

    addresses = resolve(
        target.host, target.port, settings, timeouts.on_wait, seconds=left(), look_up=look_up, field=None
    )
    if target.scheme == "http":
        for address in addresses:
            if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
                raise ForbiddenHost(
                    f"URL: http is only for this machine, and {target.host} is at {address}; use https",
                    step="dns",
                )
    sock = connect(target.host, target.port, addresses, left(), timeouts)
    return wrap_tls(sock, target.host, settings, timeouts) if target.scheme == "https" else sock


def _send(sock: socket.socket, data: bytes, host: str, timeouts: Timeouts) -> None:
    unsent = memoryview(data)
    while unsent:
        timeouts.check()
        try:
            unsent = unsent[sock.send(unsent) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            timeouts.writable(sock)
        except ssl.SSLWantReadError:
            timeouts.readable(sock)
        except BrokenPipeError:
            # the server may have answered before it read all
            return
        except OSError as error:
            raise _broken(host, error) from error


def _receive(sock: socket.socket, host: str, timeouts: Timeouts) -> bytes:
    """Return the next bytes; none at the end of the connection."""
    while True:
        # bytes that keep dripping are never waited for
        timeouts.check()
        try:
            return sock.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            timeouts.readable(sock)
        except ssl.SSLWantWriteError:
            timeouts.writable(sock)
        except OSError as error:
            raise _broken(host, error) from error


def _broken(host: str, error: OSError) -> Transient:
    reason = getattr(error, "reason", None) or error.strerror or "closed"
    return Transient(f"the connection to {host} broke: {reason}")


class ResponseReader:
    """Reads the response to the request that `connection` has sent; `host` is for messages."""

    def __init__(self, connection: h11.Connection, host: str, most: int) -> None:
        self._connection = connection
        self._host = host
        self._most = most
        self._left = MOST_OVERHEAD * most + 2 * LARGEST_HEAD
        self._head: h11.Response | None = None
        self._body = bytearray()

    def feed(self, data: bytes) -> HttpResponse | None:
        """Take the next bytes, none at the end of the connection; return the response when it is complete.

        Raises ProtocolError, SentTooMuch, and Transient if the connection ends too early.
        """
        self._left -= len(data)
        if self._left < 0:
            raise SentTooMuch(f"{self._host}: the response does not end")
        try:
            self._connection.receive_data(data)
            return self._read()
        except h11.RemoteProtocolError as error:
            # the error may quote the response, and the response the request
            if not data:
                message = f"{self._host} closed the connection before the end of its response"
                raise Transient(message) from None
            if error.error_status_hint == 431:
                message = f"{self._host}: the header of the response is larger than {LARGEST_HEAD} bytes"
                raise SentTooMuch(message) from None
            raise ProtocolError(f"{self._host}: the response is not valid HTTP") from None

    def _read(self) -> HttpResponse | None:
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Response):
                self._head = event
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._most:
                    raise SentTooMuch(f"{self._host}: the response is larger than {self._most} bytes")
            elif isinstance(event, h11.EndOfMessage) and self._head is not None:
                return self._response(self._head)
            elif not isinstance(event, h11.InformationalResponse):
                return None

    def _response(self, head: h11.Response) -> HttpResponse:
        values: dict[str, list[str]] = {}
        for name, value in head.headers:
            values.setdefault(name.decode("ascii"), []).append(value.decode("latin-1"))
        headers = {name: ", ".join(parts) for name, parts in values.items()}
        if self._body and headers.get("content-encoding", "identity").lower() != "identity":
            raise ProtocolError(f"{self._host}: the response is compressed, although that was not asked for")
        return HttpResponse(head.status_code, headers, bytes(self._body))
