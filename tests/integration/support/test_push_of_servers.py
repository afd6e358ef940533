"""IDLE and NOTIFY of the scripted server, byte by byte: what is told, when, and what is passed over."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator

import pytest

from tests.support import mail, placing
from tests.support.certificates import Authority
from tests.support.habits import CAPABILITIES
from tests.support.mailboxes import Account
from tests.support.patience import PATIENCE, Stopwatch, wait_until
from tests.support.scripted import ScriptedServer

SET = b"NOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))"


class Client:
    """A client that shows each line as it comes."""

    def __init__(self, server: ScriptedServer, user: Account, sock: socket.socket | None = None) -> None:
        sock = sock or socket.create_connection((server.host, server.port), timeout=PATIENCE)
        self._socket, self._file = sock, sock.makefile("rb")
        self.line()
        self.run(b"LOGIN %s {%d+}\r\n%s" % (user.name.encode(), len(user.password), user.password.encode()))

    def send(self, data: bytes) -> None:
        self._socket.sendall(data + b"\r\n")

    def line(self) -> bytes:
        return self._file.readline().rstrip(b"\r\n")

    def run(self, command: bytes) -> list[bytes]:
        """Send a command; the untagged lines of its answer, which must be OK."""
        self.send(b"a " + command)
        lines = self.until(b"a ")
        assert lines[-1].startswith(b"a OK"), lines
        return lines[:-1]

    def until(self, start: bytes) -> list[bytes]:
        lines = [self.line()]
        while not lines[-1].startswith(start):
            assert lines[-1], lines
            lines.append(self.line())
        return lines

    def idle(self) -> list[bytes]:
        self.send(b"i IDLE")
        return self.until(b"+ idling")

    def done(self) -> list[bytes]:
        self.send(b"DONE")
        return self.until(b"i ")

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def server(scripted: ScriptedServer) -> ScriptedServer:
    scripted.capabilities = CAPABILITIES + b" IDLE NOTIFY"
    return scripted


@pytest.fixture
def user(server: ScriptedServer) -> Account:
    user = server.new_user()
    user.create("Archive")
    for n in range(1, 4):
        user.folder("INBOX").add(mail.message(n))
    return user


@pytest.fixture
def connect(server: ScriptedServer, user: Account) -> Iterator[Callable[[], Client]]:
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(server, user))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Callable[[], Client]) -> Client:
    return connect()


def test_idle_tells_changes_of_the_selected_mailbox_at_once(client: Client, user: Account) -> None:
    inbox = user.folder("INBOX")
    client.run(b"EXAMINE INBOX")
    assert client.idle() == [b"+ idling"]
    inbox.add(mail.message(4))
    assert client.line() == b"* 4 EXISTS"
    inbox.set_flags(2, rb"\Seen")
    assert client.line() == rb"* 2 FETCH (FLAGS (\Seen))"
    user.folder("Archive").add(mail.message(5))
    inbox.expunge(1, 3)
    assert [client.line(), client.line()] == [b"* 3 EXPUNGE", b"* 1 EXPUNGE"]
    inbox.set_flags(4, rb"\Flagged")
    assert client.line() == rb"* 2 FETCH (FLAGS (\Flagged))"
    assert client.done() == [b"i OK Idle completed"]
    assert client.run(b"NOOP") == []


def test_idle_can_be_silent_about_flags(client: Client, server: ScriptedServer, user: Account) -> None:
    server.idle_reports_flags = False
    client.run(b"EXAMINE INBOX")
    client.idle()
    user.folder("INBOX").set_flags(1, rb"\Seen")
    user.folder("INBOX").add(mail.message(4))
    assert client.line() == b"* 4 EXISTS"
    assert client.done() == [b"i OK Idle completed"]


def test_idle_ends_by_any_other_line_which_is_recorded(client: Client, server: ScriptedServer) -> None:
    client.run(b"EXAMINE INBOX")
    client.idle()
    client.send(b"b NOOP")
    assert client.line() == b"i BAD Expected DONE."
    assert client.run(b"NOOP") == []
    (conflict,) = server.speaking_conflicts
    assert (conflict.command, conflict.other) == ("b NOOP", "IDLE")
    server.capabilities = CAPABILITIES
    client.send(b"i IDLE")
    assert client.line() == b"i BAD IDLE is not offered"


def test_notify_tells_the_changed_items_of_every_folder(client: Client, user: Account) -> None:
    inbox, archive = user.folder("INBOX"), user.folder("Archive")
    assert client.run(SET) == [
        b'* STATUS "INBOX" (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 1700000000 UNSEEN 3 HIGHESTMODSEQ 4)',
        b'* STATUS "Archive" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1700000001 UNSEEN 0 HIGHESTMODSEQ 1)',
    ]
    archive.add(mail.message(4))
    assert client.line() == b'* STATUS "Archive" (MESSAGES 1 UIDNEXT 2 UNSEEN 1 HIGHESTMODSEQ 2)'
    inbox.set_flags(1, rb"\Flagged")
    assert client.line() == b'* STATUS "INBOX" (HIGHESTMODSEQ 5)'
    inbox.set_flags(1, rb"\Seen")
    assert client.line() == b'* STATUS "INBOX" (UNSEEN 2 HIGHESTMODSEQ 6)'
    inbox.expunge(2)
    assert client.line() == b'* STATUS "INBOX" (MESSAGES 2 UIDNEXT 4 UNSEEN 1 HIGHESTMODSEQ 7)'
    user.create("New")
    assert client.line() == b'* LIST () "/" "New"'
    user.rename("Archive", "Old")
    assert client.line() == b'* LIST () "/" "Old" ("OLDNAME" ("Archive"))'
    archive.add(mail.message(5))
    assert client.line().startswith(b'* STATUS "Old" (MESSAGES 2 UIDNEXT 3 UIDVALIDITY 1700000001 ')
    user.delete("New")
    assert client.line() == rb'* LIST (\NonExistent) "/" "New"'
    inbox.renumber(77)
    assert client.line().startswith(b'* STATUS "INBOX" (UIDNEXT 3 UIDVALIDITY 77')
    assert client.run(b"NOTIFY NONE") == []
    archive.add(mail.message(6))
    assert client.run(b"NOOP") == []


@pytest.mark.parametrize("sent", [SET, b"NOTIFY NONE"])
def test_after_notify_nothing_is_told_of_the_selected_mailbox(
    client: Client, user: Account, sent: bytes
) -> None:
    inbox = user.folder("INBOX")
    client.run(sent)
    client.run(b"EXAMINE INBOX")
    client.idle()
    inbox.add(mail.message(4))
    assert client.done() == [b"i OK Idle completed"]
    assert client.run(b"NOOP") == []
    assert client.run(b"UID FETCH 4 (UID)") == []
    client.run(b"NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))")
    client.run(b"EXAMINE INBOX")
    inbox.add(mail.message(5))
    assert client.line() == b"* 5 EXISTS"
    inbox.set_flags(5, rb"\Seen")
    assert client.line() == rb"* 5 FETCH (FLAGS (\Seen))"


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (b"NOTIFY SET STATUS (personal MessageNew)", b"a BAD an event group needs events in parentheses"),
        (b"NOTIFY SET (personal (Bogus))", b"a NO [BADEVENT (BOGUS)] unknown event"),
        (b"NOTIFY", b"a BAD expected NONE, or SET and event groups"),
    ],
)
def test_notify_refuses_what_it_does_not_know(client: Client, command: bytes, answer: bytes) -> None:
    client.send(b"a " + command)
    assert client.line() == answer


def test_notify_passes_over_a_change_of_the_selected_folder(
    client: Client, server: ScriptedServer, user: Account
) -> None:
    inbox = user.folder("INBOX")
    client.run(SET)
    client.run(b"EXAMINE INBOX")
    inbox.add(mail.message(4))
    client.run(b"UNSELECT")
    assert client.run(b"NOOP") == []
    placing.before(server, "EXAMINE", lambda: inbox.add(mail.message(5)))
    client.run(b"EXAMINE INBOX")
    client.run(b"UNSELECT")
    assert client.run(b"NOOP") == []
    assert client.run(SET)[0].startswith(b'* STATUS "INBOX" (MESSAGES 5 ')

    server.notify_reports_selected = True
    client.run(b"EXAMINE INBOX")
    inbox.add(mail.message(6))
    assert client.line().startswith(b'* STATUS "INBOX" (MESSAGES 6 ')


def test_changes_are_placed_between_two_commands(
    client: Client, server: ScriptedServer, user: Account
) -> None:
    inbox = user.folder("INBOX")
    placing.during(server, "EXAMINE", lambda: inbox.add(mail.message(4)))
    assert b"* 3 EXISTS" in client.run(b"EXAMINE INBOX")
    placing.before(server, "IDLE", lambda: inbox.add(mail.message(5)))
    assert client.idle() == [b"+ idling"]
    assert client.line() == b"* 5 EXISTS"
    placing.before(server, "DONE", lambda: inbox.add(mail.message(6)))
    assert client.done() == [b"* 6 EXISTS", b"i OK Idle completed"]
    client.idle()
    placing.during(server, "DONE", lambda: inbox.add(mail.message(7)))
    assert client.done() == [b"i OK Idle completed"]
    assert client.run(b"NOOP") == [b"* 7 EXISTS"]

    placing.after(server, "UNSELECT", lambda: inbox.add(mail.message(8)))
    client.run(b"UNSELECT")
    placing.during(server, "NOTIFY", lambda: inbox.add(mail.message(9)))
    assert client.run(SET)[0].startswith(b'* STATUS "INBOX" (MESSAGES 8 ')
    assert client.line().startswith(b'* STATUS "INBOX" (MESSAGES 9 ')
    assert server.speaking_conflicts == []


def test_two_that_speak_are_recorded_and_one_that_listens_is_not(
    connect: Callable[[], Client], server: ScriptedServer, user: Account
) -> None:
    first, second = connect(), connect()
    first.run(b"EXAMINE INBOX")
    first.idle()
    second.run(b"NOOP")
    second.run(SET)
    wait_until(lambda: len(server.parked(user)) == 2, "both to be parked")
    first.done()
    assert server.speaking_conflicts == []
    assert server.journal.interleavings() == []
    server.on("NOOP", lambda request: request.hang(), times=1)
    first.send(b"a NOOP")
    wait_until(lambda: len(server.journal.commands("NOOP")) == 2, "the command")
    second.run(b"CAPABILITY")
    (conflict,) = server.speaking_conflicts
    assert (conflict.command, conflict.other) == ("CAPABILITY", "NOOP")


def test_commands_that_arrive_together_share_a_round_trip(
    client: Client, server: ScriptedServer, user: Account
) -> None:
    server.latency = 0.4
    watch = Stopwatch()
    client.send(b"\r\n".join(b"a%d STATUS INBOX (MESSAGES)" % n for n in range(30)))
    client.until(b"a29 OK")
    assert watch.clock >= 0.4
    assert watch.stop() < 6  # one by one they would take 12 s
    assert server.journal.round_trips(user.name) == 2  # with LOGIN


def test_a_test_can_push_end_notify_and_say_bye(
    client: Client, server: ScriptedServer, user: Account
) -> None:
    client.run(SET)
    wait_until(lambda: server.parked(user), "the client to be parked")
    (connection,) = server.connections(user)
    connection.push(b"* OK Still here\r\n")
    assert client.line() == b"* OK Still here"
    connection.overflow()
    assert client.line() == b"* OK [NOTIFICATIONOVERFLOW] Too many changes"
    user.folder("INBOX").add(mail.message(4))
    assert client.run(b"NOOP") == []
    server.bye(b"Session expired", user)
    assert client.line() == b"* BYE Session expired"
    assert client.line() == b""
    wait_until(lambda: not user.watchers, "the end of the session")


def test_a_change_reaches_a_client_under_tls_while_its_thread_reads(
    scripted_with: Callable[..., ScriptedServer], authority: Authority
) -> None:
    server = scripted_with(
        security="tls", certificate=authority.good(), capabilities=CAPABILITIES + b" NOTIFY"
    )
    user = server.new_user()
    trusting = ssl.create_default_context(cafile=authority.ca_file)
    plain = socket.create_connection((server.host, server.port), timeout=PATIENCE)
    client = Client(server, user, trusting.wrap_socket(plain, server_hostname="localhost"))
    client.run(SET)
    for n in range(1, 100):
        user.folder("INBOX").add(mail.message(n))
        assert b"MESSAGES %d " % n in client.line()
        client.run(b"NOOP")
    client.close()
