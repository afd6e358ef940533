"""Signing in with a password where LOGIN is disabled, or refused for its form (SPEC §23.1)."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest

from mailsync.errors import AuthenticationFailed, ProtocolError, Transient
from tests.support.certificates import Authority
from tests.support.dovecot import Dovecot
from tests.support.imap_sessions import connect
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request

LITERALS = CAPABILITIES.replace(b" LITERAL+", b"")
LONG = "pass-word" * 200
EIGHT_BIT = "pass-wörd 密"


def names(server: ScriptedServer) -> list[str]:
    return [
        command.name for command in server.journal.commands() if command.name in ("LOGIN", "AUTHENTICATE")
    ]


def mechanisms(server: ScriptedServer) -> list[bytes]:
    return [command.line.split()[0] for command in server.journal.commands("AUTHENTICATE")]


# -- LOGIN refused for its form ---------------------------------------------------------------------------


class NoLiterals:
    """Refuses every command with a literal, in place of asking for the literal."""

    def __init__(self, server: ScriptedServer, answer: bytes) -> None:
        self.answer, self.default = answer, server.handler("LOGIN")

    def __call__(self, request: Request) -> bytes | None:
        return request.tagged(self.answer) if b"\r\n" in request.text else self.default(request)


@pytest.mark.parametrize("has_initial_response", [True, False])
@pytest.mark.parametrize("answer", [b"BAD no literals", b"NO no literals", b"NO 8-bit data in a string"])
@pytest.mark.parametrize("password", [LONG, EIGHT_BIT])
def test_a_password_that_login_cannot_carry_goes_by_authenticate(
    scripted: ScriptedServer, password: str, answer: bytes, has_initial_response: bool
) -> None:
    scripted.capabilities = LITERALS + b" AUTH=LOGIN AUTH=PLAIN" + b" SASL-IR" * has_initial_response
    scripted.on("LOGIN", NoLiterals(scripted, answer))
    user = scripted.new_user(password=password)
    with connect(scripted, user) as session:
        assert session.list_folders()
    assert names(scripted) == ["LOGIN", "AUTHENTICATE"]
    assert mechanisms(scripted) == [b"PLAIN"]
    assert [len(command.line.split()) for command in scripted.journal.commands("AUTHENTICATE")] == [
        1 + has_initial_response
    ]
    with connect(scripted, scripted.new_user()) as session:
        assert session.commands["AUTHENTICATE"] == 0


def test_a_user_name_beyond_ascii_goes_by_authenticate_too(scripted: ScriptedServer) -> None:
    scripted.capabilities = LITERALS + b" AUTH=PLAIN"
    scripted.on("LOGIN", NoLiterals(scripted, b"NO no literals"))
    with connect(scripted, scripted.new_user("änne@example.test")) as session:
        assert session.list_folders()


def test_a_server_that_asks_for_a_literal_and_then_refuses_it_gets_authenticate(
    scripted: ScriptedServer,
) -> None:
    scripted.capabilities = LITERALS + b" AUTH=PLAIN"
    scripted.on("LOGIN", b"NO 8-bit characters in a password")
    with connect(scripted, scripted.new_user(password=EIGHT_BIT)) as session:
        assert session.commands["AUTHENTICATE"] == 1


@pytest.mark.parametrize(
    ("password", "answer"),
    [
        (LONG, b"NO [AUTHENTICATIONFAILED] wrong"),
        (EIGHT_BIT, b"NO [CONTACTADMIN] wrong"),
        ("pass-word", b"NO wrong"),
    ],
)
def test_a_rejected_password_is_not_sent_twice(
    scripted: ScriptedServer, password: str, answer: bytes
) -> None:
    scripted.capabilities = CAPABILITIES + b" AUTH=PLAIN"
    scripted.on("LOGIN", answer)
    with pytest.raises(AuthenticationFailed):
        connect(scripted, scripted.new_user(password=password))
    assert names(scripted) == ["LOGIN"]


# -- AUTHENTICATE -----------------------------------------------------------------------------------------


def test_the_mechanism_login_is_the_last_resort(scripted: ScriptedServer) -> None:
    scripted.capabilities = CAPABILITIES + b" AUTH=LOGIN AUTH=PLAIN SASL-IR"
    scripted.on("LOGIN", b"BAD unknown command")

    def refuse_plain(request: Request) -> bytes:
        is_plain = request.text.startswith(b"PLAIN")
        return request.tagged(b"BAD unknown mechanism") if is_plain else request.default()

    scripted.on("AUTHENTICATE", refuse_plain)
    user = scripted.new_user(password=EIGHT_BIT)
    with connect(scripted, user) as session:
        assert session.list_folders()
    assert names(scripted) == ["LOGIN", "AUTHENTICATE", "AUTHENTICATE"]
    assert mechanisms(scripted) == [b"PLAIN", b"LOGIN"]


@pytest.mark.parametrize("answer", [b"NO wrong", b"NO [UNAVAILABLE] later"])
def test_a_mechanism_that_the_server_has_understood_is_the_last(
    scripted: ScriptedServer, answer: bytes
) -> None:
    scripted.capabilities = CAPABILITIES + b" AUTH=LOGIN AUTH=PLAIN SASL-IR"
    scripted.on("LOGIN", b"BAD unknown command")
    scripted.on("AUTHENTICATE", answer)
    with pytest.raises((AuthenticationFailed, Transient)):
        connect(scripted, scripted.new_user())
    assert mechanisms(scripted) == [b"PLAIN"]


def test_a_further_challenge_gives_a_password_up(scripted: ScriptedServer) -> None:
    scripted.capabilities = CAPABILITIES + b" AUTH=PLAIN"
    heard = []
    scripted.on("LOGIN", b"BAD unknown command")

    def challenge(request: Request) -> bytes:
        heard.append(b64decode(request.ask()).count(b"\0"))
        heard.append(request.ask(b64encode(b"once more")))
        return request.tagged(b"BAD cancelled")

    scripted.on("AUTHENTICATE", challenge)
    with pytest.raises(ProtocolError, match="cancelled"):
        connect(scripted, scripted.new_user())
    assert heard == [2, b"*"]


@pytest.mark.parametrize("extension", [b"", b" LOGINDISABLED"])
def test_a_server_that_wants_a_token_says_how_to_authorize(
    scripted_with: Callable[..., ScriptedServer], authority: Authority, extension: bytes
) -> None:
    server = scripted_with(
        security="tls",
        certificate=authority.good(),
        capabilities=CAPABILITIES + b" AUTH=XOAUTH2 SASL-IR" + extension,
    )
    server.accepts_passwords = False
    with pytest.raises(AuthenticationFailed, match=r"`mailsync add-account EMAIL --oauth`") as caught:
        connect(server, server.new_user(), security="tls", imap_ca_file=authority.ca_file)
    assert ("offers AUTH=XOAUTH2 only" in str(caught.value)) == bool(extension)
    assert (names(server) == []) == bool(extension), "LOGINDISABLED means that no password is sent"


# -- Dovecot ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanisms", ["plain", "login", "plain login"])
@pytest.mark.parametrize("extensions", ["SASL-IR LITERAL+", ""])
@pytest.mark.parametrize("is_disabled", [True, False])
def test_dovecot_accepts_every_way_to_send_a_password(
    dovecot_with: Callable[..., Dovecot],
    authority: Authority,
    mechanisms: str,
    extensions: str,
    is_disabled: bool,
) -> None:
    server = dovecot_with(
        certificate=authority.good(),
        capabilities=f"IMAP4rev1 ID {extensions} {'LOGINDISABLED' if is_disabled else ''}".strip(),
        settings=f"auth_mechanisms = {mechanisms}\n",
    )
    user = server.new_user()
    with connect(
        server, user, port=server.tls_port, security="tls", imap_ca_file=authority.ca_file
    ) as session:
        # Dovecot itself disables LOGIN without the mechanism PLAIN
        has_login = not is_disabled and "plain" in mechanisms
        assert (session.commands["LOGIN"], session.commands["AUTHENTICATE"]) == (has_login, not has_login)
        assert session.list_folders()
    for password in ("another", EIGHT_BIT):
        with pytest.raises(AuthenticationFailed, match="the server said NO"):
            connect(
                server,
                user,
                port=server.tls_port,
                security="tls",
                password=password,
                imap_ca_file=authority.ca_file,
            )
