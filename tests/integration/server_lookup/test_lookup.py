"""Find the server of an address with a real name server: MX, SRV, their order, time limits and lies."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from mailsync.config import Settings
from mailsync.server_lookup.lookup import Found, Lookup, find_server
from tests.support.dns_server import DnsServer
from tests.support.patience import Stopwatch, wait_until

DOMAIN = "example.test"
EMAIL = f"ann@{DOMAIN}"
PUBLIC = "9.9.9.9"
IMAPS = f"_imaps._tcp.{DOMAIN}"
IMAP = f"_imap._tcp.{DOMAIN}"

Look = Callable[..., Lookup]


@pytest.fixture
def look(dns_server: DnsServer) -> Look:
    """Look for the server of EMAIL; no web server answers, because no name has a web server's address."""

    def find(email: str = EMAIL, **options: Any) -> Lookup:
        settings = Settings(dns_servers=dns_server.address, **options.pop("settings", {}))
        return find_server(email, settings, **options)

    return find


def notes(lookup: Lookup) -> list[str]:
    return [str(note) for note in lookup.notes]


def _found(lookup: Lookup) -> Found:
    assert lookup.found is not None, notes(lookup)
    return lookup.found


def _address(found: Found) -> tuple[str, int, str]:
    return found.host, found.port, found.security


def _srv(server: DnsServer, *records: str, service: str = IMAPS) -> None:
    """Add SRV records whose targets have a public address."""
    server.add(service, "SRV", *records)
    for target in {record.split()[3].rstrip(".") for record in records}:
        server.add(target or "none.test", "A", PUBLIC)


def test_a_domain_of_a_provider_is_not_asked_about(look: Look, dns_server: DnsServer) -> None:
    found = _found(look("ann@fastmail.com"))
    assert _address(found) == ("imap.fastmail.com", 993, "tls")
    assert dns_server.asked == []


# -- MX --------------------------------------------------------------------------------------------------


def test_a_domain_at_a_provider_is_found_by_its_mx(look: Look, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "MX", "5 alt1.aspmx.l.google.com.", "1 aspmx.l.google.com.")
    found = _found(look())
    assert str(found) == (
        "imap.gmail.com:993 (tls): the mail of example.test is at Gmail (MX aspmx.l.google.com)"
    )
    assert found.provider is not None
    assert [question.kind for question in dns_server.asked] == ["MX"]


def test_the_most_preferred_mx_decides(look: Look, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "MX", "20 aspmx.l.google.com.", f"10 mx.{DOMAIN}.")
    lookup = look()
    assert lookup.found is None
    assert notes(lookup)[0] == f"MX of {DOMAIN}: the mail is at no known provider"


def test_a_domain_without_mail_is_said(look: Look, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "MX", "0 .")
    assert notes(look())[0] == f"MX of {DOMAIN}: the domain receives no mail"


def test_mx_decides_before_srv(look: Look, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "MX", "0 example-test.mail.protection.outlook.com.")
    _srv(dns_server, f"0 0 993 imap.{DOMAIN}.")
    assert _found(look()).host == "outlook.office365.com"


def test_an_alias_is_followed(look: Look, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "CNAME", "other.test.")
    dns_server.add("other.test", "MX", "10 in1-smtp.messagingengine.com.")
    assert _found(look()).host == "imap.fastmail.com"


def test_a_domain_in_another_script_is_asked_for_in_ascii(look: Look, dns_server: DnsServer) -> None:
    dns_server.add("xn--bcher-kva.test", "MX", "10 aspmx1.migadu.com.")
    assert _found(look("ann@bücher.test")).host == "imap.migadu.com"


# -- SRV -------------------------------------------------------------------------------------------------


def test_a_server_is_found_by_srv(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, f"0 1 993 mail.{DOMAIN}.")
    lookup = look()
    assert str(lookup.found) == (f"mail.{DOMAIN}:993 (tls): an SRV record of {DOMAIN} names it (_imaps._tcp)")
    assert notes(lookup) == [f"MX of {DOMAIN}: there is no record"]


def test_the_lowest_priority_comes_first(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, f"20 100 993 b.{DOMAIN}.", f"10 0 993 a.{DOMAIN}.", f"30 9 993 c.{DOMAIN}.")
    assert _found(look()).host == f"a.{DOMAIN}"


def test_weights_share_the_users_of_a_priority(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, f"0 90 993 a.{DOMAIN}.", f"0 10 993 b.{DOMAIN}.", f"5 100 993 c.{DOMAIN}.")
    chance = random.Random(0)
    hosts = [_found(look(chance=chance)).host for _ in range(50)]
    assert 35 < hosts.count(f"a.{DOMAIN}") < 50
    assert f"b.{DOMAIN}" in hosts
    assert f"c.{DOMAIN}" not in hosts


def test_the_next_record_is_used_if_the_first_names_no_usable_server(
    look: Look, dns_server: DnsServer
) -> None:
    _srv(dns_server, f"10 0 2993 a.{DOMAIN}.", f"30 0 993 c.{DOMAIN}.")
    dns_server.add(IMAPS, "SRV", f"20 0 993 nowhere.{DOMAIN}.")
    assert _found(look()).host == f"c.{DOMAIN}"


def test_a_service_that_is_not_offered_falls_back_to_starttls(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, "0 0 0 .")
    _srv(dns_server, f"0 0 143 mail.{DOMAIN}.", service=IMAP)
    assert _address(_found(look())) == (f"mail.{DOMAIN}", 143, "starttls")


def test_a_service_that_is_not_offered_is_said(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, "0 0 0 .")
    assert f"SRV of {DOMAIN}: _imaps._tcp is not offered" in notes(look())


def test_a_server_outside_the_domain_has_to_be_confirmed(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, "0 0 993 imap.hoster.test.")
    lookup = look()
    assert lookup.found is None
    assert "names imap.hoster.test, outside the domain" in notes(lookup)[1]
    asked = []

    def confirm(found: Found) -> bool:
        asked.append(found.host)
        return True

    assert _found(look(confirm=confirm)).host == "imap.hoster.test"
    assert asked == ["imap.hoster.test"]


def test_a_person_is_asked_once(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, *(f"{i} 0 993 mail{i}.hoster.test." for i in range(9)))
    asked = []

    def confirm(found: Found) -> bool:
        asked.append(found.host)
        return False

    assert look(confirm=confirm).found is None
    assert asked == ["mail0.hoster.test"]


def test_a_server_of_a_known_provider_needs_no_confirmation(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, "0 0 993 imap.fastmail.com.")
    found = _found(look())
    assert found.provider is not None
    assert found.provider.name == "Fastmail"


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
def test_a_server_in_a_private_network_is_refused(look: Look, dns_server: DnsServer, address: str) -> None:
    dns_server.add(IMAPS, "SRV", f"0 0 993 mail.{DOMAIN}.")
    dns_server.add(f"mail.{DOMAIN}", "AAAA" if ":" in address else "A", address)
    dns_server.add(f"mail.{DOMAIN}", "A", PUBLIC)
    lookup = look()
    assert lookup.found is None
    assert f"mail.{DOMAIN} resolves to {address}, which is not a public address" in notes(lookup)[1]
    assert _found(look(settings={"imap_allow_private_hosts": True})).host == f"mail.{DOMAIN}"


def test_another_port_is_refused(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, f"0 0 25 mail.{DOMAIN}.")
    lookup = look()
    assert lookup.found is None
    assert f"it names mail.{DOMAIN}:25; port: 25 is not allowed" in notes(lookup)[1]


@pytest.mark.parametrize("target", ["9.9.9.9.", r"imap\010.example.test.", r"a\.b.example.test."])
def test_a_host_that_is_no_host_name_is_refused(look: Look, dns_server: DnsServer, target: str) -> None:
    dns_server.add(IMAPS, "SRV", f"0 0 993 {target}")
    assert "SRV of example.test: it names a host that is no host name" in notes(look())


# -- name servers that fail ------------------------------------------------------------------------------


def test_a_server_that_fails_for_mx_is_still_asked_for_srv(look: Look, dns_server: DnsServer) -> None:
    dns_server.failing.add(DOMAIN)
    _srv(dns_server, f"0 1 993 mail.{DOMAIN}.")
    lookup = look()
    assert _found(lookup).host == f"mail.{DOMAIN}"
    assert notes(lookup) == [f"MX of {DOMAIN}: the name servers cannot answer"]


def test_a_truncated_answer_is_asked_for_over_tcp(look: Look, dns_server: DnsServer) -> None:
    dns_server.truncated.add(DOMAIN)
    dns_server.add(DOMAIN, "MX", "10 mx01.mail.icloud.com.")
    assert _found(look()).host == "imap.mail.me.com"
    assert [question.protocol for question in dns_server.asked] == ["udp", "tcp"]


def test_forged_answers_are_ignored(look: Look, dns_server: DnsServer) -> None:
    dns_server.forged |= {DOMAIN, IMAPS, f"mail.{DOMAIN}"}
    _srv(dns_server, f"0 1 993 mail.{DOMAIN}.")
    assert _address(_found(look())) == (f"mail.{DOMAIN}", 993, "tls")


def test_a_loop_of_aliases_ends(look: Look, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "CNAME", "b.test.")
    dns_server.add("b.test", "CNAME", f"{DOMAIN}.")
    lookup = look()
    assert lookup.found is None
    assert len(notes(lookup)) == 4


def test_thousands_of_records_are_answered_soon(look: Look, dns_server: DnsServer) -> None:
    dns_server.truncated.add(IMAPS)
    dns_server.add(IMAPS, "SRV", *(f"0 1 993 mail{i}.hoster.test." for i in range(1500)))
    lookup = look()
    assert lookup.found is None
    # each of the records that are considered asks for two kinds of addresses
    assert len(dns_server.asked) < 60


def test_silence_takes_the_time_of_its_step_only(look: Look, dns_server: DnsServer) -> None:
    dns_server.silent.add(DOMAIN)
    lookup = look(step_seconds=0.3)
    assert notes(lookup)[0] == f"MX of {DOMAIN}: no name server answered in 0.3 s"
    wait_until(lambda: IMAPS in {question.name for question in dns_server.asked}, "SRV is asked for")


def test_the_whole_lookup_has_a_limit(look: Look, dns_server: DnsServer) -> None:
    dns_server.silent |= {DOMAIN, IMAPS, IMAP, f"autoconfig.{DOMAIN}"}
    watch = Stopwatch()
    lookup = look(step_seconds=0.3, seconds=0.5)
    assert watch.stop() < 3
    assert lookup.found is None
    assert notes(lookup)[-1] == f"{DOMAIN}: no time is left"


def test_the_time_of_a_person_is_not_counted(look: Look, dns_server: DnsServer) -> None:
    _srv(dns_server, "0 0 993 imap.hoster.test.", "1 0 993 imap.example.test.")
    hours = [0.0]

    def confirm(found: Found) -> bool:
        hours[0] += 1
        return False

    lookup = look(confirm=confirm, now=lambda: 3600 * hours[0])
    assert _found(lookup).host == "imap.example.test"


@pytest.mark.parametrize("email", ["ann@127.0.0.1", "ann@" + "a." * 125 + "test"])
def test_a_domain_that_is_no_host_name_is_not_asked_about(
    look: Look, dns_server: DnsServer, email: str
) -> None:
    assert notes(look(email)) == ["DNS: the domain is no host name"]
    assert dns_server.asked == []


def test_name_servers_that_cannot_be_reached_fail_at_once() -> None:
    # sending to the broadcast address is an error
    lookup = find_server(EMAIL, Settings(dns_servers="255.255.255.255"))
    assert lookup.found is None
    assert notes(lookup)[0] == f"MX of {DOMAIN}: the name servers cannot answer"
