"""Errors of mail servers and logins, as ``add-account`` reports them: one line and one exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.support import planted, run_directory
from tests.support.certificates import Authority
from tests.support.programs import Finished, Mailsync
from tests.support.scripted import ScriptedServer

PASSWORD = planted.keep("right-and-secret-word")
WRONG = planted.keep("wrong-but-secret-word")
EMAIL = "ann@example.test"

NewServer = Callable[..., ScriptedServer]


@pytest.fixture
def refused(mailsync: Mailsync, database: psycopg.Connection[Any]) -> Callable[..., str]:
    """Fail to add an account, check the exit code and that nothing is stored; returns the line on stderr."""

    def attempt(
        *args: str, code: int = 1, email: str = EMAIL, password: str = PASSWORD, **env: str | None
    ) -> str:
        done = mailsync("add-account", email, *args, "--password-stdin", input=f"{password}\n", env=env)
        assert_nothing_stored(database)
        return one_line(done, code)

    return attempt


def one_line(done: Finished, code: int) -> str:
    assert done.returncode == code, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("mailsync: ")
    return line


def assert_nothing_stored(database: psycopg.Connection[Any]) -> None:
    for table in ("accounts", "account_credentials", "folders", "sync_events", "sync_runs"):
        assert database.execute(f"select count(*) from {table}").fetchone() == (0,)  # type: ignore[call-overload]


def at(server: ScriptedServer, security: str = "plaintext", host: str = "localhost") -> list[str]:
    return ["--host", host, "--port", str(server.port), "--security", security]


def test_a_wrong_password(scripted: ScriptedServer, refused: Callable[..., str]) -> None:
    user = scripted.new_user(EMAIL)
    line = refused(*at(scripted), "--username", user.name, password=WRONG, code=4)
    assert line.startswith("mailsync: login failed: ")


def test_an_unknown_host(refused: Callable[..., str]) -> None:
    line = refused("--host", "imap.nowhere.invalid")
    assert line.startswith("mailsync: dns failed: host: imap.nowhere.invalid cannot be resolved")


def test_a_closed_port(refused: Callable[..., str]) -> None:
    closed = run_directory.free_port()
    line = refused("--host", "127.0.0.1", "--port", str(closed))
    assert line.startswith(f"mailsync: connect failed: cannot connect to 127.0.0.1:{closed}: ")
    assert "refused" in line


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("self_signed", "self-signed certificate"),
        ("expired", "certificate has expired"),
        ("wrong_name", "Hostname mismatch"),
    ],
)
@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_certificate_that_does_not_verify(
    scripted_with: NewServer,
    authority: Authority,
    refused: Callable[..., str],
    kind: str,
    expected: str,
    security: str,
) -> None:
    server = scripted_with(security=security, certificate=getattr(authority, kind)())
    line = refused(*at(server, security), IMAP_CA_FILE=str(authority.ca_file))
    assert line.startswith("mailsync: tls failed: the certificate of localhost does not verify: ")
    assert expected.lower() in line.lower()


def test_an_authority_that_is_not_trusted(
    scripted_with: NewServer, authority: Authority, refused: Callable[..., str]
) -> None:
    server = scripted_with(security="tls", certificate=authority.good())
    assert "does not verify" in refused(*at(server, "tls"))


def test_tls_where_the_server_speaks_plaintext(scripted: ScriptedServer, refused: Callable[..., str]) -> None:
    assert refused(*at(scripted, "tls")).startswith("mailsync: tls failed: ")


@pytest.mark.parametrize("how", ["refuse", "drop"])
def test_starttls_that_is_refused_sends_no_password(
    scripted_with: NewServer, authority: Authority, refused: Callable[..., str], how: str
) -> None:
    server = scripted_with(security="starttls", certificate=authority.good())
    server.starttls = how
    line = refused(*at(server, "starttls"), IMAP_CA_FILE=str(authority.ca_file))
    assert line.startswith("mailsync: tls failed: ")
    assert not server.journal.commands("LOGIN")


def test_a_private_address(scripted: ScriptedServer, refused: Callable[..., str]) -> None:
    forbid = {"IMAP_ALLOW_PRIVATE_HOSTS": "false"}
    line = refused("--host", "localhost", **forbid)
    assert line.startswith("mailsync: dns failed: host: localhost resolves to ")
    assert "not a public address" in line
    assert "not a public address" in refused("--host", "10.1.2.3", "--no-verify", **forbid)


def test_a_port_that_is_not_for_imap(refused: Callable[..., str]) -> None:
    line = refused("--host", "mail.example.com", "--port", "25", IMAP_ALLOW_PRIVATE_HOSTS="false")
    assert "port: 25 is not allowed; expected 143 or 993" in line


def test_an_unknown_provider(refused: Callable[..., str]) -> None:
    line = refused(code=2)
    assert line == (
        "mailsync: no provider is known for example.test, and no IMAP server was found"
        " (MX of example.test, SRV of example.test, autoconfig.example.test, example.test:"
        " the name servers cannot answer); name it: --host HOST (over HTTP: imap_host)"
    )
    line = refused("--no-discover", code=2)
    assert line == (
        "mailsync: no provider is known for example.test;"
        " name its IMAP server: --host HOST (over HTTP: imap_host)"
    )


def test_a_provider_that_takes_no_password(refused: Callable[..., str]) -> None:
    line = refused(email="ann@outlook.com", code=2)
    assert "Microsoft no longer accepts passwords over IMAP" in line


def test_plaintext_without_leave(scripted: ScriptedServer, refused: Callable[..., str]) -> None:
    line = refused(*at(scripted), IMAP_ALLOW_PLAINTEXT="false", code=2)
    assert "plaintext would send the password in the clear" in line
    assert not scripted.journal.commands("LOGIN")


def test_a_server_that_lists_nothing(scripted: ScriptedServer, refused: Callable[..., str]) -> None:
    user = scripted.new_user(EMAIL)
    scripted.on("LIST", b"NO [SERVERBUG] out of order")
    line = refused(*at(scripted), password=user.password)
    assert line.startswith("mailsync: list failed: ")
    assert "out of order" in line


def test_a_server_that_says_nothing(scripted_with: NewServer, refused: Callable[..., str]) -> None:
    server = scripted_with(greeting=None)
    line = refused(*at(server), IMAP_READ_TIMEOUT="1s")
    assert line.startswith("mailsync: connect failed: ")
    assert f"if port {server.port} starts with TLS, use --security tls" in line


def test_a_server_that_says_goodbye(scripted_with: NewServer, refused: Callable[..., str]) -> None:
    server = scripted_with(greeting=b"* BYE too many connections")
    assert "too many connections" in refused(*at(server))


def test_a_server_that_repeats_the_password_in_its_refusal(
    scripted: ScriptedServer, refused: Callable[..., str]
) -> None:
    scripted.on("LOGIN", f"NO bad LOGIN {EMAIL} {WRONG}".encode())
    line = refused(*at(scripted), password=WRONG, code=4)
    assert "***" in line


@pytest.mark.parametrize("password", ["", "two\x00parts"])
def test_a_password_that_cannot_be_sent(
    scripted: ScriptedServer, refused: Callable[..., str], password: str
) -> None:
    assert "password: " in refused(*at(scripted), password=password, code=2)
