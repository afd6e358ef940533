"""Known providers, misspelt domains, and valid addresses."""

from __future__ import annotations

import pytest

from mailsync.core.providers import PROVIDERS, likely_domain, normalise_email, provider_at, provider_for
from mailsync.errors import InvalidInput


@pytest.mark.parametrize(
    ("email", "host"),
    [
        ("jo@emailsrvr.com", "secure.emailsrvr.com"),
        ("Jo@Gmail.com", "imap.gmail.com"),
        ("jo@googlemail.com", "imap.gmail.com"),
        ("jo@outlook.com", "outlook.office365.com"),
        ("jo@firm.onmicrosoft.com", "outlook.office365.com"),
        ("jo@icloud.com", "imap.mail.me.com"),
        ("jo@yahoo.co.uk", "imap.mail.yahoo.com"),
        ("jo@aol.com", "imap.aol.com"),
        ("jo@fastmail.fm", "imap.fastmail.com"),
        ("jo@zoho.eu", "imap.zoho.eu"),
        ("jo@gmx.de", "imap.gmx.net"),
        ("jo@gmx.com", "imap.gmx.com"),
        ("jo@mail.com", "imap.mail.com"),
        ("jo@yandex.ru", "imap.yandex.com"),
        ("jo@ionos.com", "imap.ionos.com"),
        ("jo@ovh.net", "ssl0.ovh.net"),
        ("jo@migadu.com", "imap.migadu.com"),
        ("jo@mailbox.org", "imap.mailbox.org"),
    ],
)
def test_a_known_domain_has_a_server(email: str, host: str) -> None:
    provider = provider_for(email)
    assert provider is not None
    assert (provider.host, provider.port, provider.security) == (host, 993, "tls")


@pytest.mark.parametrize(
    "email", ["jo@example.com", "jo@notgmail.com", "jo", "", "jo@", "gmail.com@example.com"]
)
def test_an_unknown_domain_has_no_provider(email: str) -> None:
    assert provider_for(email) is None


def test_the_note_says_whether_an_app_password_is_needed_or_useless() -> None:
    for email in (
        "jo@gmail.com",
        "jo@icloud.com",
        "jo@yahoo.com",
        "jo@aol.com",
        "jo@fastmail.com",
        "jo@yandex.ru",
    ):
        provider = provider_for(email)
        assert provider is not None and provider.accepts_passwords and "app password" in provider.note
    provider = provider_for("jo@hotmail.com")
    assert provider is not None and not provider.accepts_passwords and "OAuth" in provider.note


def test_no_domain_belongs_to_two_providers_and_all_are_lower_case() -> None:
    domains = [domain for provider in PROVIDERS for domain in provider.domains]
    assert len(domains) == len(set(domains))
    assert all(domain == domain.lower() for domain in domains)
    assert all(provider.note == "" or provider.note.endswith(".") for provider in PROVIDERS)


def test_a_provider_is_found_by_its_server() -> None:
    provider = provider_at("Secure.EmailSrvr.com.")
    assert provider is not None and provider.name == "Rackspace"
    assert provider_at("imap.example.com") is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gmial.com", "gmail.com"),
        ("gmal.com", "gmail.com"),
        ("gmaill.com", "gmail.com"),
        ("gmail.con", "gmail.com"),
        ("yahoo.cm", "yahoo.com"),
        ("fastmial.fm", "fastmail.fm"),
        ("gmail.com", None),
        ("gmali.con", None),
        ("me.co", None),
        ("example.com", None),
        ("", None),
    ],
)
def test_a_domain_one_slip_from_a_provider_is_recognised(typed: str, meant: str | None) -> None:
    assert likely_domain(typed) == meant


@pytest.mark.parametrize(
    ("text", "email"),
    [
        (" Jo.Doe+tag@Example.COM\n", "jo.doe+tag@example.com"),
        ("jo@localhost", "jo@localhost"),
        ("o'brien@example.com", "o'brien@example.com"),
        ("MÜLLER@BÜCHER.example", "müller@bücher.example"),
        ("mu\u0308ller@example.com", "müller@example.com"),
        ("jo@xn--bcher-kva.example", "jo@xn--bcher-kva.example"),
        ("जो@हिन्दी.भारत", "जो@हिन्दी.भारत"),
    ],
)
def test_addresses_are_lower_case_and_composed(text: str, email: str) -> None:
    assert normalise_email(text) == email


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jo",
        "@example.com",
        "jo@",
        "a@@b.example",
        "a b@example.com",
        "a@b@c.example",
        "jo@b..example",
        "jo@-b.example",
        "jo@b-.example",
        "jo@b_c.example",
        "jo@example.com.",
        "jo@[192.0.2.1]",
        '"a b"@example.com',
        ".jo@example.com",
        "jo.@example.com",
        "j..o@example.com",
        "x" * 65 + "@example.com",
        "jo@" + "x" * 64,
        "jo@" + "ü" * 60 + ".example",
        "jo@" + "x.y" * 90,
        "jo\r\n@example.com",
        "jo\0@example.com",
        "\ud800@x.example",
        "Jo <jo@example.com>",
        "a@x.example,b@x.example",
        "jo@example.com\u202e",
    ],
)
def test_a_text_that_is_no_address_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        normalise_email(text)
    message = str(caught.value)
    assert "expected an e-mail address such as name@example.com" in message
    assert message.isprintable() and len(message) < 250
