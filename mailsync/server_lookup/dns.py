"""Ask the name servers for MX, SRV and addresses, within a time limit (RFC 1035, RFC 2782)."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from mailsync.config.fields import split
from mailsync.config.name_server import name_server
from mailsync.errors import InvalidInput, TimedOut, Transient

if TYPE_CHECKING:
    from mailsync.config import Settings

MOST_RECORDS = 20
"""How many records of an answer are considered; an answer may have thousands."""

_SECONDS_PER_TRY = 1.0
# dnspython raises these for answers that it cannot parse, too
_UNREADABLE = (dns.exception.DNSException, OSError, EOFError, ValueError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class MailExchanger:
    """An MX record; ``host`` is empty for a domain that receives no mail (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Service:
    """An SRV record; ``host`` is empty where the service is not offered (RFC 2782)."""

    priority: int
    weight: int
    port: int
    host: str


class NameServers:
    """The name servers of DNS_SERVERS, or else of ``/etc/resolv.conf``.

    Each method raises TimedOut or Transient, with ``step`` ``dns``, if no server answers within `seconds`.
    A name that does not exist has no records.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def mail_exchangers(self, domain: str, seconds: float) -> list[MailExchanger]:
        """The MX records of the domain, the preferred ones first."""
        records = self._records(domain, "MX", seconds)
        found = [MailExchanger(record.preference, _host(record.exchange)) for record in records]
        return sorted(found, key=lambda mx: (mx.preference, mx.host))

    def services(self, service: str, domain: str, seconds: float) -> list[Service]:
        """The SRV records of a service such as ``_imaps._tcp``, in no order; see :func:`in_order`."""
        records = self._records(f"{service}.{domain}", "SRV", seconds)
        return [
            Service(record.priority, record.weight, record.port, _host(record.target)) for record in records
        ]

    def addresses(self, host: str, seconds: float) -> list[str]:
        """The IPv4 and IPv6 addresses of a host; an address is its own. Raises Transient for none."""
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        found: list[str] = []
        failure: Transient | None = None
        for kind in ("A", "AAAA"):
            try:
                found += [record.address for record in self._records(host, kind, seconds / 2)]
            except Transient as error:
                failure = error
        if found:
            return found
        raise failure or Transient(f"{host} has no address in DNS", step="dns")

    def _records(self, name: str, kind: str, seconds: float) -> list[Any]:
        try:
            absolute = dns.name.from_text(name)
        except _UNREADABLE as error:
            raise InvalidInput(f"{name!a} is no name in DNS", step="dns") from error
        try:
            answer = self._resolver().resolve(
                absolute, kind, lifetime=max(seconds, 0.01), raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            return []
        except dns.exception.Timeout as error:
            raise TimedOut(f"no name server answered in {seconds:.2g} s", step="dns") from error
        except dns.resolver.NoResolverConfiguration as error:
            raise Transient("no name server is configured; set DNS_SERVERS", step="dns") from error
        except _UNREADABLE as error:
            raise Transient("the name servers cannot answer", step="dns") from error
        return list(answer.rrset or ())[:MOST_RECORDS]

    def _resolver(self) -> dns.resolver.Resolver:
        servers = self._settings.dns_servers
        resolver = dns.resolver.Resolver(configure=servers is None)
        if servers is not None:
            resolver.nameservers = [
                dns.nameserver.Do53Nameserver(*name_server(word)) for word in split(servers)
            ]
        resolver.timeout = _SECONDS_PER_TRY
        return resolver


def to_ascii(domain: str) -> str | None:
    """The domain as it is in DNS, with ``xn--`` for other scripts; None if it cannot be there."""
    try:
        return dns.name.from_text(domain).to_text(omit_final_dot=True).lower()
    except _UNREADABLE:
        return None


def in_order(services: list[Service], chance: random.Random) -> Iterator[Service]:
    """The services in the order to try them: by priority, and within one by chance and weight (RFC 2782)."""
    for priority in sorted({service.priority for service in services}):
        rest = sorted(
            (service for service in services if service.priority == priority),
            key=lambda service: (service.weight, service.host, service.port),
        )
        while rest:
            # the records without weight come first, so that they are chosen only if the number is 0
            number = chance.randint(0, sum(service.weight for service in rest))
            chosen = 0
            while number > rest[chosen].weight:
                number -= rest[chosen].weight
                chosen += 1
            yield rest.pop(chosen)


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""
