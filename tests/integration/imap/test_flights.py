"""STATUS commands in one flight (SPEC §22.8): matched by tag, few writes, and servers that refuse them."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from mailsync.errors import FolderError, ProtocolError
from mailsync.imap import Session, TokenBucket
from mailsync.model import MailboxStatus
from tests.support.imap_sessions import connect
from tests.support.mailboxes import Account
from tests.support.proxy import Proxy
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

PLAIN = b"IMAP4rev1 UNSELECT"
NAMES = [b"Folder %02d" % number for number in range(15)]


@pytest.fixture
def server(scripted_with: Callable[..., ScriptedServer]) -> ScriptedServer:
    return scripted_with(capabilities=PLAIN)


@pytest.fixture
def user(server: ScriptedServer) -> Account:
    """A user with 15 folders of 0 to 14 messages, beside the INBOX."""
    user = server.new_user()
    for number, name in enumerate(NAMES):
        letters(user, number, name.decode())
    return user


def sizes(session: Session, names: list[bytes] = NAMES) -> dict[bytes, int | str | None]:
    """Ask for all of `names`; returns how many messages they have, or the name of their error."""
    left, found = list(names), dict[bytes, int | str | None]()
    while left:
        for name, answer in session.statuses(left):
            assert name == left.pop(0)
            found[name] = answer.messages if isinstance(answer, MailboxStatus) else type(answer).__name__
    return found


def is_followed(request: Request) -> bool:
    """Whether the client has sent more before the answer to this command."""
    return request.connection.stream.has_unread


ALL = {name: number for number, name in enumerate(NAMES)}


def test_a_flight_is_one_write_with_unselect_ahead(server: ScriptedServer, user: Account) -> None:
    pieces: list[int] = []
    proxy = Proxy((server.host, server.port))
    proxy.on_piece = pieces.append
    try:
        with connect(server, user, port=proxy.port) as session:
            session.examine(b"Folder 03")
            pieces.clear()
            before = len(server.journal.commands())
            assert sizes(session) == ALL
            assert len(pieces) == 1
            assert [c.name for c in server.journal.commands()[before:]] == ["UNSELECT"] + 15 * ["STATUS"]
            assert session.selected is None
    finally:
        proxy.stop()


def test_answers_may_come_in_another_order(server: ScriptedServer, user: Account) -> None:
    held: list[bytes] = []

    def shuffled(request: Request) -> bytes:
        held.append(request.default())
        if len(held) < len(NAMES):
            return b""
        random.Random(4).shuffle(held)
        return b"".join(held)

    with connect(server, user) as session:
        server.on("STATUS", shuffled, times=len(NAMES))
        assert sizes(session) == ALL
        assert session.commands["STATUS"] == len(NAMES)


def test_a_name_may_be_spelled_differently(server: ScriptedServer, user: Account) -> None:
    server.on("STATUS", lambda request: request.default().replace(b"Folder", b"FOLDER"))
    with connect(server, user) as session:
        assert sizes(session) == ALL
        assert session.commands["STATUS"] == len(NAMES)


def test_a_refused_folder_costs_only_itself(server: ScriptedServer, user: Account) -> None:
    with connect(server, user) as session:
        names = [NAMES[2], b"Nowhere", NAMES[4]]
        assert sizes(session, names) == {NAMES[2]: 2, b"Nowhere": FolderError.__name__, NAMES[4]: 4}
        assert session.flights.most > 1


def test_a_missing_row_is_asked_for_once_more(server: ScriptedServer, user: Account) -> None:
    server.on("STATUS", lambda request: request.tagged(b"OK done"), times=len(NAMES))
    with connect(server, user) as session:
        assert sizes(session) == ALL
        server.on("STATUS", lambda request: request.tagged(b"OK done"))
        assert set(sizes(session).values()) == {ProtocolError.__name__}


def test_a_name_that_needs_a_literal_goes_alone(server: ScriptedServer, user: Account) -> None:
    user.create("Größe")
    literal = next(name for name in user.folders if name.startswith(b"Gr"))
    with connect(server, user) as session:
        names = [NAMES[1], literal, NAMES[2], "Ümlaut".encode()]
        assert list(sizes(session, names).values()) == [1, 0, 2, FolderError.__name__]


def test_at_most_25_are_in_flight(server: ScriptedServer, user: Account) -> None:
    for number in range(20):
        user.create(f"More {number}")
    names = [*NAMES, *(b"More %d" % number for number in range(20))]
    with connect(server, user) as session:
        assert len(session.statuses(names)) == 25


def test_a_flight_leaves_tokens_for_what_it_shows(server: ScriptedServer, user: Account) -> None:
    with connect(server, user, bucket=TokenBucket(12.0, 48, 0.0)) as session:
        left = session.commands_left
        assert len(session.statuses(NAMES)) == left // 2


def test_a_server_that_accepts_one_by_one_only_is_asked_so(server: ScriptedServer, user: Account) -> None:
    lock = threading.Lock()
    together = [0]

    def refuse(request: Request) -> bytes:
        with lock:
            together[0] += 1
            is_more = bool(is_followed(request)) or together[0] > 1
            if not is_followed(request):
                together[0] = 0
        return request.tagged(b"BAD one at a time") if is_more else request.default()

    server.on("STATUS", refuse)
    with connect(server, user) as session:
        assert sizes(session) == ALL
        assert session.flights.most == 1
        before = session.commands["STATUS"]
        assert sizes(session) == ALL
        assert session.commands["STATUS"] == before + len(NAMES)


def test_a_broken_extension_is_disabled_once(scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    for name in NAMES:
        user.create(name.decode())

    def refuse(request: Request) -> bytes:
        is_broken = b"HIGHESTMODSEQ" in request.text
        return request.tagged(b"BAD what is HIGHESTMODSEQ") if is_broken else request.default()

    scripted.on("STATUS", refuse)
    with connect(scripted, user) as session:
        assert set(sizes(session).values()) == {0}
        assert "CONDSTORE" not in session.capabilities
        assert session.flights.most > 1
        # the flight, the first alone with and without the item, and the others in another flight
        assert session.commands["STATUS"] == 15 + 2 + 14


def test_a_server_that_drops_the_connection_for_a_flight_is_asked_one_by_one_within_the_turn(
    database_url: str, server: ScriptedServer, user: Account
) -> None:
    def drop(request: Request) -> bytes:
        return request.close() if is_followed(request) else request.default()

    server.on("STATUS", drop)
    with Mirror(database_url, server, user, sync_rr_folders=20) as mirror:
        mirror.complete()
        assert mirror.state == ("healthy", None)
        logins = server.journal.counts()["LOGIN"]
        assert mirror.hot() is not None
        assert mirror.state == ("healthy", None)
        mirror.env.sessions.drop(mirror.account_id)
        mirror.hot()
        # nothing was tried again: the account's next session knows
        assert server.journal.counts()["LOGIN"] == logins + 1
        assert logins <= 2


EXCHANGE = b"IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
DOVECOT = b"IMAP4rev1 SASL-IR ID ENABLE IDLE LITERAL+ UNSELECT ESEARCH LIST-STATUS CONDSTORE QRESYNC"
GMAIL = (
    b"IMAP4rev1 UNSELECT IDLE NAMESPACE QUOTA ID XLIST CHILDREN X-GM-EXT-1 UIDPLUS ENABLE CONDSTORE ESEARCH"
)


@pytest.mark.parametrize(
    ("offered", "is_announced", "volunteers", "writes", "names"),
    [
        (DOVECOT, True, True, 2, ["LOGIN", "ID", "ENABLE"]),
        (GMAIL, False, True, 3, ["CAPABILITY", "LOGIN", "ID", "ENABLE"]),
        (EXCHANGE, False, False, 3, ["CAPABILITY", "LOGIN", "CAPABILITY", "ID"]),
        (DOVECOT, False, False, 3, ["CAPABILITY", "LOGIN", "CAPABILITY", "ID", "ENABLE"]),
    ],
    ids=["Dovecot", "Gmail", "Exchange", "any other"],
)
def test_what_follows_a_login_is_one_write(
    scripted_with: Callable[..., ScriptedServer],
    offered: bytes,
    is_announced: bool,
    volunteers: bool,
    writes: int,
    names: list[str],
) -> None:
    announced = b"[CAPABILITY %s] " % offered
    server = scripted_with(
        capabilities=offered, greeting=b"* OK %sready" % (announced if is_announced else b"")
    )
    if volunteers:
        server.on("LOGIN", lambda request: request.default().replace(b" OK ", b" OK %s" % announced))
    pieces: list[int] = []
    proxy = Proxy((server.host, server.port))
    proxy.on_piece = pieces.append
    try:
        with connect(server, server.new_user(), port=proxy.port) as session:
            assert len(pieces) == writes
            assert [command.name for command in server.journal.commands()] == names
            assert ("CONDSTORE" in session.capabilities) == (b"CONDSTORE" in offered)
    finally:
        proxy.stop()


@pytest.mark.parametrize("answer", ["drop", "refuse"])
def test_a_server_that_accepts_a_login_one_by_one_only_is_asked_so(
    scripted: ScriptedServer, answer: str
) -> None:
    def one_by_one(request: Request) -> bytes:
        if not is_followed(request):
            return request.default()
        return request.close() if answer == "drop" else request.tagged(b"BAD one at a time")

    for name in ("CAPABILITY", "ID"):
        scripted.on(name, one_by_one)
    with connect(scripted, scripted.new_user()) as session:
        assert session.has_vanished
        assert session.list_folders()
    assert scripted.journal.counts()["LOGIN"] == (2 if answer == "drop" else 1)


def test_a_tick_of_fifteen_folders_takes_one_round_trip_and_a_new_message_three_more(
    database_url: str, server: ScriptedServer
) -> None:
    user = server.new_user()
    for path in ("INBOX", *(f"Folder {number:02}" for number in range(14))):
        letters(user, 2, path)
    pieces: list[int] = []
    proxy = Proxy((server.host, server.port))
    try:
        with Mirror(database_url, proxy, user, sync_rr_folders=15) as mirror:
            for _ in range(4):
                mirror.complete()
            proxy.on_piece = pieces.append
            mirror.hot()
            assert len(pieces) == 1
            letters(user, 1, "Folder 07")
            pieces.clear()
            mirror.hot()
            assert len(mirror.rows("Folder 07")) == 3
            assert len(pieces) == 1 + 3
    finally:
        proxy.stop()


def test_a_session_that_idles_asks_in_one_round_trip_and_idles_in_another(
    server: ScriptedServer, user: Account
) -> None:
    server.capabilities = PLAIN + b" IDLE"
    server.on("IDLE", lambda request: request.tagged(b"OK idled" if request.ask() == b"DONE" else b"BAD"))
    pieces: list[int] = []
    proxy = Proxy((server.host, server.port))
    proxy.on_piece = pieces.append
    try:
        with connect(server, user, port=proxy.port) as session:
            for _ in range(3):
                session.idle(b"INBOX")
                pieces.clear()
                assert sizes(session) == ALL
                assert len(pieces) == 1
                assert session.push.listening is None
                session.idle(b"INBOX")
                assert len(pieces) == 2
                assert session.push.listening == "idle"
    finally:
        proxy.stop()
