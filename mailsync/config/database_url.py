"""Postgres URLs, split where libpq splits them: at the first ``@``, and at a ``/`` before it.

libpq takes the rest of a password that contains such a character for a host or a database, and shows it in
errors. So URLs that are probably wrong are found here, before libpq reads them. ``urllib`` splits such URLs
elsewhere and cannot be used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

# the parameters of libpq whose value may contain an @ that is not encoded
_FREE = frozenset(
    "user password sslpassword options application_name fallback_application_name passfile service "
    "sslcert sslkey sslrootcert sslcrl sslcrldir dbname host krbsrvname".split()
)
_NAME = re.compile(r"[\w.-]*")
_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]+(%[\w.%-]+)?\]", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_ENCODED = re.compile(r"%(?!(?!00)[0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r"[A-Za-z_]+=[^=]*")
_IN_QUERY = re.compile(r"[?&](?:ssl)?password=([^&]*)")


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """The hosts and ports of a URL and of its query, and all parameters of its query, decoded."""

    hosts: tuple[str, ...]
    ports: tuple[str, ...]
    query: dict[str, str]


def read(url: str) -> PostgresUrl:
    """Split the URL; raises ValueError, without a text, for one that is probably wrong."""
    _, places, database, query = _split(url)
    # libpq shows in its errors what it cannot decode
    if _ENCODED.search(url) or "@" in database:
        raise ValueError
    parameters = {}
    for parameter in query.split("&") if query else ():
        name, _, value = parameter.partition("=")
        if not _PARAMETER.fullmatch(parameter) or ("@" in value and name not in _FREE):
            raise ValueError
        parameters[name] = unquote(value)
    hosts, ports = parameters.get("host", "").split(","), parameters.get("port", "").split(",")
    for place in places.split(","):
        match = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(.*))?", place)
        if not match or not _is_host(match[1]):
            raise ValueError
        hosts.append(unquote(match[1]))
        ports.append(match[2] or "")
    if any(port and not (_PORT.fullmatch(port) and 0 < int(port) < 65536) for port in ports):
        raise ValueError
    return PostgresUrl(tuple(hosts), tuple(ports), parameters)


def passwords(url: str) -> set[str]:
    """The passwords in the URL, as written and decoded.

    If the end of the password is not clear, as in a URL that :func:`read` refuses, all pieces that may belong
    to the password are included.
    """
    userinfo = _split(url)[0]
    secrets = {userinfo.partition(":")[2], *_IN_QUERY.findall(url)}
    widest = re.match(r"[^:@/]*:(.*)@", url.partition("://")[2], re.DOTALL)
    if widest and not _is_accepted(url):
        secrets |= {widest[1], *re.split(r"[@:/?#&=,\[\]]", widest[1])}
    secrets |= {unquote(secret) for secret in secrets}
    return secrets - {""}


def _is_accepted(url: str) -> bool:
    try:
        read(url)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    """Whether it is a host name, an address, empty, or the encoded path of a socket's directory."""
    host = unquote(text)
    is_socket = text[:1] == "%" and host[:1] in ("/", "@")
    return bool(is_socket or _ADDRESS.fullmatch(text) or _NAME.fullmatch(host))


def _split(url: str) -> tuple[str, str, str, str]:
    """User with password, hosts with ports, database and query, not decoded."""
    rest = url.partition("://")[2]
    before, at_sign, after = rest.partition("@")
    has_user = at_sign and "/" not in before
    userinfo = before if has_user else ""
    tail, _, query = (after if has_user else rest).partition("?")
    places, _, database = tail.partition("/")
    return userinfo, places, database, query
