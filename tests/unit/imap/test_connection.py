"""One connection, over a pair of sockets: what a server can say before a command is complete."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from mailsync.config import Settings
from mailsync.errors import AuthenticationFailed, MailsyncError, Transient
from mailsync.imap.connection import Connection
from mailsync.imap.imapclient_adapter import Client
from mailsync.imap.sign_in import sign_in
from mailsync.imap.token_bucket import TokenBucket
from mailsync.model import Endpoint
from mailsync.network.timeouts import Timeouts
from mailsync.redaction import masking

PASSWORD = "pässwörd"
ENDPOINT = Endpoint("h", 143, "plaintext", "üser")


@pytest.fixture
def server() -> Iterator[tuple[socket.socket, Client]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(b"* OK [CAPABILITY IMAP4rev1] hello\r\n")
        timeouts = Timeouts(lambda: None, 5.0, lambda command: None)
        bucket = TokenBucket(10.0, 10, 0.0)
        connection = Connection(ours, ENDPOINT, Settings(), bucket, timeouts, masking(PASSWORD))
        yield theirs, Client(connection, ENDPOINT)


@pytest.mark.parametrize("continued", [0, 1, 2])
@pytest.mark.parametrize(
    ("answer", "kind", "closed"),
    [
        ("* BYE no more of {0}", Transient, True),
        ("{1} NO [AUTHENTICATIONFAILED] not {0}", AuthenticationFailed, False),
    ],
)
def test_an_answer_at_any_literal_of_a_login_names_the_command_and_hides_the_password(
    server: tuple[socket.socket, Client],
    continued: int,
    answer: str,
    kind: type[MailsyncError],
    closed: bool,
) -> None:
    sock, client = server
    tag = client.connection.in_flight.new_tag().replace(b".1", b".2").decode()
    sock.sendall(b"+ go on\r\n" * continued + f"{answer.format(PASSWORD, tag)}\r\n".encode())
    with pytest.raises(kind, match=r"^LOGIN: the server said (BYE|NO) [^ä]+$"):
        sign_in(client, ENDPOINT, PASSWORD)
    assert client.connection.closed is closed
    sent = sock.recv(1000)
    literals = [b" LOGIN {5}\r\n", "üser {10}\r\n".encode(), f"{PASSWORD}\r\n".encode()]
    assert sent == tag.encode() + b"".join(literals[: continued + 1])
