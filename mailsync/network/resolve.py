"""Where mailsync may connect to (SPEC §9.1): a name is resolved once, and every address is checked."""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from mailsync.errors import ForbiddenHost, InvalidInput, TimedOut, Transient
from mailsync.network.timeouts import SLICE

if TYPE_CHECKING:
    from mailsync.config import Settings
    from mailsync.model import Endpoint

LookUp = Callable[[str, int], list[str]]
"""Returns the addresses of a host for a port, in the order in which to try them."""

IMAP_PORTS = frozenset({143, 993})
SECURITIES = ("tls", "starttls", "plaintext")

_CONTROL = re.compile(r"[\r\n\0\ud800-\udfff]")
_HOST = re.compile(r"[^\s/@?#\\]{1,253}")
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = IPv6Network("::/96")
# networks on which releases of Python disagree: protocol assignments, site-local, documentation
_NEVER = (IPv4Network("192.0.0.0/24"), IPv6Network("fec0::/10"), IPv6Network("3fff::/20"))
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_ISATAP = (0x00005EFE, 0x02005EFE)


def check_endpoint(endpoint: Endpoint, settings: Settings) -> None:
    """Check everything about an endpoint that needs no network.

    Raises InvalidInput for a malformed host, port, user name or kind of security, ForbiddenHost for a port
    that is not allowed; both with ``step`` ``connect``.
    """
    refuse_control("host", endpoint.host, field="imap_host")
    refuse_control("user name", endpoint.username, field="username")
    host = bare_host(endpoint.host)
    if not _HOST.fullmatch(host) or "[" in host or "]" in host:
        raise InvalidInput("host: expected a host name or an address", field="imap_host", step="connect")
    if not endpoint.username:
        raise InvalidInput("user name: must not be empty", field="username", step="connect")
    if endpoint.security not in SECURITIES:
        raise InvalidInput(
            f"security: expected one of {', '.join(SECURITIES)}", field="imap_security", step="connect"
        )
    if endpoint.security == "plaintext" and not settings.imap_allow_plaintext:
        raise InvalidInput(
            "security: plaintext would send the password in the clear; use tls or starttls, "
            "or set IMAP_ALLOW_PLAINTEXT=true",
            field="imap_security",
            step="connect",
        )
    if not 1 <= endpoint.port <= 65535:
        raise InvalidInput(
            f"port: {endpoint.port} is not between 1 and 65535", field="imap_port", step="connect"
        )
    if endpoint.port not in IMAP_PORTS and not settings.imap_allow_private_hosts:
        raise ForbiddenHost(
            f"port: {endpoint.port} is not allowed; expected 143 or 993, "
            "unless IMAP_ALLOW_PRIVATE_HOSTS=true is set",
            field="imap_port",
            step="connect",
        )


def bare_host(host: str) -> str:
    """Return the address in ``[::1]``, as URLs and mail programs write it (RFC 3986 §3.2.2), or else `host`.

    >>> bare_host("[2001:db8::1]"), bare_host("imap.example.com")
    ('2001:db8::1', 'imap.example.com')
    """
    if host[:1] != "[" or host[-1:] != "]":
        return host
    try:
        ipaddress.ip_address(host[1:-1])
    except ValueError:
        return host
    return host[1:-1]


def refuse_control(name: str, value: str, *, field: str | None = None) -> None:
    """Raise InvalidInput if `value` holds CR, LF, NUL or a lone surrogate.

    The message calls it `name` and does not quote it, because it may be a password.
    """
    if _CONTROL.search(value):
        raise InvalidInput(f"{name}: must not contain CR, LF or NUL", field=field, step="connect")


def resolve(
    host: str,
    port: int,
    settings: Settings,
    on_wait: Callable[[], None],
    *,
    seconds: float | None = None,
    look_up: LookUp | None = None,
    field: str | None = "imap_host",
) -> list[str]:
    """Return the addresses of the host in the resolver's order, if all of them are allowed.

    `look_up` replaces the system's resolver, except for a host that is an address. It is called in a thread
    and raises OSError, or an error of mailsync, if it finds nothing. Raises Transient if the name cannot be
    resolved within `seconds`, by default IMAP_CONNECT_TIMEOUT, InvalidInput if it is no name, and
    ForbiddenHost if any address is not allowed; each with ``step`` ``dns``, the last two about `field`.
    """
    bare = bare_host(host)
    if look_up is None or is_address(bare):
        look_up = _ask_system
    seconds = settings.imap_connect_timeout if seconds is None else seconds
    addresses = _look_up(bare, port, look_up, seconds, on_wait, field)
    if not settings.imap_allow_private_hosts:
        for address in addresses:
            if not is_public(address):
                subject = address if address == bare else f"{host} resolves to {address}, which"
                raise ForbiddenHost(
                    f"host: {subject} is not a public address; set IMAP_ALLOW_PRIVATE_HOSTS=true to allow it",
                    field=field,
                    step="dns",
                )
    return addresses


def is_public(address: str) -> bool:
    """Whether `address` and every IPv4 address inside it is global unicast.

    >>> is_public("8.8.8.8"), is_public("::ffff:127.0.0.1"), is_public("64:ff9b::a00:1")
    (True, False, False)
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    embedded = list(_embedded(ip)) if isinstance(ip, IPv6Address) else []
    # mapped and translated addresses are never global themselves: only the embedded address counts
    is_wrapper = isinstance(ip, IPv6Address) and (ip.ipv4_mapped is not None or ip in _NAT64[0])
    return all(map(_is_global, embedded)) and (is_wrapper or _is_global(ip))


def _is_global(ip: IPv4Address | IPv6Address) -> bool:
    if any(ip in network for network in _NEVER):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def _embedded(ip: IPv6Address) -> Iterator[IPv4Address]:
    last = IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.ipv4_mapped is not None or any(ip in network for network in (*_NAT64, _COMPATIBLE)):
        yield last
    if ip.sixtofour is not None:
        yield ip.sixtofour
    if ip.teredo is not None:
        yield from ip.teredo
    if (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP:
        yield last


def is_address(host: str) -> bool:
    """Whether the host is an address, in any notation: 2130706433 and 0x7f.1 are addresses too."""
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


def _ask_system(host: str, port: int) -> list[str]:
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))


def _look_up(
    host: str,
    port: int,
    look_up: LookUp,
    timeout: float,
    on_wait: Callable[[], None],
    field: str | None,
) -> list[str]:
    """Call the resolver in a thread, because it can neither be interrupted nor given a timeout."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def call_resolver() -> None:
        try:
            answers.put(look_up(host, port))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=call_resolver, name="resolver", daemon=True).start()
    end = time.monotonic() + timeout
    while True:
        try:
            answer = answers.get(timeout=max(0.001, min(SLICE, end - time.monotonic())))
        except queue.Empty:
            if time.monotonic() >= end:
                raise TimedOut(f"host: {host} could not be resolved in {timeout:g} s", step="dns") from None
            on_wait()
            continue
        if isinstance(answer, UnicodeError):
            raise InvalidInput(f"host: {host} is not a host name", field=field, step="dns")
        if isinstance(answer, OSError):
            raise _unresolved(host, answer)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _unresolved(host: str, error: Exception) -> Transient:
    reason = getattr(error, "strerror", None) or "no answer"
    # DNS may say so only for a moment, so the error stays temporary
    advice = "; check the spelling" if getattr(error, "errno", None) in _NO_SUCH_NAME else ""
    return Transient(f"host: {host} cannot be resolved: {reason}{advice}", step="dns")
