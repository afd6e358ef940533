"""From an allowed address to a socket with verified TLS."""

from __future__ import annotations

import functools
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING

from mailsync.errors import CertificateRejected, ConfigError, Transient
from mailsync.network.resolve import bare_host
from mailsync.network.timeouts import Timeouts

if TYPE_CHECKING:
    from mailsync.config import Settings

# OpenSSL's X509_V_ERR_…: self-signed, self-signed in the chain, no issuer found
_UNKNOWN_ISSUER = frozenset({18, 19, 20})


def connect(host: str, port: int, addresses: list[str], seconds: float, timeouts: Timeouts) -> socket.socket:
    """Return a non-blocking socket to the first of `addresses` that answers.

    The addresses share `seconds`; `host` is for messages. Raises Transient with ``step`` ``connect``.
    """
    end = time.monotonic() + seconds
    failure = "no address"
    kind = Transient
    for i, address in enumerate(addresses):
        share = (end - time.monotonic()) / (len(addresses) - i)
        try:
            with timeouts.deadline(max(share, 0.001)):
                return _connect(address, port, timeouts)
        except Transient as error:
            kind = type(error)
            failure = f"timed out after {seconds:g} s" if error.step is None else str(error)
    raise kind(f"cannot connect to {host}:{port}: {failure}", step="connect")


def _connect(address: str, port: int, timeouts: Timeouts) -> socket.socket:
    family, kind, protocol, _, target = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(sock)
        try:
            sock.connect(target)
        except BlockingIOError:
            timeouts.writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None
    except OSError as error:
        sock.close()
        raise Transient(error.strerror or str(error), step="connect") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket) -> None:
    """Let the kernel notice within two minutes that the peer of a quiet connection is gone (RFC 1122)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # not every platform has all of these
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3)):
        if option := getattr(socket, name, None):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def wrap_tls(sock: socket.socket, host: str, settings: Settings, timeouts: Timeouts) -> ssl.SSLSocket:
    """Return `sock` with TLS on it; close it if the handshake fails.

    The certificate must be valid for `host`. Raises CertificateRejected, or Transient if the
    connection breaks; both with ``step`` ``tls``.
    """
    context = tls_context(settings)
    try:
        wrapped = context.wrap_socket(sock, server_hostname=bare_host(host), do_handshake_on_connect=False)
    except (ValueError, OSError) as error:
        sock.close()
        raise CertificateRejected(f"cannot start TLS with {host}: {_reason(error)}", step="tls") from error
    try:
        with timeouts.deadline(settings.imap_connect_timeout):
            _handshake(wrapped, timeouts)
    except ssl.SSLCertVerificationError as error:
        wrapped.close()
        advice = "; to trust its issuer, set IMAP_CA_FILE" if error.verify_code in _UNKNOWN_ISSUER else ""
        raise CertificateRejected(
            f"the certificate of {host} does not verify: {error.verify_message}{advice}", step="tls"
        ) from error
    except ssl.SSLError as error:
        wrapped.close()
        raise CertificateRejected(
            f"the TLS handshake with {host} failed: {_reason(error)}", step="tls"
        ) from error
    except OSError as error:
        wrapped.close()
        raise Transient(
            f"the connection broke during the TLS handshake: {_reason(error)}", step="tls"
        ) from error
    except Transient as error:
        wrapped.close()
        raise type(error)(f"the TLS handshake with {host} did not finish: {error}", step="tls") from error
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return the context for TLS 1.2 or later; it trusts the system's authorities and IMAP_CA_FILE."""
    return _context(settings.imap_ca_file, _modified_at(settings.imap_ca_file))


def _handshake(sock: ssl.SSLSocket, timeouts: Timeouts) -> None:
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            timeouts.readable(sock)
        except ssl.SSLWantWriteError:
            timeouts.writable(sock)
        else:
            return


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)


def _modified_at(ca_file: object) -> float:
    try:
        return os.stat(str(ca_file)).st_mtime if ca_file else 0.0  # noqa: PTH116
    except OSError:
        return -1.0


@functools.lru_cache(maxsize=4)
def _context(ca_file: object, modified_at: float) -> ssl.SSLContext:
    """Make the context, once for each version of the CA file: loading the authorities takes 20 ms."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except OSError as error:
            raise ConfigError(f"IMAP_CA_FILE: {ca_file} cannot be used: {_reason(error)}") from error
    return context
