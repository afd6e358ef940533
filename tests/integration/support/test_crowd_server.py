"""The server for many clients: pushes, round trips, counts, and connections that end."""

from __future__ import annotations

import imaplib
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support.certificates import Authority
from tests.support.crowd_server import CrowdServer
from tests.support.habits import CAPABILITIES, Habits
from tests.support.imap_server import User, done
from tests.support.patience import PATIENCE, Stopwatch, wait_until
from tests.support.profiles import exchange_online
from tests.support.turns import Mirror

NOTIFY = b"a NOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange MailboxName))\r\n"


@pytest.fixture
def server(authority: Authority) -> Iterator[CrowdServer]:
    server = CrowdServer(Habits(capabilities=CAPABILITIES + b" IDLE NOTIFY"), authority.good())
    yield server
    server.stop()


class Client:
    """A client under TLS that shows each line as it comes."""

    def __init__(self, server: CrowdServer, user: User, authority: Authority) -> None:
        context = ssl.create_default_context(cafile=authority.ca_file)
        plain = socket.create_connection((server.host, server.port), timeout=PATIENCE)
        self.sock = context.wrap_socket(plain, server_hostname="localhost")
        self._file = self.sock.makefile("rb")
        assert self.line() == b"* OK ready"
        self.run(f"a LOGIN {user.name} {{{len(user.password)}+}}\r\n{user.password}\r\n".encode())

    def line(self) -> bytes:
        return self._file.readline().rstrip(b"\r\n")

    def run(self, command: bytes, last: bytes = b"a ") -> list[bytes]:
        self.sock.sendall(command)
        lines = [self.line()]
        while not lines[-1].startswith(last):
            assert lines[-1], lines
            lines.append(self.line())
        return lines

    def close(self) -> None:
        self._file.close()
        self.sock.close()


def test_many_parked_clients_are_told_of_what_is_theirs(server: CrowdServer, authority: Authority) -> None:
    users = server.add_users(60, ["INBOX", ("Sent", r"\Sent")], messages=2)
    clients = [Client(server, user, authority) for user in users]
    for client in clients:
        assert len(client.run(NOTIFY)) == 3
    assert server.figures().parked == 60
    server.deliver(users[7], folder="Sent")
    assert clients[7].line() == b'* STATUS "Sent" (MESSAGES 3 UIDNEXT 4 UNSEEN 3 HIGHESTMODSEQ 4)'
    server.deliver(*users)
    for client in clients:
        assert client.line().startswith(b'* STATUS "INBOX" (MESSAGES 3 ')
    server.set_flags(users[0], "INBOX", 1, r"\Seen")
    assert clients[0].line() == b'* STATUS "INBOX" (UNSEEN 2 HIGHESTMODSEQ 5)'
    server.rename(users[0], "Sent", "Done")
    assert clients[0].line() == b'* LIST () "/" "Done" ("OLDNAME" ("Sent"))'
    figures = server.figures()
    assert figures.commands == {"LOGIN": 60, "NOTIFY": 60}
    assert set(figures.logins.values()) == {1}
    assert server.bye_all("Maintenance") == 60
    assert clients[0].line() == b"* BYE Maintenance"
    assert clients[59].run(b"", b"* BYE")
    assert server.figures().connections == 0
    for client in clients:
        client.close()


def test_idle_and_refusals_and_violations(server: CrowdServer, authority: Authority) -> None:
    (user,) = server.add_users(1)
    client = Client(server, user, authority)
    assert client.run(b"a EXAMINE INBOX\r\nb IDLE\r\n", b"+ ")[-1] == b"+ idling"
    server.deliver(user)
    assert client.line() == b"* 2 EXISTS"
    server.expunge(user, "INBOX", 1)
    assert client.line() == b"* 1 EXPUNGE"
    assert client.run(b"DONE\r\n", b"b ") == [b"b OK Idle completed"]
    server.refuse("IDLE", "NO [LIMIT] not now")
    assert client.run(b"b IDLE\r\n", b"b ") == [b"b NO [LIMIT] not now"]
    server.refuse("IDLE", None)
    client.run(b"b IDLE\r\n", b"+ ")
    assert client.run(b"c NOOP\r\n", b"b ") == [b"b BAD Expected DONE."]
    assert server.figures().conflicts == 1
    assert server.cut_all() == 1
    assert client.line() == b""
    client.close()


def test_commands_that_arrive_together_share_a_round_trip_and_others_do_not_wait(
    server: CrowdServer, authority: Authority
) -> None:
    users = server.add_users(20)
    clients = [Client(server, user, authority) for user in users]
    server.set_latency(0.4)
    watch = Stopwatch()
    for client in clients:
        client.sock.sendall(b"b STATUS INBOX (MESSAGES)\r\n" * 20 + b"a NOOP\r\n")
    for client in clients:
        client.run(b"")
        client.close()
    assert watch.clock >= 0.4
    assert watch.stop() < 6  # one after another they would take 8 s
    wait_until(lambda: server.figures().connections == 0, "the end of the connections")


def test_providers_can_have_crowds(database_url: str) -> None:
    profile = exchange_online()
    server = CrowdServer(profile.habits)
    try:
        (user,) = server.add_users(1, profile.folders, messages=2)
        with Mirror(database_url, server, user) as mirror:
            mirror.complete()
            server.deliver(user)
            mirror.hot()
            assert sorted(mirror.rows()) == [1, 2, 3]
            server.refuse("NOOP", "BAD Request is throttled. Suggested Backoff Time: 5000 milliseconds")
            clients = [imaplib.IMAP4(server.host, server.port, timeout=PATIENCE) for _ in range(17)]
            kept_by_mirror = server.figures().connections - len(clients)
            for client in clients[kept_by_mirror:16]:
                client.login(user.name, user.password)
            with pytest.raises(imaplib.IMAP4.error, match="authenticated but not connected"):
                clients[16].login(user.name, user.password)
            with pytest.raises(imaplib.IMAP4.error, match="throttled"):
                clients[15].noop()
            for client in clients:
                client.shutdown()
    finally:
        server.stop()


def test_an_ordinary_client_can_read_mail(authority: Authority) -> None:
    server = CrowdServer()
    try:
        (user,) = server.add_users(1, messages=3)
        with imaplib.IMAP4(server.host, server.port, timeout=PATIENCE) as client:
            client.login(user.name, user.password)
            done(client.select("INBOX", readonly=True))
            assert done(client.uid("SEARCH", "ALL")) == [b"1 2 3"]
            ((head, body), _) = done(client.uid("FETCH", "2", "(BODY.PEEK[])"))
            assert b"UID 2" in head
            assert b"Message 2" in body
            with pytest.raises(imaplib.IMAP4.error):
                client.login("nobody", "wrong")
    finally:
        server.stop()
