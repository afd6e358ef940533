"""Which places are asked for the IMAP server of an address, in what order, and for how long (SPEC §23.6).

A name server can be lied to, a web server with a valid certificate cannot. So an SRV record alone decides
only for a host below the domain, or for a known provider's; a person has to confirm any other (RFC 6186 §6).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from mailsync.core.mx_hosts import host_by_mx
from mailsync.core.providers import Provider, provider_at, provider_for
from mailsync.errors import MailsyncError, TimedOut
from mailsync.model import Endpoint
from mailsync.network.http import HttpResponse, request
from mailsync.network.resolve import check_endpoint, resolve
from mailsync.server_lookup.autoconfig import LARGEST, is_host_name, read_config
from mailsync.server_lookup.dns import NameServers, Service, in_order, to_ascii

if TYPE_CHECKING:
    from mailsync.config import Settings

STEP_SECONDS = 3.0
"""How long one place is asked at most."""

SECONDS = 10.0
"""How long a lookup takes at most, without the time that a person takes to confirm."""


@dataclass(frozen=True, slots=True)
class Found:
    """A server to log in at; ``username`` is None for the address, ``how`` says who names the server."""

    host: str
    port: int
    security: str
    username: str | None
    how: str
    provider: Provider | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port} ({self.security}): {self.how}"


class Note(NamedTuple):
    """Why a place named no server."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Lookup:
    """The server, or None; ``notes`` say why each place before it, or every place, named none."""

    found: Found | None
    notes: tuple[Note, ...] = ()

    @property
    def summary(self) -> tuple[str, ...]:
        """The notes, those with the same reason together."""
        places: dict[str, list[str]] = {}
        for place, reason in self.notes:
            places.setdefault(reason, []).append(place)
        return tuple(f"{', '.join(group)}: {reason}" for reason, group in places.items())


def find_server(
    email: str,
    settings: Settings,
    *,
    confirm: Callable[[Found], bool] = lambda found: False,
    on_wait: Callable[[], None] = lambda: None,
    https_port: int = 443,
    chance: random.Random | None = None,
    step_seconds: float = STEP_SECONDS,
    seconds: float = SECONDS,
    now: Callable[[], float] = time.monotonic,
) -> Lookup:
    """Find where to log in as `email`: the first place that names a usable server decides.

    `confirm` is asked whether to trust a server that only an unsigned DNS record names. `chance` chooses
    among SRV records of equal priority.
    """
    if provider := provider_for(email):
        return Lookup(_at(provider, provider.host, f"{provider.name} is known by its domain"))
    domain = to_ascii(email.rpartition("@")[2])
    if domain is None or not is_host_name(domain):
        return Lookup(None, (Note("DNS", "the domain is no host name"),))
    clock = _Clock(seconds, now)
    search = _Search(email, domain, settings, clock, _once(confirm), on_wait, chance or random.Random())
    port = "" if https_port == 443 else f":{https_port}"
    places: tuple[tuple[str, Callable[[], Found | str]], ...] = (
        (f"MX of {domain}", search.by_mx),
        (f"SRV of {domain}", search.by_srv),
        (f"autoconfig.{domain}", lambda: search.by_autoconfig(f"autoconfig.{domain}{port}", "/mail")),
        (domain, lambda: search.by_autoconfig(f"{domain}{port}", "/.well-known/autoconfig/mail")),
    )
    notes: list[Note] = []
    for place, ask in places:
        clock.begin_step(step_seconds)
        try:
            clock.check()
            answer = ask()
        except MailsyncError as error:
            answer = str(error)
        if isinstance(answer, Found):
            return Lookup(answer, tuple(notes))
        notes.append(Note(place, answer))
    return Lookup(None, tuple(notes))


def _once(confirm: Callable[[Found], bool]) -> Callable[[Found], bool]:
    """`confirm` for the first server only: a domain may name any number of them."""
    asked: list[Found] = []

    def ask(found: Found) -> bool:
        asked.append(found)
        return len(asked) == 1 and confirm(found)

    return ask


class _Clock:
    """The time that is left for a step, and for the whole lookup."""

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self._now = now
        self._end = self._step_end = now() + seconds

    def begin_step(self, seconds: float) -> None:
        self._step_end = min(self._end, self._now() + seconds)

    def check(self) -> float:
        """The seconds that are left; raises TimedOut if there are none."""
        left = self._step_end - self._now()
        if left <= 0:
            raise TimedOut("no time is left", step="dns")
        return left

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The time in the context does not count."""
        began = self._now()
        yield
        passed = self._now() - began
        self._end += passed
        self._step_end += passed


@dataclass(frozen=True, slots=True)
class _Search:
    """One lookup; each method asks one place, and returns what it names or why that is nothing."""

    email: str
    domain: str
    settings: Settings
    clock: _Clock
    confirm: Callable[[Found], bool]
    on_wait: Callable[[], None]
    chance: random.Random

    def by_mx(self) -> Found | str:
        """The provider that receives the domain's mail, by the hosts of the most preferred MX records."""
        records = NameServers(self.settings).mail_exchangers(self.domain, self.clock.check())
        if not records:
            return "there is no record"
        best = [mx.host for mx in records if mx.preference == records[0].preference]
        if best == [""]:
            return "the domain receives no mail"
        for host in filter(is_host_name, best):
            if at := host_by_mx(host):
                imap_host, provider = at
                how = f"the mail of {self.domain} is at {provider.name} (MX {host})"
                return _at(provider, imap_host, how)
        return "the mail is at no known provider"

    def by_srv(self) -> Found | str:
        """The server of ``_imaps._tcp``, or else that of ``_imap._tcp``, where STARTTLS is required."""
        reason = "there is no record"
        for service, security in (("_imaps._tcp", "tls"), ("_imap._tcp", "starttls")):
            records = NameServers(self.settings).services(service, self.domain, self.clock.check())
            for record in in_order(records, self.chance):
                answer = self._by_record(record, service, security)
                if isinstance(answer, Found):
                    return answer
                reason = answer
        return reason

    def _by_record(self, record: Service, service: str, security: str) -> Found | str:
        if not record.host:
            return f"{service} is not offered"
        how = f"an SRV record of {self.domain} names it ({service})"
        answer = self._usable(record.host, record.port, security, None, how)
        if isinstance(answer, str) or self._is_sure(answer) or self._is_confirmed(answer):
            return answer
        return f"{service} names {record.host}, outside the domain; name it yourself to trust it"

    def by_autoconfig(self, server: str, folder: str) -> Found | str:
        """The first usable server of a file on the domain's web server."""
        query = f"emailaddress={quote(self.email)}"
        response = self._get(f"https://{server}{folder}/config-v1.1.xml?{query}")
        if isinstance(response, str):
            return response
        if response.status != 200:
            return f"there is no file ({response.status})"
        reason = "the file names no IMAP server"
        for named in read_config(response.body, self.email):
            if named.problem:
                reason = named.problem
                continue
            how = f"the file at https://{server} names it"
            answer = self._usable(named.host, named.port, named.security, named.username, how)
            if isinstance(answer, Found):
                return answer
            reason = answer
        return reason

    def _get(self, url: str) -> HttpResponse | str:
        """The answer of a web server, after at most one redirect, to the same server."""
        for _ in range(2):
            response = request(
                url,
                self.settings,
                most=LARGEST,
                seconds=self.clock.check(),
                on_wait=self.on_wait,
                look_up=self._look_up,
            )
            if not 300 <= response.status < 400:
                return response
            before = urlsplit(url)
            try:
                url = urljoin(url, response.headers.get("location", ""))
                target = urlsplit(url)
                is_same = (target.scheme, target.netloc) == (before.scheme, before.netloc)
            except ValueError:
                return "it redirects to no address"
            if not is_same:
                host = target.hostname or ""
                return f"it redirects to {host if is_host_name(host) else 'another place'}"
        return "it redirects more than once"

    def _usable(self, host: str, port: int, security: str, username: str | None, how: str) -> Found | str:
        """The server if it obeys the rules for hosts that are typed (SPEC §9.1), or else the rule."""
        if not is_host_name(host):
            return "it names a host that is no host name"
        try:
            check_endpoint(Endpoint(host, port, security, username or self.email), self.settings)
            resolve(
                host,
                port,
                self.settings,
                self.on_wait,
                seconds=self.clock.check(),
                look_up=self._look_up,
            )
        except MailsyncError as error:
            return f"it names {host}:{port}; {error}"
        username = None if username == self.email else username
        return Found(host, port, security, username, how, provider_at(host))

    def _look_up(self, host: str, port: int) -> list[str]:
        return NameServers(self.settings).addresses(host, self.clock.check())

    def _is_sure(self, found: Found) -> bool:
        return found.provider is not None or f".{found.host}".endswith(f".{self.domain}")

    def _is_confirmed(self, found: Found) -> bool:
        with self.clock.stopped():
            return self.confirm(found)


def _at(provider: Provider, host: str, how: str) -> Found:
    return Found(host, provider.port, provider.security, None, how, provider)
