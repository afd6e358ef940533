"""Find the server by autoconfig files on real web servers: where, in what order, what they may not do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from mailsync.config import Settings
from mailsync.server_lookup.lookup import Lookup, find_server
from tests.support.certificates import Authority
from tests.support.dns_server import DnsServer
from tests.support.patience import Stopwatch
from tests.support.web_server import WebServer, response, serving

DOMAIN = "example.test"
EMAIL = f"ann+1@{DOMAIN}"
AUTOCONFIG = f"autoconfig.{DOMAIN}"
AUTOCONFIG_PATH = "/mail/config-v1.1.xml?emailaddress=ann%2B1%40example.test"
WELL_KNOWN_PATH = "/.well-known/autoconfig" + AUTOCONFIG_PATH
CONFIG = (
    b'<clientConfig version="1.1"><emailProvider><incomingServer type="imap"><hostname>%s</hostname>'
    b"<port>%d</port><socketType>SSL</socketType><username>%%EMAILLOCALPART%%</username>"
    b"</incomingServer></emailProvider></clientConfig>"
)

Page = bytes | Callable[[WebServer], Iterable[bytes]]


def config(host: str = f"imap.{DOMAIN}", port: int = 993) -> bytes:
    return CONFIG % (host.encode(), port)


def notes(lookup: Lookup) -> list[str]:
    return [str(note) for note in lookup.notes]


@dataclass
class Web:
    """Both web servers of the domain in one: ``pages`` by host and path; others are 404."""

    dns: DnsServer
    settings: Settings
    pages: dict[tuple[str, str], Page] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    server: WebServer = field(init=False)

    def answer(self, request: bytes) -> Iterable[bytes]:
        lines = request.decode().split("\r\n")
        host = next(line for line in lines if line.lower().startswith("host:")).split(":")[1].strip()
        key = host, lines[0].split()[1]
        self.asked.append(key)
        page = self.pages.get(key, response(b"", status="404 Not Found"))
        return [page] if isinstance(page, bytes) else page(self.server)

    def look(self, **options: Any) -> Lookup:
        return find_server(EMAIL, self.settings, https_port=self.server.port, **options)


@pytest.fixture
def web(dns_server: DnsServer, authority: Authority) -> Iterator[Web]:
    """Two empty web servers, in a network whose addresses are allowed."""
    settings = Settings(
        dns_servers=dns_server.address, imap_ca_file=authority.ca_file, imap_allow_private_hosts=True
    )
    for name in (AUTOCONFIG, DOMAIN, f"imap.{DOMAIN}", "imap.hoster.test", "www.example.test"):
        dns_server.add(name, "A", "127.0.0.1")
    pages = Web(dns_server, settings)
    with serving(pages.answer, authority.named(AUTOCONFIG, DOMAIN)) as server:
        pages.server = server
        yield pages


def test_the_file_at_autoconfig_is_used(web: Web) -> None:
    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = response(config())
    found = web.look().found
    assert found is not None
    assert str(found) == (
        f"imap.{DOMAIN}:993 (tls): the file at https://{AUTOCONFIG}:{web.server.port} names it"
    )
    assert found.username == "ann+1"


def test_the_well_known_file_is_used_where_autoconfig_has_none(web: Web) -> None:
    web.pages[DOMAIN, WELL_KNOWN_PATH] = response(config("imap.hoster.test"))
    lookup = web.look()
    assert lookup.found is not None
    assert lookup.found.host == "imap.hoster.test"
    assert notes(lookup)[-1] == f"{AUTOCONFIG}: there is no file (404)"
    assert web.asked == [(AUTOCONFIG, AUTOCONFIG_PATH), (DOMAIN, WELL_KNOWN_PATH)]


def test_the_order_decides_where_places_disagree(web: Web) -> None:
    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = response(config("imap.example.test", 1))
    web.pages[DOMAIN, WELL_KNOWN_PATH] = response(config("imap.example.test", 2))
    found = web.look().found
    assert found is not None
    assert found.port == 1
    web.dns.add(f"_imaps._tcp.{DOMAIN}", "SRV", f"0 0 3 imap.{DOMAIN}.")
    found = web.look().found
    assert found is not None
    assert found.port == 3
    web.dns.add(DOMAIN, "MX", "1 aspmx.l.google.com.")
    found = web.look().found
    assert found is not None
    assert found.host == "imap.gmail.com"
    assert len(web.asked) == 1


def test_an_unconfirmed_record_leaves_the_decision_to_the_file(web: Web) -> None:
    web.dns.add(f"_imaps._tcp.{DOMAIN}", "SRV", "0 0 993 imap.hoster.test.")
    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = response(config("imap.hoster.test"))
    found = web.look().found
    assert found is not None
    assert "the file at" in found.how


def test_a_redirect_on_the_same_server_is_followed_once(web: Web) -> None:
    moved = "301 Moved Permanently"
    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = response(b"", "Location: /new.xml", status=moved)
    web.pages[AUTOCONFIG, "/new.xml"] = response(config())
    assert web.look().found is not None
    web.pages[AUTOCONFIG, "/new.xml"] = response(b"", "Location: /newer.xml", status=moved)
    web.pages[AUTOCONFIG, "/newer.xml"] = response(config())
    assert f"{AUTOCONFIG}: it redirects more than once" in notes(web.look())


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://www.example.test/x.xml", "www.example.test"),
        ("https://autoconfig.example.test/x.xml", AUTOCONFIG),
        ("http://autoconfig.example.test:{port}/x.xml", AUTOCONFIG),
        ("//www.example.test:{port}/x.xml", "www.example.test"),
        ("https://169.254.169.254/latest", "another place"),
        ("https://ann@autoconfig.example.test:{port}/x.xml", AUTOCONFIG),
        ("file:///etc/passwd", "another place"),
        ("https://[", "no address"),
    ],
)
def test_a_redirect_to_another_server_is_not_followed(web: Web, location: str, target: str) -> None:
    line = "Location: " + location.format(port=web.server.port)
    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = response(b"", line, status="302 Found")
    assert f"{AUTOCONFIG}: it redirects to {target}" in notes(web.look())
    assert len(web.asked) == 2


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (b"<!DOCTYPE html><html></html>", "it answers a web page"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><clientConfig>&a;</clientConfig>', "the file has a document type"),
        (b"<clientConfig/>", "the file names no IMAP server"),
        (config("127.0.0.1"), "it names a host that is no host name"),
        (config(f"nowhere.{DOMAIN}"), f"it names nowhere.{DOMAIN}:993; "),
    ],
)
def test_a_file_of_no_use_is_said(web: Web, body: bytes, note: str) -> None:
    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = response(body)
    lookup = web.look()
    assert lookup.found is None
    assert notes(lookup)[2].startswith(f"{AUTOCONFIG}: {note}")


def test_a_gigabyte_is_not_read(web: Web) -> None:
    def endless(server: WebServer) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n<clientConfig>"
        while not server.stopped.is_set():
            yield b" " * 65536

    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = endless
    web.pages[DOMAIN, WELL_KNOWN_PATH] = response(config())
    watch = Stopwatch()
    lookup = web.look()
    assert watch.stop() < 8
    assert lookup.found is not None
    assert notes(lookup)[2].startswith(f"{AUTOCONFIG}: ")


def test_a_server_that_drips_takes_the_time_of_its_step_only(web: Web) -> None:
    def dripping(server: WebServer) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        while not server.stopped.wait(0.05):
            yield b" "

    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = dripping
    watch = Stopwatch()
    lookup = web.look(step_seconds=2)
    assert watch.stop() < 8
    assert "timed out" in notes(lookup)[2]
    assert (DOMAIN, WELL_KNOWN_PATH) in web.asked


def test_a_certificate_for_another_name_is_refused(web: Web, authority: Authority) -> None:
    with serving(web.answer, authority.named("elsewhere.test")) as server:
        web.server = server
        web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = response(config())
        lookup = web.look()
    assert lookup.found is None
    assert "the certificate of autoconfig.example.test does not verify" in notes(lookup)[2]
    assert web.asked == []


def test_a_web_server_in_a_private_network_is_not_asked(web: Web) -> None:
    web.settings = web.settings.model_copy(update={"imap_allow_private_hosts": False})
    web.pages[AUTOCONFIG, AUTOCONFIG_PATH] = response(config())
    lookup = web.look()
    assert lookup.found is None
    assert f"{AUTOCONFIG} resolves to 127.0.0.1, which is not a public address" in notes(lookup)[2]
    assert web.server.connections == 0


def test_a_port_without_a_server_is_said(web: Web) -> None:
    web.server.stop()
    lookup = web.look()
    assert lookup.found is None
    assert "Connection refused" in notes(lookup)[2]
