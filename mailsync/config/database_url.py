"""Postgres URLs, cut where libpq cuts them: at the first ``@``, and at the first ``/`` even before that.

A password with such a character in it ends there, and its rest is taken for a host or a database, which
errors then name. So what cannot have been meant is found here, before libpq sees it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

# of libpq's parameters those whose value may hold an @ as it is
_FREE = frozenset(
    "user password sslpassword options application_name fallback_application_name passfile service "
    "sslcert sslkey sslrootcert sslcrl sslcrldir dbname host krbsrvname".split()
)
_NAME = re.compile(r"[\w.-]*")
_ADDRESS = re.compile(r"\[[0-9A-Fa-f:.]+(%[\w.%-]+)?\]", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_ENCODED = re.compile(r"%(?!(?!00)[0-9A-Fa-f]{2})")
_PARAMETER = re.compile(r"[A-Za-z_]+=[^=]*")
_KEPT = re.compile(r"[?&](?:ssl)?password=([^&]*)")


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A URL's hosts and ports, those in its query too, and its other parameters; all decoded."""

    hosts: tuple[str, ...]
    ports: tuple[str, ...]
    query: dict[str, str]


def read(url: str) -> PostgresUrl:
    """Cut the URL; raises ValueError, without a text, for one that cannot be right."""
    _, places, database, query = _cut(url)
    # libpq quotes what it cannot decode
    if _ENCODED.search(url) or "@" in database:
        raise ValueError
    for parameter in query.split("&") if query else ():
        if not _PARAMETER.fullmatch(parameter):
            raise ValueError
        if "@" in parameter and parameter.partition("=")[0] not in _FREE:
            raise ValueError
    given = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    hosts, ports = given.get("host", "").split(","), given.get("port", "").split(",")
    for place in places.split(","):
        match = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::(.*))?", place)
        if not match or not _is_host(match[1]):
            raise ValueError
        hosts.append(unquote(match[1]))
        ports.append(match[2] or "")
    if any(port and not (_PORT.fullmatch(port) and 0 < int(port) < 65536) for port in ports):
        raise ValueError
    return PostgresUrl(tuple(hosts), tuple(ports), given)


def passwords(url: str) -> set[str]:
    """What of a URL is password, as it stands there and decoded.

    Where it is not clear where the password ends, as in one that :func:`read` refuses, each piece of what it
    might be is among them.
    """
    userinfo = _cut(url)[0]
    found = {userinfo.partition(":")[2], *_KEPT.findall(url)}
    meant = re.match(r"[^:@/]*:(.*)@", url.partition("://")[2], re.DOTALL)
    if meant and not _is_right(url):
        found |= {meant[1], *re.split(r"[@:/?#&=,\[\]]", meant[1])}
    found |= {unquote(each) for each in found}
    return found - {""}


def _is_right(url: str) -> bool:
    try:
        read(url)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    """A name, an address, nothing, or the directory of a socket, for which the slashes are encoded."""
    host = unquote(text)
    is_socket = text[:1] == "%" and host[:1] in ("/", "@")
    return bool(is_socket or _ADDRESS.fullmatch(text) or _NAME.fullmatch(host))


def _cut(url: str) -> tuple[str, str, str, str]:
    """User with password, hosts with ports, database and query, each as it stands there."""
    rest = url.partition("://")[2]
    before, at, behind = rest.partition("@")
    userinfo = before if at and "/" not in before else ""
    tail, _, query = (behind if at and "/" not in before else rest).partition("?")
    places, _, database = tail.partition("/")
    return userinfo, places, database, query
