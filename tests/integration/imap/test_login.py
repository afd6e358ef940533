"""From an endpoint and a password to a session: each way to fail raises the right error and step."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable

import pytest

from mailsync.errors import (
    AuthenticationFailed,
    CertificateRejected,
    ForbiddenHost,
    InvalidInput,
    MailsyncError,
    NotConnected,
    OutOfTokens,
    ProtocolError,
    Stopped,
    Throttled,
    Transient,
)
from mailsync.imap import TokenBucket
from mailsync.redaction import redact
from tests.support import mail, run_directory
from tests.support.certificates import Authority
from tests.support.dovecot import Dovecot
from tests.support.imap_sessions import connect
from tests.support.patience import Stopwatch
from tests.support.pymap_server import Pymap
from tests.support.scripted import CAPABILITIES, ScriptedServer
from tests.support.session import Request

Start = Callable[..., ScriptedServer]


def test_capabilities_that_the_server_volunteers_are_used(scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    scripted.greeting = b"* OK [CAPABILITY IMAP4rev1] ready"
    accepted = b"OK [CAPABILITY IMAP4rev1 ID] in"
    scripted.on("LOGIN", lambda request: request.default() and request.tagged(accepted))
    with connect(scripted, user) as session:
        assert session.capabilities == {"IMAP4REV1", "ID"}
        assert session.commands == {"LOGIN": 1, "ID": 1}
    scripted.on("LOGIN", lambda request: b"* CAPABILITY IMAP4rev1 UNSELECT\r\n" + request.default())
    with connect(scripted, user) as session:
        assert session.capabilities == {"IMAP4REV1", "UNSELECT"}
        assert session.commands == {"LOGIN": 1}


def test_capabilities_are_asked_for_again_after_login(scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    scripted.greeting = b"* OK [CAPABILITY IMAP4rev1 X-BEFORE] ready"
    with connect(scripted, user, disabled_capabilities=frozenset({"QRESYNC"})) as session:
        assert "X-BEFORE" not in session.capabilities
        assert "CONDSTORE" in session.capabilities
        assert "QRESYNC" not in session.capabilities
        assert session.commands == {"LOGIN": 1, "CAPABILITY": 1, "ID": 1, "ENABLE": 1}
    assert scripted.journal.commands("ENABLE")[0].line == b"CONDSTORE"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"NO [AUTHENTICATIONFAILED] no", AuthenticationFailed),
        (b"NO wrong", AuthenticationFailed),
        (b"NO [UNAVAILABLE] later", Transient),
        (b"NO [LIMIT] too many", Throttled),
        (b"BAD what?", ProtocolError),
        (b"BAD User is authenticated but not connected.", NotConnected),
        (b"FINE go on", ProtocolError),
    ],
)
def test_a_refused_login_raises_the_right_error(
    scripted: ScriptedServer, answer: bytes, kind: type[MailsyncError]
) -> None:
    user = scripted.new_user()
    scripted.on("LOGIN", answer)
    with pytest.raises(kind) as caught:
        connect(scripted, user)
    assert type(caught.value) is kind
    assert caught.value.step == "login"
    assert user.password not in repr(caught.value)


@pytest.mark.parametrize("way", ["close", "reset", "bye"])
def test_a_connection_that_ends_during_login_does_not_count_as_a_wrong_password(
    scripted: ScriptedServer, way: str
) -> None:
    user = scripted.new_user()
    scripted.on("LOGIN", lambda request: getattr(request, way)())
    with pytest.raises(Transient) as caught:
        connect(scripted, user)
    assert caught.value.step == "login"


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (b"* BYE Too many connections", Throttled),
        (b"* BYE shutting down", Transient),
        (b"220 smtp ready", ProtocolError),
        (b"* NO", ProtocolError),
        (b"\xff\x00", ProtocolError),
    ],
)
def test_a_bad_greeting_raises_the_right_error(
    scripted: ScriptedServer, greeting: bytes, kind: type[MailsyncError]
) -> None:
    user = scripted.new_user()
    scripted.greeting = greeting
    with pytest.raises(kind) as caught:
        connect(scripted, user)
    assert caught.value.step == "connect"


def test_preauth_skips_the_login_but_is_refused_before_starttls(
    scripted: ScriptedServer, scripted_with: Start, authority: Authority
) -> None:
    user = scripted.new_user()
    scripted.greeting = b"* PREAUTH welcome"
    with connect(scripted, user) as session:
        assert session.commands["LOGIN"] == 0
        assert session.list_folders()
    other = scripted_with(security="starttls", certificate=authority.good(), greeting=b"* PREAUTH welcome")
    user = other.new_user()
    with pytest.raises(ProtocolError) as caught:
        connect(other, user, security="starttls", imap_ca_file=authority.ca_file)
    assert caught.value.step == "tls"
    assert other.journal.commands() == []


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_tls_with_a_trusted_certificate(scripted_with: Start, authority: Authority, security: str) -> None:
    server = scripted_with(security=security, certificate=authority.good())
    user = server.new_user()
    for host in ("localhost", "127.0.0.1", "[127.0.0.1]"):
        with connect(server, user, host=host, security=security, imap_ca_file=authority.ca_file) as session:
            assert session.list_folders()
            assert session.is_alive()


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize("which", ["self_signed", "expired", "wrong_name", "good"])
def test_a_certificate_that_does_not_verify_is_refused(
    scripted_with: Start, authority: Authority, security: str, which: str
) -> None:
    server = scripted_with(security=security, certificate=getattr(authority, which)())
    user = server.new_user()
    trusted = {} if which == "good" else {"imap_ca_file": authority.ca_file}
    with pytest.raises(CertificateRejected, match="certificate") as caught:
        connect(server, user, security=security, **trusted)
    assert caught.value.step == "tls"
    assert ("set IMAP_CA_FILE" in str(caught.value)) == (which in ("self_signed", "good"))
    assert server.journal.commands("LOGIN") == []


def test_tls_to_a_server_that_speaks_plaintext_is_a_failed_handshake(scripted: ScriptedServer) -> None:
    with pytest.raises(CertificateRejected) as caught:
        connect(scripted, scripted.new_user(), security="tls")
    assert caught.value.step == "tls"


@pytest.mark.parametrize(("how", "kind"), [("refuse", CertificateRejected), ("drop", Transient)])
def test_without_a_tls_upgrade_no_password_is_sent(
    scripted_with: Start, authority: Authority, how: str, kind: type[MailsyncError]
) -> None:
    server = scripted_with(security="starttls", certificate=authority.good())
    server.starttls = how
    with pytest.raises(kind) as caught:
        connect(server, server.new_user(), security="starttls", imap_ca_file=authority.ca_file)
    assert caught.value.step == "tls"
    assert server.journal.commands("LOGIN") == []


def test_a_server_that_does_not_offer_starttls_gets_no_password(scripted: ScriptedServer) -> None:
    with pytest.raises(CertificateRejected, match="does not offer STARTTLS"):
        connect(scripted, scripted.new_user(), security="starttls")
    assert scripted.journal.commands("LOGIN") == []


def test_plaintext_injected_after_starttls_is_discarded(scripted_with: Start, authority: Authority) -> None:
    server = scripted_with(security="starttls", certificate=authority.good())
    server.starttls = "inject"
    user = server.new_user()
    try:
        session = connect(server, user, security="starttls", imap_ca_file=authority.ca_file)
    except CertificateRejected:
        # the injected bytes came late and broke the handshake, which is safe too
        assert server.journal.commands("LOGIN") == []
        return
    with session:
        assert "X-INJECTED" not in session.capabilities
        assert session.list_folders()


def test_a_plaintext_server_that_disables_login_gets_no_password(scripted: ScriptedServer) -> None:
    scripted.capabilities = CAPABILITIES + b" LOGINDISABLED"
    with pytest.raises(AuthenticationFailed, match="plaintext"):
        connect(scripted, scripted.new_user())
    assert scripted.journal.commands("LOGIN") == []


# -- AUTHENTICATE ---------------------------------------------------------------------------------------


def _names(server: ScriptedServer) -> list[str]:
    return [command.name for command in server.journal.commands()]


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize(
    "greeting", [b"* OK ready", b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=PLAIN] ready"]
)
@pytest.mark.parametrize("has_initial_response", [True, False])
def test_a_server_that_disables_login_is_entered_by_authenticate_plain(
    scripted_with: Start, authority: Authority, security: str, greeting: bytes, has_initial_response: bool
) -> None:
    offered = CAPABILITIES + b" LOGINDISABLED AUTH=PLAIN AUTH=LOGIN"
    server = scripted_with(
        security=security,
        certificate=authority.good(),
        greeting=greeting,
        capabilities=offered + b" SASL-IR" * has_initial_response,
    )
    user = server.new_user(password='pass "wörd" \\ 密')
    with connect(server, user, security=security, imap_ca_file=authority.ca_file) as session:
        assert session.list_folders()
        assert session.commands["AUTHENTICATE"] == 1
    assert "LOGIN" not in _names(server)
    assert user.password not in repr([command.line for command in server.journal.commands()])


@pytest.mark.parametrize("mechanisms", ["plain", "login", "plain login"])
def test_dovecot_accepts_authenticate(
    dovecot_with: Callable[..., Dovecot], authority: Authority, mechanisms: str
) -> None:
    server = dovecot_with(
        certificate=authority.good(),
        capabilities="IMAP4rev1 SASL-IR ID LITERAL+ LOGINDISABLED",
        settings=f"auth_mechanisms = {mechanisms}\n",
    )
    user = server.new_user()
    ca_file = authority.ca_file
    for port, security in ((server.tls_port, "tls"), (server.port, "starttls")):
        with connect(server, user, port=port, security=security, imap_ca_file=ca_file) as session:
            assert (session.commands["AUTHENTICATE"], session.commands["LOGIN"]) == (1, 0)
            assert session.list_folders()
        with pytest.raises(AuthenticationFailed, match="AUTHENTICATE: the server said NO"):
            connect(server, user, port=port, security=security, password="another", imap_ca_file=ca_file)


def test_authenticate_login_is_used_where_nothing_else_is_offered(
    scripted_with: Start, authority: Authority
) -> None:
    server = scripted_with(
        security="tls",
        certificate=authority.good(),
        capabilities=CAPABILITIES + b" LOGINDISABLED AUTH=CRAM-MD5 AUTH=LOGIN SASL-IR",
    )
    user = server.new_user(password="pass-wörd")
    with connect(server, user, security="tls", imap_ca_file=authority.ca_file) as session:
        assert session.list_folders()
    assert "LOGIN" not in _names(server)


@pytest.mark.parametrize(
    ("offered", "words"),
    [
        (b"AUTH=GSSAPI", "offers AUTH=GSSAPI only"),
        (b"AUTH=XOAUTH2 AUTH=OAUTHBEARER", "offers AUTH=OAUTHBEARER AUTH=XOAUTH2 only"),
        (b"", "offers no other way to sign in"),
    ],
)
def test_a_server_that_accepts_no_password_is_told_apart(
    scripted_with: Start, authority: Authority, offered: bytes, words: str
) -> None:
    server = scripted_with(
        security="tls",
        certificate=authority.good(),
        capabilities=CAPABILITIES + b" LOGINDISABLED " + offered,
    )
    with pytest.raises(AuthenticationFailed, match=words) as caught:
        connect(server, server.new_user(), security="tls", imap_ca_file=authority.ca_file)
    assert caught.value.step == "login"
    assert _names(server) == ["CAPABILITY"]


@pytest.mark.parametrize("answer", [b"BAD no literals, please", b"NO 8-bit characters are not supported"])
def test_login_refused_for_its_form_is_tried_again_as_authenticate(
    scripted: ScriptedServer, answer: bytes
) -> None:
    scripted.capabilities = CAPABILITIES + b" AUTH=PLAIN SASL-IR"
    scripted.on("LOGIN", answer)
    with connect(scripted, scripted.new_user(password="pass-wörd")) as session:
        assert session.commands["LOGIN"] == session.commands["AUTHENTICATE"] == 1
        assert session.list_folders()


@pytest.mark.parametrize(
    ("password", "answer", "kind"),
    [
        ("pass-wörd", b"NO [AUTHENTICATIONFAILED] wrong", AuthenticationFailed),
        ("pass-word", b"NO wrong", AuthenticationFailed),
        ("pass-wörd", b"BAD User is authenticated but not connected.", Transient),
    ],
)
def test_login_refused_for_another_reason_is_not_tried_again(
    scripted: ScriptedServer, password: str, answer: bytes, kind: type[MailsyncError]
) -> None:
    scripted.capabilities = CAPABILITIES + b" AUTH=PLAIN SASL-IR"
    scripted.on("LOGIN", answer)
    with pytest.raises(kind):
        connect(scripted, scripted.new_user(password=password))
    assert _names(scripted) == ["CAPABILITY", "LOGIN"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"NO [AUTHENTICATIONFAILED] no", AuthenticationFailed),
        (b"NO wrong", AuthenticationFailed),
        (b"NO [UNAVAILABLE] later", Transient),
        (b"NO [LIMIT] too many", Throttled),
        (b"BAD what?", ProtocolError),
    ],
)
@pytest.mark.parametrize("extension", [b"", b" SASL-IR"])
def test_a_refused_authenticate_raises_the_right_error(
    scripted_with: Start,
    authority: Authority,
    answer: bytes,
    kind: type[MailsyncError],
    extension: bytes,
) -> None:
    server = scripted_with(
        security="tls",
        certificate=authority.good(),
        capabilities=CAPABILITIES + b" LOGINDISABLED AUTH=PLAIN" + extension,
    )
    server.on("AUTHENTICATE", answer)
    user = server.new_user()
    with pytest.raises(kind) as caught:
        connect(server, user, security="tls", imap_ca_file=authority.ca_file)
    assert type(caught.value) is kind
    assert caught.value.step == "login"


def test_the_argument_of_authenticate_is_masked_in_the_words_of_the_server(
    scripted_with: Start, authority: Authority
) -> None:
    server = scripted_with(
        security="tls",
        certificate=authority.good(),
        capabilities=CAPABILITIES + b" LOGINDISABLED AUTH=PLAIN SASL-IR",
    )
    server.on("AUTHENTICATE", lambda request: request.tagged(b"NO you said " + request.text.split()[1]))
    user = server.new_user("anna@example.test", "pass-word")
    with pytest.raises(AuthenticationFailed, match=r"you said \*\*\*$"):
        connect(server, user, security="tls", imap_ca_file=authority.ca_file)


def test_forbidden_hosts_and_ports_are_refused(scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(ForbiddenHost, match="not a public address") as caught:
            connect(scripted, user, host=host, port=143, imap_allow_private_hosts=False)
        assert caught.value.step == "dns"
    with pytest.raises(ForbiddenHost, match="port"):
        connect(scripted, user, imap_allow_private_hosts=False)
    assert scripted.journal.commands() == []


def test_unknown_hosts_and_closed_ports_are_transient(scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    with pytest.raises(Transient, match=r"nowhere\.invalid cannot be resolved") as caught:
        connect(scripted, user, host="nowhere.invalid")
    assert caught.value.step == "dns"
    with pytest.raises(Transient, match="refused") as caught:
        connect(scripted, user, port=run_directory.free_port())
    assert caught.value.step == "connect"


@pytest.mark.parametrize("password", ["a\r\nb", "a\0b", "a\udc80b"])
def test_a_password_with_control_characters_is_not_sent(scripted: ScriptedServer, password: str) -> None:
    with pytest.raises(InvalidInput, match="password") as caught:
        connect(scripted, scripted.new_user(), password=password)
    assert password not in repr(caught.value)
    assert scripted.journal.commands() == []


@pytest.mark.parametrize("security", ["plaintext", "tls"])
def test_a_silent_server_takes_one_timeout(scripted_with: Start, authority: Authority, security: str) -> None:
    server = scripted_with(greeting=None)
    calls = []
    began = Stopwatch()
    with pytest.raises(Transient, match="timed out after 1 s") as caught:
        connect(
            server,
            server.new_user(),
            security=security,
            imap_read_timeout=1,
            imap_connect_timeout=1,
            on_wait=lambda: calls.append(1),
        )
    assert caught.value.step == ("tls" if security == "tls" else "connect")
    assert began.stop() < 9
    assert calls


def test_an_exception_of_on_wait_ends_the_login(scripted_with: Start) -> None:
    server = scripted_with(greeting=None)

    def stop() -> None:
        raise Stopped("stopped")

    with pytest.raises(Stopped):
        connect(server, server.new_user(), on_wait=stop)
    run_directory.wait_until(lambda: not server.open_connections, "the connection to end")


def test_the_bucket_counts_every_command_of_the_login(scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    with pytest.raises(OutOfTokens):
        connect(scripted, user, bucket=TokenBucket(2, 20, 0, lambda: 0.0))
    assert len(scripted.journal.commands()) == 2
    bucket = TokenBucket(6, 20, 0, lambda: 0.0)
    with connect(scripted, user, bucket=bucket) as session:
        assert sum(session.commands.values()) == len(scripted.journal.commands()) - 2 == 5
        assert bucket.tokens == 1


def test_no_log_line_of_any_level_has_the_password(
    scripted: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    user = scripted.new_user(password='pass "word" ünd mehr')
    caplog.set_level(logging.DEBUG)
    with connect(scripted, user) as session:
        session.list_folders()
    scripted.on("LOGIN", lambda request: request.tagged(b"NO you said " + request.text))
    with pytest.raises(AuthenticationFailed) as caught:
        connect(scripted, user)
    assert "ünd mehr" not in caplog.text
    assert "mehr" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"NO no", b"BAD no"])
def test_a_server_that_refuses_id_and_enable_still_works(scripted: ScriptedServer, answer: bytes) -> None:
    scripted.on("ID", answer)
    scripted.on("ENABLE", answer)
    with connect(scripted, scripted.new_user()) as session:
        assert session.examine(b"INBOX").modseq


def test_a_malformed_id_answer_is_ignored(scripted: ScriptedServer) -> None:
    scripted.on("ID", lambda request: b'* ID ("name" (((\r\n' + request.tagged(b"OK done"))
    with connect(scripted, scripted.new_user()) as session:
        assert session.list_folders()


@pytest.mark.parametrize("security", ["plaintext", "starttls"])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"OK done", ProtocolError), (b"BAD what?", ProtocolError), (b"NO [LIMIT] slow down", Throttled)],
)
def test_capability_without_an_answer_raises_the_right_error(
    scripted_with: Start, authority: Authority, security: str, answer: bytes, kind: type[MailsyncError]
) -> None:
    server = scripted_with(security=security, certificate=authority.good())
    server.on("CAPABILITY", answer)
    with pytest.raises(kind, match="CAPABILITY") as caught:
        connect(server, server.new_user(), security=security, imap_ca_file=authority.ca_file)
    assert caught.value.step == ("tls" if security == "starttls" else "login")


def test_a_dripping_server_cannot_prolong_a_login(scripted: ScriptedServer) -> None:
    def drip(request: Request) -> None:
        for _ in range(300):
            request.send(b"* OK still thinking\r\n")
            request.delay(0.1)

    scripted.on("LOGIN", drip)
    began = Stopwatch()
    with pytest.raises(Transient, match=r"LOGIN: .* timed out after 2 s") as caught:
        connect(scripted, scripted.new_user(), imap_connect_timeout=1, imap_read_timeout=1)
    assert caught.value.step == "login"
    assert began.stop() < 20


def test_a_server_without_extensions_works(pymap: Pymap) -> None:
    for n in range(1, 8):
        pymap.append(pymap.user, "INBOX", mail.message(n))
    with connect(pymap, pymap.user) as session:
        assert [row.path for row in session.list_folders()] == ["INBOX"]
        assert not session.has_list_status
        status = session.examine(b"INBOX")
        assert status.messages == 7
        existing = session.search()
        assert len(existing) == 7
        [batch] = session.fetch_messages([existing])
        assert sorted(message.headers.subject or "" for message in batch.messages) == [
            f"Message {n}" for n in range(1, 8)
        ]
        assert {message.parse_errors for message in batch.messages} == {()}
        assert all(message.provider_message_id for message in batch.messages)
        assert len([state for chunk in session.fetch_states(existing) for state in chunk]) == 7
        session.unselect()
        assert session.status(b"INBOX").messages == 7


def test_a_password_is_masked_during_the_login_and_as_long_as_its_session_exists(
    scripted: ScriptedServer,
) -> None:
    user = scripted.new_user("kept@example.test", "Word-of-one-session")
    session = connect(scripted, user)
    assert redact("Word-of-one-session") == "***"
    session.close()
    assert redact("Word-of-one-session") == "***", "the words of the server may still be shown"
    del session
    gc.collect()
    assert redact("Word-of-one-session") == "Word-of-one-session"
    scripted.on("LOGIN", lambda request: request.tagged(b"NO [AUTHENTICATIONFAILED] not Word-that-is-wrong"))
    with pytest.raises(AuthenticationFailed) as raised:
        connect(scripted, user, password="Word-that-is-wrong")
    assert "Word" not in str(raised.value)
    assert redact("Word-that-is-wrong") == "Word-that-is-wrong"
