"""``add-account`` without --host: what is found, and said before a password is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support.certificates import Authority
from tests.support.commands import EMAIL, on_a_terminal
from tests.support.dns_server import DnsServer
from tests.support.dovecot import Dovecot
from tests.support.programs import Finished, Mailsync

DOMAIN = EMAIL.partition("@")[2]
STORED = "select email, imap_host, imap_port, imap_security, username from accounts"

Database = psycopg.Connection[Any]
Refused = Callable[..., Finished]


@pytest.fixture(autouse=True)
def _name_server(mailsync: Mailsync, dns_server: DnsServer) -> None:
    """Every command of these tests asks the test's name server."""
    mailsync.environment["DNS_SERVERS"] = dns_server.address


@pytest.fixture
def add_untested(mailsync: Mailsync) -> Callable[..., Finished]:
    def add(*args: str, email: str = EMAIL) -> Finished:
        return mailsync(
            "add-account", email, "--no-verify", "--password-stdin", *args, input="any-password\n"
        )

    return add


def test_a_server_is_found_and_said_and_used(
    mailsync: Mailsync,
    tls_dovecot: Dovecot,
    authority: Authority,
    dns_server: DnsServer,
    database: Database,
) -> None:
    user = tls_dovecot.new_user()
    mailsync.environment["IMAP_CA_FILE"] = str(authority.ca_file)
    dns_server.add("_imaps._tcp.localhost", "SRV", f"0 0 {tls_dovecot.tls_port} localhost.")
    dns_server.add("localhost", "A", "127.0.0.1")
    options = ["--username", user.name, "--password-stdin"]
    done = mailsync("add-account", "ann@localhost", *options, input=f"{user.password}\n")
    assert done.returncode == 0, done
    assert done.stderr == (
        f"Found localhost:{tls_dovecot.tls_port} (tls): an SRV record of localhost names it (_imaps._tcp)\n"
    )
    assert f"✓ Logged in at localhost:{tls_dovecot.tls_port} (tls), 1 folder" in done.stdout
    row = ("ann@localhost", "localhost", tls_dovecot.tls_port, "tls", user.name)
    assert database.execute(STORED).fetchone() == row


def test_it_is_said_before_the_password_is_asked_for(mailsync: Mailsync, dns_server: DnsServer) -> None:
    dns_server.add(DOMAIN, "MX", "1 smtp.google.com.")
    code, output = on_a_terminal(mailsync, ["add-account", EMAIL, "--no-verify"], {"Password of": "any"})
    assert code == 0, output
    lines = output.splitlines()
    assert lines[:2] == [
        f"Looking for the IMAP server of {DOMAIN} …",
        f"Found imap.gmail.com:993 (tls): the mail of {DOMAIN} is at Gmail (MX smtp.google.com)",
    ]
    assert "app password" in lines[2]
    assert "--oauth google" in lines[2]
    assert lines[3].startswith(f"Password of {EMAIL} at imap.gmail.com:")


def test_a_domain_at_microsoft_is_told_to_use_oauth(
    mailsync: Mailsync, dns_server: DnsServer, database: Database
) -> None:
    dns_server.add(DOMAIN, "MX", "0 example-test.mail.protection.outlook.com.")
    code, output = on_a_terminal(mailsync, ["add-account", EMAIL], {})
    assert code == 2
    assert f"the mail of {DOMAIN} is at Outlook" in output
    assert "--oauth microsoft" in output
    assert "Password" not in output
    assert database.execute(STORED).fetchall() == []


def test_what_is_entered_wins(add_untested: Refused, dns_server: DnsServer, database: Database) -> None:
    dns_server.add(DOMAIN, "MX", "10 aspmx1.migadu.com.")
    done = add_untested("--security", "starttls", "--username", "ann")
    assert done.returncode == 0, done
    row = (EMAIL, "imap.migadu.com", 143, "starttls", "ann")
    assert database.execute(STORED).fetchone() == row


@pytest.mark.parametrize(
    ("email", "args"),
    [
        (EMAIL, ("--no-discover",)),
        (EMAIL, ("--host", "localhost")),
        ("ann@migadu.com", ()),
        ("ann@gmial.com", ()),
    ],
)
def test_nothing_is_looked_for(
    add_untested: Refused, dns_server: DnsServer, email: str, args: tuple[str, ...]
) -> None:
    done = add_untested(*args, email=email)
    assert "Found" not in done.stderr
    assert dns_server.asked == []


def test_a_server_in_a_private_network_is_refused(
    mailsync: Mailsync, add_untested: Refused, dns_server: DnsServer
) -> None:
    mailsync.environment["IMAP_ALLOW_PRIVATE_HOSTS"] = "false"
    dns_server.add(f"_imaps._tcp.{DOMAIN}", "SRV", f"0 0 993 imap.{DOMAIN}.")
    dns_server.add(f"imap.{DOMAIN}", "A", "192.168.1.1")
    done = add_untested()
    assert done.returncode == 2
    assert f"imap.{DOMAIN} resolves to 192.168.1.1, which is not a public address" in done.stderr
    assert "name it: --host HOST" in done.stderr


def test_a_server_outside_the_domain_is_asked_about_on_a_terminal_only(
    mailsync: Mailsync, add_untested: Refused, dns_server: DnsServer, database: Database
) -> None:
    dns_server.add(f"_imaps._tcp.{DOMAIN}", "SRV", "0 0 993 localhost.")
    dns_server.add("localhost", "A", "127.0.0.1")
    done = add_untested()
    assert done.returncode == 2
    assert "_imaps._tcp names localhost, outside the domain; name it yourself to trust it" in done.stderr
    answers = {"Send the password there?": "y", "Password of": "any"}
    code, output = on_a_terminal(mailsync, ["add-account", EMAIL, "--no-verify"], answers)
    assert code == 0, output
    assert database.execute(STORED).fetchone() == (EMAIL, "localhost", 993, "tls", EMAIL)


def test_a_person_is_asked_where_nothing_is_found(
    mailsync: Mailsync, dns_server: DnsServer, database: Database
) -> None:
    dns_server.add(DOMAIN, "MX", f"0 mx.{DOMAIN}.")
    answers = {f"IMAP server of {DOMAIN}:": "localhost", "Password of": "any"}
    code, output = on_a_terminal(mailsync, ["add-account", EMAIL, "--no-verify"], answers)
    assert code == 0, output
    assert f"  MX of {DOMAIN}: the mail is at no known provider" in output
    assert f"  SRV of {DOMAIN}: there is no record" in output
    assert database.execute(STORED).fetchone() == (EMAIL, "localhost", 993, "tls", EMAIL)
