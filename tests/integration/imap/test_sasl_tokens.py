"""Signing in with an access token: mechanisms, refusals, and what is shown of them (SPEC §23.1)."""

from __future__ import annotations

import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest

from mailsync.credentials import BearerToken
from mailsync.errors import (
    AuthenticationFailed,
    InvalidInput,
    MailsyncError,
    NotConnected,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.imap import Session
from mailsync.redaction import redact
from tests.support import planted
from tests.support.access_tokens import AccessTokens
from tests.support.authorization_server import AuthorizationServer
from tests.support.dovecot_oauth import OAuthDovecot
from tests.support.imap_sessions import connect
from tests.support.mailboxes import Account
from tests.support.passing_time import Hours
from tests.support.patience import Stopwatch
from tests.support.profiles import exchange_online, gmail
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request

USER = "anna.with=odd,name@example.test"
SCOPE = "https://mail.example.test/"


@pytest.fixture
def clock() -> Hours:
    return Hours()


@pytest.fixture
def tokens(scripted: ScriptedServer, clock: Hours) -> AccessTokens:
    scripted.capabilities = CAPABILITIES + b" AUTH=PLAIN AUTH=XOAUTH2 SASL-IR"
    scripted.tokens = AccessTokens(clock)
    return scripted.tokens


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    return scripted.new_user(USER)


def sign_in(server: ScriptedServer, user: Account, token: str, mechanism: str | None = None) -> Session:
    return connect(server, user, password=BearerToken(token, mechanism))


def sent(server: ScriptedServer) -> list[bytes]:
    return [command.line for command in server.journal.commands("AUTHENTICATE")]


# -- mechanisms -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_initial_response", [True, False])
@pytest.mark.parametrize(
    ("offered", "wanted", "used"),
    [
        (b"AUTH=XOAUTH2", None, b"XOAUTH2"),
        (b"AUTH=OAUTHBEARER", None, b"OAUTHBEARER"),
        (b"AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER", None, b"OAUTHBEARER"),
        (b"AUTH=XOAUTH2 AUTH=OAUTHBEARER", "XOAUTH2", b"XOAUTH2"),
        (b"AUTH=XOAUTH2 AUTH=OAUTHBEARER LOGINDISABLED", "OAUTHBEARER", b"OAUTHBEARER"),
    ],
)
def test_the_mechanism_is_one_that_the_server_announces(
    scripted: ScriptedServer,
    user: Account,
    tokens: AccessTokens,
    offered: bytes,
    wanted: str | None,
    used: bytes,
    has_initial_response: bool,
) -> None:
    scripted.capabilities = CAPABILITIES + b" " + offered + b" SASL-IR" * has_initial_response
    token = tokens.issue(USER)
    with sign_in(scripted, user, token, wanted) as session:
        assert session.list_folders()
        assert (session.commands["AUTHENTICATE"], session.commands["LOGIN"]) == (1, 0)
    [line] = sent(scripted)
    assert line.split()[0] == used
    assert len(line.split()) == 1 + has_initial_response
    if has_initial_response:
        assert token.encode() in b64decode(line.split()[1])


@pytest.mark.parametrize(
    ("offered", "wanted", "words"),
    [
        (b"AUTH=GSSAPI AUTH=PLAIN", None, "by OAUTHBEARER or XOAUTH2: it offers AUTH=GSSAPI AUTH=PLAIN only"),
        (b"AUTH=OAUTHBEARER", "XOAUTH2", "by XOAUTH2: it offers AUTH=OAUTHBEARER only"),
        (b"", None, "it offers no mechanism"),
    ],
)
def test_a_server_without_a_mechanism_for_tokens_gets_none(
    scripted: ScriptedServer, user: Account, offered: bytes, wanted: str | None, words: str
) -> None:
    scripted.capabilities = CAPABILITIES + b" " + offered
    with pytest.raises(AuthenticationFailed, match=words) as caught:
        sign_in(scripted, user, "token", wanted)
    assert caught.value.step == "login"
    assert [command.name for command in scripted.journal.commands()] == ["CAPABILITY"]


@pytest.mark.parametrize("length", [4096, 5900, 6500, 30_000])
def test_a_long_token_is_sent_whole_and_no_line_of_a_command_gets_too_long(
    scripted: ScriptedServer, user: Account, tokens: AccessTokens, length: int
) -> None:
    with sign_in(scripted, user, tokens.issue(USER, length=length)) as session:
        assert session.list_folders()
    [line] = sent(scripted)
    assert (len(line.split()) == 2) == (length < 5950)
    assert len(line) < 8192


def test_a_server_that_announces_initial_responses_and_ignores_them_is_entered(
    scripted: ScriptedServer, user: Account, tokens: AccessTokens
) -> None:
    token = tokens.issue(USER)

    def ask(request: Request) -> bytes:
        assert token.encode() in b64decode(request.ask())
        return request.default()

    scripted.on("AUTHENTICATE", ask)
    with sign_in(scripted, user, token) as session:
        assert session.list_folders()


@pytest.mark.parametrize("text", ["a\x01b", "a b", "tokén", ""])
def test_a_token_that_cannot_be_sent_is_refused_before_a_connection(
    scripted: ScriptedServer, user: Account, text: str
) -> None:
    with pytest.raises(InvalidInput, match="access token"):
        sign_in(scripted, user, text)
    assert scripted.journal.commands() == []


# -- refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_initial_response", [True, False])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("how", ["ended", "revoked", "of another user", "unknown"])
def test_a_refused_token_is_a_rejected_login(
    scripted: ScriptedServer,
    user: Account,
    tokens: AccessTokens,
    clock: Hours,
    mechanism: str,
    how: str,
    has_initial_response: bool,
) -> None:
    scripted.capabilities = CAPABILITIES + f" AUTH={mechanism}".encode() + b" SASL-IR" * has_initial_response
    token = "no-token-of-this-server" if how == "unknown" else tokens.issue(USER, lifetime=3600)
    if how == "ended":
        clock.now += 3600
    elif how == "revoked":
        tokens.revoke()
    other = scripted.new_user() if how == "of another user" else user
    with pytest.raises(AuthenticationFailed, match=r"AUTHENTICATE: .*status 401: the access token") as caught:
        sign_in(scripted, other, token)
    assert caught.value.step == "login"
    assert scripted.journal.commands("AUTHENTICATE")[0].answered, "the server has got the answer it waits for"


@pytest.mark.parametrize(
    ("body", "answer", "kind"),
    [
        ({"status": "401"}, b"NO no", AuthenticationFailed),
        ({"status": "400", "schemes": "Bearer", "scope": SCOPE}, b"NO no", AuthenticationFailed),
        ({"status": "invalid_token"}, b"NO [UNAVAILABLE] no", AuthenticationFailed),
        ({"status": "insufficient_scope", "scope": SCOPE}, b"NO no", AuthenticationFailed),
        ({"status": "503"}, b"NO [AUTHENTICATIONFAILED] no", Transient),
        ({"status": "429"}, b"NO no", Throttled),
        ({"status": "?"}, b"NO [UNAVAILABLE] no", Transient),
        ({}, b"NO [AUTHENTICATIONFAILED] no", AuthenticationFailed),
        ({}, b"BAD what?", ProtocolError),
    ],
)
def test_the_challenge_says_what_a_refusal_means(
    scripted: ScriptedServer,
    user: Account,
    tokens: AccessTokens,
    body: dict[str, str],
    answer: bytes,
    kind: type[MailsyncError],
) -> None:
    def refuse(request: Request) -> bytes:
        assert request.ask(b64encode(json.dumps(body).encode())) == b""
        return request.tagged(answer)

    scripted.on("AUTHENTICATE", refuse)
    with pytest.raises(kind) as caught:
        sign_in(scripted, user, tokens.issue(USER))
    assert type(caught.value) is kind
    assert caught.value.step == "login"
    assert (SCOPE in str(caught.value)) == (body.get("status") == "insufficient_scope")


_REFUSAL = b64encode(json.dumps({"status": "401", "scope": SCOPE}).encode())
_LONG = b64encode(b'{"status":"401","padding":"' + b"x" * 3_000_000 + b'"}')


@pytest.mark.parametrize(
    "lines",
    [
        [b"+ " + _REFUSAL[:20], _REFUSAL[20:]],
        [b"+ " + _REFUSAL[:20], b"+ " + _REFUSAL[20:]],
        [b"+ " + _LONG[:1_000_000]],
        [b"+ " + _LONG[:76], *(_LONG[n : n + 76] for n in range(76, 1_000_000, 76))],
        [b"+ " + _REFUSAL, b"* OK still thinking", b"", b"* 3 EXISTS"],
        [b'+ {"status":"401"}'],
    ],
    ids=["folded", "in two challenges", "of 1 MB", "of 1 MB, folded", "among other lines", "not encoded"],
)
def test_a_refusal_in_another_form_is_read_all_the_same(
    scripted: ScriptedServer, user: Account, tokens: AccessTokens, lines: list[bytes]
) -> None:
    def refuse(request: Request) -> bytes:
        request.send(b"".join(line + b"\r\n" for line in lines))
        for line in lines:
            if line.startswith(b"+"):
                assert request.connection.read_line() == b""
        return request.tagged(b"NO [UNAVAILABLE] no")

    scripted.on("AUTHENTICATE", refuse)
    with pytest.raises(AuthenticationFailed, match="status 401"):
        sign_in(scripted, user, tokens.issue(USER))


def test_a_server_that_never_stops_challenging_is_left(
    scripted: ScriptedServer, user: Account, tokens: AccessTokens
) -> None:
    def challenge(request: Request) -> None:
        while True:
            request.ask(_REFUSAL)

    scripted.on("AUTHENTICATE", challenge)
    with pytest.raises(ProtocolError, match="challenges"):
        sign_in(scripted, user, tokens.issue(USER))


def test_a_server_that_is_silent_after_its_challenge_takes_one_timeout(
    scripted: ScriptedServer, user: Account, tokens: AccessTokens
) -> None:
    scripted.on("AUTHENTICATE", lambda request: request.ask(_REFUSAL) + request.hang())
    began = Stopwatch()
    with pytest.raises(Transient, match="timed out after 1 s"):
        connect(
            scripted,
            user,
            password=BearerToken(tokens.issue(USER)),
            imap_read_timeout=1,
            imap_connect_timeout=1,
        )
    assert began.stop() < 20


def test_a_connection_that_ends_after_the_challenge_is_no_rejection(
    scripted: ScriptedServer, user: Account, tokens: AccessTokens
) -> None:
    scripted.on("AUTHENTICATE", lambda request: request.ask(_REFUSAL) + request.close())
    with pytest.raises(Transient, match="closed"):
        sign_in(scripted, user, tokens.issue(USER))


def test_a_challenge_to_anything_but_authenticate_is_out_of_step(
    scripted: ScriptedServer, user: Account, tokens: AccessTokens
) -> None:
    with sign_in(scripted, user, tokens.issue(USER)) as session:
        scripted.inject("LIST", b"+ " + _REFUSAL + b"\r\n")
        with pytest.raises(ProtocolError, match="out of step"):
            session.list_folders()
        assert session.closed


# -- what is shown --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [40, 4096, 12_000])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_no_form_of_a_token_is_shown_or_logged(
    scripted: ScriptedServer,
    user: Account,
    tokens: AccessTokens,
    caplog: pytest.LogCaptureFixture,
    mechanism: str,
    length: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    scripted.capabilities = CAPABILITIES + f" AUTH={mechanism}".encode()
    token = tokens.issue(USER, length=length)
    heard: list[bytes] = []

    def refuse(request: Request) -> bytes:
        heard.append(request.ask())
        said = {"status": "insufficient_scope", "scope": token}
        request.ask(b64encode(json.dumps(said).encode()))
        return request.tagged(b"NO you said " + heard[0] + b" with " + token.encode())

    scripted.on("AUTHENTICATE", refuse)
    with pytest.raises(AuthenticationFailed) as caught:
        sign_in(scripted, user, token)
    shown = f"{caught.value} {caught.value!r} {caplog.text}"
    assert planted.found_in(shown) == []
    for text in (token, heard[0].decode(), b64decode(heard[0]).decode()):
        assert not any(text[n : n + 24] in shown for n in range(0, len(text) - 24, 8))
    assert redact(token) == token, "the token is masked only as long as somebody uses it"


def test_a_token_is_masked_as_long_as_its_session_exists(
    scripted: ScriptedServer, user: Account, tokens: AccessTokens
) -> None:
    token = tokens.issue(USER, length=4096)
    with sign_in(scripted, user, token):
        assert redact(f"Bearer {token}") == "Bearer ***"
        for line in sent(scripted):
            assert redact(line.split()[1].decode()) == "***"
    assert token not in repr(BearerToken(token))


# -- providers ------------------------------------------------------------------------------------------


def test_exchange_accepts_tokens_only_and_gives_no_reason(scripted: ScriptedServer, clock: Hours) -> None:
    tokens = AccessTokens(clock)
    profile = exchange_online(tokens)
    scripted.adopt(profile.habits)
    user = profile.furnish(scripted.new_user())
    token = tokens.issue(user.name, length=4096)
    with sign_in(scripted, user, token) as session:
        assert len(session.list_folders()) == len(profile.folders)
        clock.now += 3600
        assert scripted.end_expired() == 1
        assert not session.is_alive()
    with pytest.raises(
        AuthenticationFailed, match=r"AUTHENTICATE: the server said NO AUTHENTICATE failed\.$"
    ):
        sign_in(scripted, user, token)
    with pytest.raises(AuthenticationFailed, match=r"LOGIN: the server said NO LOGIN failed\."):
        connect(scripted, user)
    token = tokens.issue(user.name)
    profile.throttle(scripted, "AUTHENTICATE", 5000, times=1)
    with pytest.raises(Throttled) as caught:
        sign_in(scripted, user, token)
    assert caught.value.retry_after == 5
    with sign_in(scripted, user, token) as session:
        clock.now += 3600
        with pytest.raises(Transient, match="AccessTokenExpired"):
            session.list_folders()


@pytest.mark.parametrize("command", ["LIST", "STATUS", "EXAMINE", "SEARCH", "FETCH", "AUTHENTICATE"])
def test_a_mailbox_that_exchange_does_not_open_is_told_from_a_refused_token(
    scripted: ScriptedServer, command: str
) -> None:
    tokens = AccessTokens()
    profile = exchange_online(tokens)
    scripted.adopt(profile.habits)
    user = profile.furnish(scripted.new_user())
    user.folder("INBOX").add(b"Subject: hello\r\n\r\n")
    token = tokens.issue(user.name)
    ways: dict[str, Callable[[Session], object]] = {
        "LIST": Session.list_folders,
        "STATUS": lambda session: session.status(b"INBOX"),
        "EXAMINE": lambda session: session.examine(b"INBOX"),
        "SEARCH": Session.search,
        "FETCH": lambda session: list(session.fetch_messages([session.search()])),
    }
    if command == "AUTHENTICATE":
        scripted.on("AUTHENTICATE", profile.habits.closed_refusal)
        with pytest.raises(NotConnected):
            sign_in(scripted, user, token)
        return
    with sign_in(scripted, user, token) as session:
        if command in ("SEARCH", "FETCH"):
            session.examine(b"INBOX")
        if command == "FETCH":
            scripted.on("UID FETCH", profile.habits.closed_refusal)
        else:
            user.is_open = False
        with pytest.raises(NotConnected, match=command):
            ways[command](session)


def test_gmail_explains_a_refusal(scripted: ScriptedServer) -> None:
    tokens = AccessTokens()
    scripted.adopt(gmail(tokens).habits)
    user = scripted.new_user()
    with sign_in(scripted, user, tokens.issue(user.name)) as session:
        assert session.list_folders()
        assert session.commands["AUTHENTICATE"] == 1
    with pytest.raises(AuthenticationFailed, match="status 401"):
        sign_in(scripted, user, "another")
    assert {line.split()[0] for line in sent(scripted)} == {b"OAUTHBEARER"}


@pytest.mark.parametrize("capabilities", ["IMAP4rev1 SASL-IR ID", "IMAP4rev1 ID", None])
@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_dovecot_accepts_and_refuses_tokens(
    oauth_dovecot_with: Callable[..., OAuthDovecot],
    authorization_server: AuthorizationServer,
    mechanism: str,
    capabilities: str | None,
) -> None:
    server = oauth_dovecot_with(mechanisms=f"plain {mechanism}", capabilities=capabilities)
    server.trust(authorization_server)
    user, client = server.new_user(), authorization_server.add_client()
    for authorization_server.terms.token_length in (40, 4096):
        token = authorization_server.issue(client, user.name).access_token
        with connect(server, user, password=BearerToken(token)) as session:
            assert session.list_folders()
            assert (session.commands["AUTHENTICATE"], session.commands["LOGIN"]) == (1, 0)
    authorization_server.revoke(user.name)
    status = "status 401" if mechanism == "xoauth2" else "invalid_token"
    with pytest.raises(AuthenticationFailed, match=rf"AUTHENTICATIONFAILED.*\({status}: the access token"):
        connect(server, user, password=BearerToken(token))


@pytest.mark.parametrize("profile", [exchange_online, gmail])
def test_a_login_by_token_takes_no_more_commands_than_one_by_password(
    scripted: ScriptedServer, profile: Callable[..., object]
) -> None:
    tokens = AccessTokens()
    scripted.adopt(profile(tokens).habits)  # type: ignore[attr-defined]
    scripted.accepts_passwords = True
    user = scripted.new_user()
    counts = []
    for credential in (BearerToken(tokens.issue(user.name)), user.password):
        with connect(scripted, user, password=credential) as session:
            counts.append(sum(session.commands.values()))
    assert counts[0] == counts[1]
