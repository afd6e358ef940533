"""Requests to add an account: what follows from an address, and how a wrong host is answered."""

from __future__ import annotations

import pytest

from mailsync.accounts.add import endpoint_for
from mailsync.accounts.fields import check_host
from mailsync.errors import InvalidInput
from mailsync.model import Endpoint


def test_a_known_provider_needs_no_host() -> None:
    expected = Endpoint("imap.gmail.com", 993, "tls", "ann@gmail.com")
    assert endpoint_for("ann@gmail.com") == expected


def test_a_misspelt_domain_is_answered_with_the_likely_one() -> None:
    with pytest.raises(InvalidInput) as caught:
        endpoint_for("ann@gmial.com")
    assert str(caught.value) == (
        "no provider is known for gmial.com; did you mean ann@gmail.com?"
        " Otherwise name its IMAP server: --host HOST (over HTTP: imap_host)"
    )
    assert caught.value.field == "imap_host"


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("imap.example.com:993", "imap.example.com", 993),
        ("127.0.0.1:3143", "127.0.0.1", 3143),
        ("[2001:db8::1]:993", "2001:db8::1", 993),
    ],
)
def test_a_host_with_a_port_is_answered_with_what_to_type(host: str, name: str, port: int) -> None:
    with pytest.raises(InvalidInput, match=f"--host {name} --port {port} ") as caught:
        endpoint_for("ann@example.com", host=host)
    assert caught.value.field == "imap_host"


@pytest.mark.parametrize("host", ["imaps://imap.example.com:993", "https://imap.example.com/mail"])
def test_a_url_is_answered_with_what_to_type(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"--host imap\.example\.com ") as caught:
        endpoint_for("ann@example.com", host=host)
    assert caught.value.field == "imap_host"


@pytest.mark.parametrize("host", ["imap.example.com", "127.0.0.1", "::1", "2001:db8::993", "localhost"])
def test_a_host_without_a_port_is_accepted(host: str) -> None:
    check_host(host)


def test_an_address_in_brackets_is_stored_without_them() -> None:
    assert endpoint_for("ann@example.com", host="[2001:db8::1]").host == "2001:db8::1"
