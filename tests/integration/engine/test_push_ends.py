"""Servers that end, refuse or overdo what a parked session asked for: no failure, no lost mail."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mailsync.engine.turn import Turn
from mailsync.errors import Stopped
from tests.support import mail
from tests.support.mailboxes import Account
from tests.support.patience import PATIENCE, wait_until
from tests.support.placing import during
from tests.support.pushed import BY_IDLE, BY_NOTIFY, PushedMirror, two_folders
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

StartScripted = Callable[..., ScriptedServer]


@pytest.fixture
def server(scripted_with: StartScripted) -> ScriptedServer:
    return scripted_with(capabilities=BY_NOTIFY)


@pytest.fixture
def user(server: ScriptedServer) -> Account:
    return two_folders(server)


@pytest.fixture
def mirror(database_url: str, server: ScriptedServer, user: Account) -> Iterator[PushedMirror]:
    """A complete mirror that is parked by NOTIFY, with nothing left to follow."""
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        yield mirror


def parked_kind(mirror: PushedMirror) -> object:
    return mirror.value("select parked_kind from accounts")


def age(mirror: PushedMirror, seconds: float) -> None:
    """Let the session that is parked next have lived for so long."""
    mirror.env.sessions._kept[mirror.account_id].session.opened_at -= seconds
    assert isinstance(mirror.hot(), Turn)


@pytest.mark.parametrize("answer", [b"NO not now", b"BAD unknown command"])
def test_a_server_that_refuses_notify_is_asked_by_idle(
    database_url: str, scripted_with: StartScripted, answer: bytes
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    server.on("NOTIFY", answer)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        assert parked_kind(mirror) == "idle"
        user.folder("INBOX").add(mail.message(9))
        mirror.follow(lambda: mirror.equals(user), "the message")
        assert server.journal.counts()["NOTIFY"] == 1, "asked once a session"
        assert mirror.state == ("healthy", None)


@pytest.mark.parametrize("answer", [b"NO not now", b"BAD unknown command"])
def test_a_server_that_refuses_idle_is_left_to_its_ticks(
    database_url: str, scripted_with: StartScripted, answer: bytes
) -> None:
    server = scripted_with(capabilities=BY_IDLE)
    user = two_folders(server)
    server.on("IDLE", answer)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.follow(lambda: parked_kind(mirror) is None, "the end of the listening")
        assert isinstance(mirror.hot(), Turn)
        assert (mirror.state, server.open_connections) == (("healthy", None), 1)
        assert server.journal.counts()["IDLE"] == 1, "asked once a session"


def test_an_idle_that_the_server_completes_is_begun_again_on_the_same_session(
    database_url: str, scripted_with: StartScripted
) -> None:
    server = scripted_with(capabilities=BY_IDLE)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        over = threading.Event()

        def end(request: Request) -> bytes:
            over.wait(PATIENCE)
            return b"+ idling\r\n" + request.tagged(b"OK that is enough")

        server.on("IDLE", end, times=1)
        assert isinstance(mirror.hot(), Turn)
        mirror.listening._entries[mirror.account_id].parked_at -= 61
        over.set()
        mirror.follow(lambda: parked_kind(mirror) is None, "the end of the listening")
        assert mirror.value("select next_sync_at <= now() from accounts"), "it is opened again at once"
        assert isinstance(mirror.hot(), Turn)
        assert mirror.is_parked
        assert len(server.journal.sessions()) == 1


def test_an_overflow_ends_notify_and_everything_is_looked_at(
    mirror: PushedMirror, server: ScriptedServer, user: Account
) -> None:
    user.watchers.clear()
    user.folder("Archive").add(mail.message(9))
    server.push(b"* OK [NOTIFICATIONOVERFLOW] too much to say\r\n")
    mirror.follow(lambda: mirror.equals(user), "the message")
    # after NOTIFY, IDLE reports nothing (RFC 5465 §6.1): only ticks are left to this session
    assert parked_kind(mirror) is None
    assert mirror.value("select tick_seconds from accounts") is None
    assert mirror.state == ("healthy", None)


def test_a_session_that_ends_is_opened_again_without_a_failure(
    mirror: PushedMirror, server: ScriptedServer
) -> None:
    age(mirror, 61)
    server.bye()
    mirror.follow(lambda: parked_kind(mirror) is None, "the end of the session")
    assert mirror.value("select next_sync_at <= now() from accounts")
    assert mirror.value("select tick_seconds from accounts") is None
    assert isinstance(mirror.hot(), Turn)
    assert mirror.is_parked
    assert mirror.state == ("healthy", None)
    assert mirror.value("select consecutive_failures from accounts") == 0


def test_three_early_ends_turn_push_off_and_are_said_once(
    database_url: str, scripted_with: StartScripted, caplog: pytest.LogCaptureFixture
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror, caplog.at_level(logging.WARNING):
        mirror.complete()
        for _ in range(3):
            assert isinstance(mirror.hot(), Turn)
            assert mirror.is_parked
            server.bye()
            mirror.follow(lambda: parked_kind(mirror) is None, "the end of the session")
            assert not mirror.value("select next_sync_at <= now() from accounts"), (
                "the next tick opens another"
            )
        for _ in range(2):
            assert isinstance(mirror.hot(), Turn)
            assert not mirror.is_parked
        said = [record for record in caplog.records if "soon after it was left open" in record.message]
        assert len(said) == 1
        assert mirror.state == ("healthy", None)


def test_a_session_that_dies_while_it_is_parked_fails_no_turn(
    database_url: str, scripted_with: StartScripted
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    server.on("NOTIFY", lambda request: request.close(), times=1)
    with PushedMirror(database_url, server, user) as mirror:
        assert isinstance(mirror.hot(), Turn)
        assert mirror.value("select consecutive_failures from accounts") == 0
        assert parked_kind(mirror) is None
        mirror.complete()
        assert mirror.state == ("healthy", None)
        assert mirror.is_parked


def test_a_folder_that_goes_while_it_is_visited_fails_no_turn(
    mirror: PushedMirror, server: ScriptedServer, user: Account
) -> None:
    during(server, "UID FETCH", lambda: user.delete("Archive"))
    user.folder("Archive").add(mail.message(9))
    query = "select missing_since is not null from folders where path = 'Archive'"
    mirror.follow(lambda: mirror.value(query), "the end of the folder")
    assert mirror.value("select count(*) from sync_runs where error_code is not null") == 0


def test_a_folder_that_comes_while_the_session_is_parked_is_found(
    mirror: PushedMirror, server: ScriptedServer, user: Account
) -> None:
    during(server, "UID FETCH", lambda: user.create("New").add(mail.message(7)))
    for path in ("INBOX", "Archive"):
        user.folder(path).add(mail.message(9))
    mirror.follow(lambda: mirror.value("select count(*) from folders where path = 'New'"), "the folder")


def test_a_session_that_a_stop_closed_is_not_replaced(mirror: PushedMirror, server: ScriptedServer) -> None:

    def stop(request: Request) -> bytes:
        assert mirror.env.stop.since is None
        mirror.env.stop.since = time.monotonic() - 60
        return request.hang()

    server.on("LIST", stop)
    assert isinstance(mirror.hot(), Stopped)
    assert len(server.journal.sessions()) == 1


def test_endless_data_costs_the_session_and_no_memory(mirror: PushedMirror, server: ScriptedServer) -> None:
    session = mirror.env.sessions._kept[mirror.account_id].session
    received = session.bytes_in

    def flood() -> None:
        while not session.closed:
            server.push(b"* OK " + b"x" * 100_000)

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    mirror.follow(lambda: session.closed, "the end of the session")
    flooding.join(PATIENCE)
    assert session.bytes_in - received < 200_000
    mirror.follow(lambda: parked_kind(mirror) is None, "the end of the listening")
    assert mirror.state == ("healthy", None)


def test_a_session_that_makes_room_for_another_gets_ordinary_ticks(
    database_url: str, scripted_with: StartScripted
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    with PushedMirror(database_url, server, user, imap_session_cap=0) as mirror:
        mirror.complete()
        mirror.follow(lambda: parked_kind(mirror) is None, "the end of the listening")
        assert mirror.value("select tick_seconds from accounts") is None


def test_a_storm_is_followed_in_few_turns(mirror: PushedMirror, user: Account) -> None:
    for number in range(1000):
        user.folder("INBOX").add(mail.message(100 + number))
        if number % 10 == 0:
            mirror.step()
    mirror.follow(lambda: mirror.equals(user), "1,000 messages")
    wait_until(lambda: mirror.state == ("healthy", None), "health")
    assert mirror.wakes < 30


def test_an_account_that_another_worker_took_is_left_to_it(
    mirror: PushedMirror, server: ScriptedServer, user: Account
) -> None:
    mirror.conn.execute("update accounts set parked_by = 'other:1:worker'")
    before = server.journal.counts()
    user.folder("INBOX").add(mail.message(9))
    mirror.follow(lambda: not mirror.is_parked, "the end of the session")
    assert server.journal.counts() == before, "no command"
    assert mirror.value("select parked_by from accounts") == "other:1:worker"
    assert mirror.state == ("healthy", None)
