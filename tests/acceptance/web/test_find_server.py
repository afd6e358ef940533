"""``POST /v1/accounts`` without ``imap_host``: what is found, and how the answer says so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.account_client import Client
from tests.support.api import StartApi
from tests.support.dns_server import DnsServer

DOMAIN = "example.test"


@pytest.fixture
def client(start_api: StartApi, dns_server: DnsServer) -> Client:
    return Client(start_api(WEB_CONCURRENCY="1", DNS_SERVERS=dns_server.address))


def _body(email: str = f"ann@{DOMAIN}", **changes: Any) -> dict[str, Any]:
    return {"email": email, "password": "any-password", "verify": False} | changes


def test_the_answer_says_what_was_found_and_how(client: Client, dns_server: DnsServer) -> None:
    dns_server.add(f"_imap._tcp.{DOMAIN}", "SRV", f"0 0 143 mail.{DOMAIN}.")
    dns_server.add(f"mail.{DOMAIN}", "A", "127.0.0.1")
    added = client.done(201, "POST", "/v1/accounts", _body())
    assert (added["imap_host"], added["imap_port"], added["imap_security"]) == (
        f"mail.{DOMAIN}",
        143,
        "starttls",
    )
    assert added["note"] == (
        f"Found mail.{DOMAIN}:143 (starttls): an SRV record of {DOMAIN} names it (_imap._tcp)."
    )


def test_the_note_has_what_the_provider_requires(client: Client, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "MX", "1 aspmx.l.google.com.")
    added = client.done(201, "POST", "/v1/accounts", _body())
    assert added["provider"] == "Gmail"
    assert added["note"].startswith(f"Found imap.gmail.com:993 (tls): the mail of {DOMAIN} is at Gmail (MX ")
    assert "app password" in added["note"]


def test_a_provider_that_takes_no_password_is_refused(client: Client, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "MX", "1 example-test.mail.protection.outlook.com.")
    problem = client.done(422, "POST", "/v1/accounts", _body())
    assert f"the mail of {DOMAIN} is at Outlook" in str(problem)
    assert "--oauth microsoft (over HTTP: oauth)" in str(problem)


def test_nothing_found_is_answered_with_what_each_place_said(client: Client, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "MX", "0 .")
    problem = client.done(422, "POST", "/v1/accounts", _body())
    assert f"MX of {DOMAIN}: the domain receives no mail; SRV of {DOMAIN}: there is no record" in str(problem)
    assert "imap_host" in str(problem)


def test_nothing_is_looked_for_without_discover(client: Client, dns_server: DnsServer) -> None:
    problem = client.done(422, "POST", "/v1/accounts", _body(discover=False))
    assert f"no provider is known for {DOMAIN}; name its IMAP server" in str(problem)
    client.done(201, "POST", "/v1/accounts", _body(imap_host="localhost"))
    client.done(201, "POST", "/v1/accounts", _body("ann@migadu.com"))
    assert dns_server.asked == []
