"""The scripted server is honest by default, as imaplib and IMAPClient see it, and obeys a test's rules."""

from __future__ import annotations

import imaplib
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import date

import imapclient
import pytest

from tests.support import mail
from tests.support.certificates import Authority
from tests.support.mailboxes import Account
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.scripted import CAPABILITIES, ScriptedServer


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    user = scripted.new_user()
    for n in range(1, 6):
        user.folder("INBOX").add(mail.message(n), date=mail.internal_date(n))
    user.folder("INBOX").set_flags(2, rb"\Seen")
    user.create("Sent", rb"\Sent").add(mail.message(6, attachment=b"data"), rb"\Seen")
    return user


@pytest.fixture
def client(scripted: ScriptedServer, user: Account) -> imapclient.IMAPClient:
    client = imapclient.IMAPClient(scripted.host, scripted.port, ssl=False)
    client.login(user.name, user.password)
    yield client
    client.shutdown()


def raw(client: imapclient.IMAPClient, command: str) -> list[bytes]:
    """Send a command as it is; the untagged lines of its answer."""
    imap = client._imap
    tag = imap._new_tag()
    imap.send(tag + b" " + command.encode() + b"\r\n")
    lines = []
    while not (line := imap.readline()).startswith(tag):
        lines.append(line.rstrip())
    imap.tagged_commands.pop(tag)
    assert line.split()[1] == b"OK", line
    return lines


def test_folders_and_their_status_are_told_together_and_one_by_one(client: imapclient.IMAPClient) -> None:
    assert client.list_folders() == [((), b"/", "INBOX"), ((rb"\Sent",), b"/", "Sent")]
    status = client.folder_status("INBOX", ["MESSAGES", "UIDNEXT", "UNSEEN", "HIGHESTMODSEQ"])
    assert status == {b"MESSAGES": 5, b"UIDNEXT": 6, b"UNSEEN": 4, b"HIGHESTMODSEQ": 7}
    assert raw(client, 'LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDVALIDITY))') == [
        b'* LIST () "/" "INBOX"',
        b'* STATUS "INBOX" (MESSAGES 5 UIDVALIDITY 1700000000)',
        rb'* LIST (\Sent) "/" "Sent"',
        b'* STATUS "Sent" (MESSAGES 1 UIDVALIDITY 1700000001)',
    ]


def test_messages_are_fetched_as_another_client_expects_them(
    client: imapclient.IMAPClient, user: Account
) -> None:
    assert client.select_folder("INBOX", readonly=True)[b"EXISTS"] == 5
    assert client.search() == [1, 2, 3, 4, 5]
    assert client.search(["SINCE", date(2024, 1, 2)]) == []
    assert raw(client, "UID SEARCH RETURN (ALL) UNSEEN")[0].endswith(b" UID ALL 1,3:5")
    fields = "BODY.PEEK[HEADER.FIELDS (SUBJECT MESSAGE-ID X-NONE)]"
    answer = client.fetch([1, 2], ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "MODSEQ", fields, "BODY[]<0.9>"])
    assert answer[2][b"FLAGS"] == (rb"\Seen",)
    assert answer[1][b"RFC822.SIZE"] == len(mail.message(1))
    assert answer[1][fields.replace(".PEEK", "").encode()] == (
        b"Message-ID: <1@mail.test>\r\nSubject: Message 1\r\n\r\n"
    )
    assert answer[1][b"BODY[]<0>"] == b"Message-I"
    client.select_folder("Sent", readonly=True)
    text, file = client.fetch([1], ["BODYSTRUCTURE"])[1][b"BODYSTRUCTURE"][0]
    assert text[:2] == (b"text", b"plain")
    assert file[6] == len("data")
    assert file[8] == (b"attachment", (b"filename", b"file.bin"))
    assert client.fetch([1], ["BODY.PEEK[2]"])[1][b"BODY[2]"] == b"data"


def test_changes_made_meanwhile_are_told(client: imapclient.IMAPClient, user: Account) -> None:
    client.select_folder("INBOX", readonly=True)
    inbox = user.folder("INBOX")
    inbox.expunge(2, 4)
    inbox.add(mail.message(9))
    assert raw(client, "NOOP") == [b"* 4 EXPUNGE", b"* 2 EXPUNGE", b"* 4 EXISTS"]
    inbox.set_flags(1, rb"\Flagged")
    assert raw(client, "ENABLE QRESYNC") == [b"* ENABLED QRESYNC"]
    assert raw(client, "UID FETCH 1:5 (FLAGS) (CHANGEDSINCE 8 VANISHED)") == [
        rb"* 1 FETCH (UID 1 FLAGS (\Flagged) MODSEQ (10))"
    ]
    assert raw(client, "UID FETCH 1:3 (FLAGS) (CHANGEDSINCE 7 VANISHED)")[0] == b"* VANISHED (EARLIER) 2"


def test_what_is_not_offered_is_refused(client: imapclient.IMAPClient, scripted: ScriptedServer) -> None:
    scripted.capabilities = b"IMAP4rev1"
    client.select_folder("INBOX", readonly=True)
    for command in (
        "UID FETCH 1 (MODSEQ)",
        "UID FETCH 1 (FLAGS) (CHANGEDSINCE 1)",
        "UID SEARCH RETURN (ALL) ALL",
        'LIST "" "*" RETURN (STATUS (MESSAGES))',
        "UID FETCH 1 (EMAILID)",
    ):
        with pytest.raises(AssertionError, match="BAD"):
            raw(client, command)
    scripted.capabilities = CAPABILITIES + b" OBJECTID X-GM-EXT-1"
    assert b"EMAILID (M" in raw(client, "UID FETCH 1 (EMAILID THREADID X-GM-MSGID X-GM-LABELS)")[0]


def test_rules_override_answers_and_wear_off(client: imapclient.IMAPClient, scripted: ScriptedServer) -> None:
    scripted.on(b"EXAMINE", b"NO [INUSE] Mailbox is in use", times=1)
    with pytest.raises(imapclient.exceptions.IMAPClientError, match="in use"):
        client.select_folder("INBOX", readonly=True)
    client.select_folder("INBOX", readonly=True)
    scripted.on("UID FETCH", lambda request: request.default().replace(b"UID 2", b"UID 77"), times=1)
    assert raw(client, "UID FETCH 2 (FLAGS)") == [rb"* 2 FETCH (UID 77 FLAGS (\Seen))"]
    assert raw(client, "UID FETCH 2 (FLAGS)") == [rb"* 2 FETCH (UID 2 FLAGS (\Seen))"]
    scripted.inject("NOOP", b"* 23 EXISTS\r\n")
    assert raw(client, "NOOP") == [b"* 23 EXISTS"]
    scripted.on("NOOP", b"BAD never heard of it")
    scripted.off("NOOP")
    assert raw(client, "NOOP") == []


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        (lambda request: request.bye(b"Server shutting down"), "Server shutting down"),
        (lambda request: request.close(), "EOF"),
        (lambda request: request.send(b"* 1 FETCH (UID 1 FL") or request.close(), "unterminated line"),
        (lambda request: request.reset(), "reset"),
        (lambda request: request.hang(), "timed out"),
    ],
)
def test_a_session_can_end_badly(
    scripted: ScriptedServer, user: Account, handler: Callable[..., bytes], outcome: str
) -> None:
    scripted.on("NOOP", handler)
    client = imaplib.IMAP4(scripted.host, scripted.port, timeout=PATIENCE)
    client.login(user.name, user.password)
    if outcome == "timed out":
        client.sock.settimeout(0.5)
    with pytest.raises((imaplib.IMAP4.error, OSError), match=outcome):
        client.noop()
    client.shutdown()


@pytest.mark.parametrize(
    ("greeting", "first"),
    [(b"* BYE too busy", b"* BYE too busy\r\n"), (b"* PREAUTH hi", b"* PREAUTH hi\r\n"), (None, b"")],
)
def test_the_greeting_can_be_any(
    scripted: ScriptedServer, user: Account, greeting: bytes | None, first: bytes
) -> None:
    scripted.greeting = greeting
    patience = 0.3 if greeting is None else PATIENCE
    with socket.create_connection((scripted.host, scripted.port), timeout=patience) as sock:
        try:
            assert sock.recv(100) == first
        except TimeoutError:
            assert greeting is None
        if greeting == b"* PREAUTH hi":
            sock.sendall(b"a EXAMINE INBOX\r\n")
            assert b"5 EXISTS" in sock.recv(1000)


def test_tls_and_starttls_in_good_and_bad_order(
    scripted_with: Callable[..., ScriptedServer], authority: Authority
) -> None:
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    tls = scripted_with(security="tls", certificate=authority.good())
    user = tls.new_user()
    with imaplib.IMAP4_SSL("localhost", tls.port, ssl_context=trusting) as client:
        client.login(user.name, user.password)
    server = scripted_with(security="starttls", certificate=authority.good())
    user = server.new_user()
    with imaplib.IMAP4("localhost", server.port) as client:
        assert "STARTTLS" in client.capabilities
        client.starttls(trusting)
        assert "STARTTLS" not in client.capabilities
        client.login(user.name, user.password)
    server.starttls = "refuse"
    with imaplib.IMAP4("localhost", server.port) as client, pytest.raises(imaplib.IMAP4.error):
        client.starttls(trusting)
    server.starttls = "inject"
    with socket.create_connection((server.host, server.port)) as sock:
        sock.recv(100)
        sock.sendall(b"a STARTTLS\r\n")
        assert sock.recv(1000) == b"a OK begin TLS\r\n" + server.injected
    server.starttls = "drop"
    with socket.create_connection((server.host, server.port)) as sock:
        sock.recv(100)
        sock.sendall(b"a STARTTLS\r\n")
        assert sock.recv(1000) == b""


def test_the_journal_shows_two_sessions_that_speak_at_once(scripted: ScriptedServer, user: Account) -> None:
    def session() -> imaplib.IMAP4:
        client = imaplib.IMAP4(scripted.host, scripted.port)
        client.login(user.name, user.password)
        return client

    first, second = session(), session()
    first.noop()
    second.noop()
    assert scripted.journal.interleavings() == []
    first.select("INBOX", readonly=True)
    second.noop()
    assert len(scripted.journal.interleavings(user.name)) == 1
    first.unselect()
    second.noop()
    assert len(scripted.journal.interleavings(user.name)) == 1

    scripted.latency = 0.1
    threads = [threading.Thread(target=client.noop) for client in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(scripted.journal.interleavings(user.name)) == 2
    assert len(scripted.journal.interleavings(user.name, gap=60)) >= 1
    assert scripted.journal.counts()["NOOP"] == 6
    assert scripted.journal.busiest_minute() == 12
    assert scripted.journal.busiest_minute(window=1e-9) == 1
    assert len(scripted.journal.sessions(user.name)) == 2
    for client in (first, second):
        client.shutdown()


def test_a_busiest_minute_is_any_sixty_seconds(scripted: ScriptedServer) -> None:
    for moment in (0, 30, 59, 61, 89, 91, 200):
        scripted.journal.begin(1, "NOOP", b"").started = moment
    assert scripted.journal.busiest_minute() == 4


def test_a_kill_of_the_client_ends_its_speaking_at_once(scripted: ScriptedServer, user: Account) -> None:
    scripted.on("NOOP", lambda request: request.delay(30))
    with socket.create_connection((scripted.host, scripted.port)) as sock:
        sock.sendall(b"a LOGIN %s {%d}\r\n" % (user.name.encode(), len(user.password)))
        while b"+ " not in sock.recv(1000):
            pass
        sock.sendall(user.password.encode() + b"\r\nb NOOP\r\n")
        wait_until(lambda: scripted.journal.commands("NOOP"), "the command")
    wait_until(lambda: not scripted.open_connections, "the end of the connection")
    (noop,) = scripted.journal.commands("NOOP", user.name)
    assert noop.finished is not None
    assert noop.finished - noop.started < 20
