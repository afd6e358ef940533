"""Which addresses, ports and names mailsync may connect to (SPEC §9.1)."""

from __future__ import annotations

import socket

import pytest

from mailsync.config import Settings
from mailsync.errors import ForbiddenHost, InvalidInput, TimedOut, Transient
from mailsync.imap import check_endpoint
from mailsync.model import Endpoint
from mailsync.network.resolve import _unresolved, bare_host, is_public, resolve

GOOD = Endpoint("imap.example.com", 993, "tls", "me@example.com")


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "::10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2a00::5efe:7f00:1",
        "2a00::200:5efe:a00:1",
        # global according to some releases of Python
        "192.0.0.8",
        "fec0::1",
        "feff::1",
        "3fff::1",
    ],
)
def test_private_addresses_are_refused_in_every_form(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"port": 25}, ForbiddenHost),
        ({"port": 0}, InvalidInput),
        ({"port": 70000}, InvalidInput),
        ({"host": ""}, InvalidInput),
        ({"host": "a b"}, InvalidInput),
        ({"host": "a\r\nb"}, InvalidInput),
        ({"host": "http://a"}, InvalidInput),
        ({"host": "x" * 254}, InvalidInput),
        ({"host": "[::1"}, InvalidInput),
        ({"host": "::1]"}, InvalidInput),
        ({"host": "[]"}, InvalidInput),
        ({"host": "[imap.example.com]"}, InvalidInput),
        ({"host": "[::1]:993"}, InvalidInput),
        ({"username": ""}, InvalidInput),
        ({"username": "a\r\nb"}, InvalidInput),
        ({"username": "a\0b"}, InvalidInput),
        ({"username": "a\udc80b"}, InvalidInput),
        ({"security": "ssl"}, InvalidInput),
        ({"security": "plaintext"}, InvalidInput),
    ],
)
def test_a_bad_endpoint_is_refused_with_a_message_of_one_line(
    changes: dict[str, object], kind: type[InvalidInput]
) -> None:
    fields = {name: getattr(GOOD, name) for name in ("host", "port", "security", "username")}
    with pytest.raises(kind) as caught:
        check_endpoint(Endpoint(**{**fields, **changes}), Settings())  # type: ignore[arg-type]
    assert type(caught.value) is kind
    assert caught.value.step == "connect"
    assert "\n" not in str(caught.value)


def test_good_endpoints_are_accepted() -> None:
    check_endpoint(GOOD, Settings())
    check_endpoint(Endpoint("imap.example.com", 143, "starttls", "me"), Settings())
    private = Settings(imap_allow_private_hosts=True, imap_allow_plaintext=True)
    check_endpoint(Endpoint("127.0.0.1", 10143, "plaintext", "me"), private)
    check_endpoint(Endpoint("[2001:4860:4860::8888]", 993, "tls", "me"), Settings())


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        ("[::1]", "::1"),
        ("[2001:DB8::1]", "2001:DB8::1"),
        ("[192.0.2.1]", "192.0.2.1"),
        ("::1", "::1"),
        ("imap.example.com", "imap.example.com"),
        ("[imap.example.com]", "[imap.example.com]"),
        ("[::1]:993", "[::1]:993"),
        ("[", "["),
        ("", ""),
    ],
)
def test_an_address_in_brackets_is_the_address(host: str, bare: str) -> None:
    assert bare_host(host) == bare


def test_an_address_in_brackets_is_judged_as_an_address() -> None:
    assert resolve("[2001:4860:4860::8888]", 993, Settings(), lambda: None) == ["2001:4860:4860::8888"]
    assert resolve("[::1]", 993, Settings(imap_allow_private_hosts=True), lambda: None) == ["::1"]
    for host in ("[::1]", "[fe80::1%lo]", "[127.0.0.1]"):
        with pytest.raises(ForbiddenHost, match="is not a public address"):
            resolve(host, 993, Settings(), lambda: None)


def test_only_a_name_that_does_not_exist_may_be_misspelt() -> None:
    missing = _unresolved("imap.exmaple.com", socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert str(missing) == (
        "host: imap.exmaple.com cannot be resolved: Name or service not known; check the spelling"
    )
    later = _unresolved("imap.example.com", socket.gaierror(socket.EAI_AGAIN, "Temporary failure"))
    assert str(later) == "host: imap.example.com cannot be resolved: Temporary failure"


def test_another_resolver_is_asked_for_names_only_and_checked_by_the_same_rules() -> None:
    asked = []

    def look_up(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["8.8.8.8", "10.0.0.1"] if host == "mixed.example" else ["8.8.8.8"]

    def resolved(host: str) -> list[str]:
        return resolve(host, 443, Settings(), lambda: None, look_up=look_up, field="url")

    assert resolved("public.example") == ["8.8.8.8"]
    with pytest.raises(ForbiddenHost, match="resolves to 10\\.0\\.0\\.1, which is not a public") as caught:
        resolved("mixed.example")
    assert (caught.value.step, caught.value.field) == ("dns", "url")
    # every notation of an address is an address
    for host in ("127.0.0.1", "2130706433", "0x7f.1", "[::1]"):
        with pytest.raises(ForbiddenHost, match="is not a public address"):
            resolved(host)
    assert asked == [("public.example", 443), ("mixed.example", 443)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError("no answer"), Transient),
        (TimedOut("the name server is silent"), TimedOut),
        (UnicodeError("label too long"), InvalidInput),
        (LookupError("no such record"), LookupError),
    ],
)
def test_an_error_of_another_resolver_is_raised_where_it_was_asked(
    error: Exception, kind: type[Exception]
) -> None:
    def look_up(host: str, port: int) -> list[str]:
        raise error

    with pytest.raises(kind) as caught:
        resolve("a.example", 443, Settings(), lambda: None, look_up=look_up)
    assert type(caught.value) is kind
