"""Autoconfig files, by tables: what is read from them, and what is refused."""

from __future__ import annotations

import pytest

from mailsync.errors import ProtocolError
from mailsync.server_lookup.autoconfig import (
    LARGEST,
    MOST_SERVERS,
    ConfiguredServer,
    is_host_name,
    read_config,
)

EMAIL = "ann@example.com"


def server(
    host: str = "imap.example.com",
    port: str = "993",
    security: str = "SSL",
    username: str = "%EMAILADDRESS%",
    authentication: str = "password-cleartext",
    kind: str = "imap",
) -> str:
    return (
        f'<incomingServer type="{kind}"><hostname>{host}</hostname><port>{port}</port>'
        f"<socketType>{security}</socketType><authentication>{authentication}</authentication>"
        f"<username>{username}</username></incomingServer>"
    )


def config(*servers: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<clientConfig version="1.1">\n'
        '  <emailProvider id="example.com"><domain>example.com</domain>'
        f"{''.join(servers)}</emailProvider></clientConfig>"
    ).encode()


def test_a_file_of_a_provider_is_read() -> None:
    raw = config(
        server("pop.example.com", "995", kind="pop3"),
        server(),
        server(port="143", security="STARTTLS", username="%EMAILLOCALPART%"),
        '<outgoingServer type="smtp"><hostname>smtp.example.com</hostname></outgoingServer>',
    )
    assert read_config(raw, EMAIL) == [
        ConfiguredServer("imap.example.com", 993, "tls", EMAIL),
        ConfiguredServer("imap.example.com", 143, "starttls", "ann"),
    ]


@pytest.mark.parametrize(
    ("host", "username", "expected"),
    [
        ("imap.%EMAILDOMAIN%", "%EMAILADDRESS%", ("imap.example.com", "ann@example.com")),
        ("IMAP.Example.COM.", "%EMAILLOCALPART%", ("imap.example.com", "ann")),
        ("imap.example.com", "%EMAILDOMAIN%\\%EMAILLOCALPART%", ("imap.example.com", "example.com\\ann")),
        (" imap.example.com\n", "\n  ann ", ("imap.example.com", "ann")),
        ("imap.example.com", "", ("imap.example.com", None)),
        ("imap.example.com", "a&amp;b&#64;c", ("imap.example.com", "a&b@c")),
    ],
)
def test_the_address_takes_the_place_of_placeholders(
    host: str, username: str, expected: tuple[str, str | None]
) -> None:
    (read,) = read_config(config(server(host, username=username)), EMAIL)
    assert (read.host, read.username) == expected
    assert read.problem is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (server(security="plain"), "it offers imap.example.com without TLS"),
        (server(security=""), "it offers imap.example.com without TLS"),
        (server(port="0"), "it names no port of imap.example.com"),
        (server(port="70000"), "it names no port of imap.example.com"),
        (server(port="imaps"), "it names no port of imap.example.com"),
        (server(port="٩٩٣"), "it names no port of imap.example.com"),
        (server(authentication="GSSAPI"), "imap.example.com accepts no password"),
        (
            server(username="%REALNAME%"),
            "it names a user of imap.example.com that cannot be derived from the address",
        ),
        *(
            (server(host), "it names a host that is no host name")
            for host in (
                "", "127.0.0.1", "[::1]", "::1", "0x7f000001", "0x7f.1", "2130706433", "imap.example.com:993",
                "imap example.com", "-imap.example.com", "imap..example.com", "ímap.example.com", "a" * 64,
                "https://imap.example.com", "imap.example.com/x", "a." * 127 + "test", "%REALNAME%.test",
            )
        ),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_used_is_read_with_the_reason(text: str, problem: str) -> None:
    read, usable = read_config(config(text, server("other.example.com")), EMAIL)
    assert read.problem == problem
    assert usable.problem is None


@pytest.mark.parametrize("methods", ["", "plain", "OAuth2", "GSSAPI</authentication><authentication>plain"])
def test_methods_that_mailsync_has_are_usable(methods: str) -> None:
    (read,) = read_config(config(server(authentication=methods)), EMAIL)
    assert read.problem is None


def test_the_first_of_repeated_elements_counts() -> None:
    raw = config(server().replace("<port>", "<port>993</port><port>1</port><port>"))
    assert read_config(raw, EMAIL)[0].port == 993


def test_elements_at_other_places_are_no_servers() -> None:
    nested = f"<documentation>{server('evil.test')}</documentation>"
    inner = server().replace("<port>", "<x><hostname>evil.test</hostname></x><port>")
    assert [read.host for read in read_config(config(nested, inner), EMAIL)] == ["imap.example.com"]


def test_only_so_many_servers_are_considered() -> None:
    assert len(read_config(config(*[server()] * 100), EMAIL)) == MOST_SERVERS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252", "koi8-r"])
def test_files_in_other_encodings_are_read(encoding: str) -> None:
    text = config(server()).decode().replace("UTF-8", encoding.removesuffix("-sig"))
    assert read_config(text.encode(encoding), EMAIL)[0].host == "imap.example.com"


ENTITY = '<!DOCTYPE x [<!ENTITY a "imap.example.com">]>'
BILLION = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
PARAMETER = '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1/x.dtd"> %p;]>'
DTD = "the file has a document type, which is not accepted"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (ENTITY.encode() + b"<clientConfig>&a;</clientConfig>", DTD),
        (BILLION.encode() + b"<clientConfig>&i;</clientConfig>", DTD),
        (EXTERNAL.encode() + b"<clientConfig>&a;</clientConfig>", DTD),
        (PARAMETER.encode() + b"<clientConfig/>", DTD),
        (b'<!DOCTYPE clientConfig SYSTEM "http://127.0.0.1/x.dtd"><clientConfig/>', DTD),
        (b"<!DOCTYPE html><html><body>404</body></html>", "it answers a web page"),
        (b"<html><body>not here</body></html>", "the file is no autoconfig file"),
        (b"", "the file is no XML: no element found"),
        (b'{"imap": "imap.example.com"}', "the file is no XML: not well-formed"),
        (b"<clientConfig>&a;</clientConfig>", "the file is no XML: undefined entity"),
        (config(server())[:-20], "the file is no XML: "),
        (config(server()) + b"<x/>", "the file is no XML: junk after document element"),
        (b"<clientConfig>" * 100, "the file is nested more than 16 levels deep"),
        (b"<a>" * 20_000, "the file is nested more than 16 levels deep"),
        (
            b'<?xml version="1.0" encoding="none-such"?><clientConfig/>',
            "the file is no XML: unknown encoding",
        ),
        (b'<?xml version="1.0" encoding="utf-7"?><clientConfig/>', "the file is no XML: "),
        (b'<?xml version="1.0" encoding="base64"?><clientConfig/>', "the file is no XML: "),
        (b"<clientConfig>\xff</clientConfig>", "the file is no XML: not well-formed"),
        (b"<clientConfig>\0</clientConfig>", "the file is no XML: "),
        (b" " * (LARGEST + 1), "the file is larger than 64 KiB"),
    ],
)
def test_hostile_and_broken_files_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_config(raw, EMAIL)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("imap.example.com", True),
        ("localhost", True),
        ("xn--bcher-kva.test", True),
        ("a_b.example.com", True),
        ("1.2.3.4", False),
        ("1.2.3.4.", False),
        ("imap.example.com\n", False),
        ("imap.example.com.", False),
        ("", False),
        (".", False),
    ],
)
def test_host_names(text: str, expected: bool) -> None:
    assert is_host_name(text) is expected
