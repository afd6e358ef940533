"""Silent, dripping and flooding servers, and callbacks that end a wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailsync.errors import LockLost, Transient
from mailsync.imap import Session
from mailsync.uidset import UidSet
from tests.support.imap_sessions import connect, fetch, in_step, user_with_five
from tests.support.mailboxes import Account
from tests.support.patience import Stopwatch, pause, stays
from tests.support.run_directory import wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request


@pytest.fixture
def user(scripted: ScriptedServer) -> Account:
    """A user with five messages in INBOX."""
    return user_with_five(scripted)


@pytest.fixture
def session(scripted: ScriptedServer, user: Account) -> Iterator[Session]:
    """A session with that INBOX selected, and a small limit for literals."""
    with connect(scripted, user, imap_max_literal_bytes=65536) as session:
        session.examine(b"INBOX")
        yield session


def test_silence_ends_after_the_read_timeout(scripted: ScriptedServer, user: Account) -> None:
    with connect(scripted, user, imap_read_timeout=1) as session:
        session.examine(b"INBOX")
        scripted.on("UID FETCH", lambda request: request.hang())
        began = Stopwatch()
        with pytest.raises(Transient, match="timed out after 1 s"):
            fetch(session)
        assert began.clock > 0.9
        assert began.stop() < 9
        assert session.closed


def test_a_dripping_server_hits_the_deadline(scripted: ScriptedServer, session: Session) -> None:
    def drip(request: Request) -> None:
        for byte in request.default():
            request.send(bytes([byte]))
            request.delay(0.1)

    scripted.on("UID FETCH", drip)
    began = Stopwatch()
    with pytest.raises(Transient, match=r"timed out after 0\.5 s"), session.deadline(0.5):
        fetch(session)
    assert began.stop() < 20, "at one byte at a time, the answer takes minutes"
    assert session.closed


@pytest.mark.long
def test_without_a_deadline_a_dripping_server_has_five_timeouts(
    scripted: ScriptedServer, user: Account
) -> None:
    def drip(request: Request) -> None:
        for byte in request.default():
            request.send(bytes([byte]))
            request.delay(0.2)

    for command, method in (
        ("LIST", Session.list_folders),
        ("LIST", Session.list_status),
        ("STATUS", lambda session: session.status(b"INBOX")),
        ("EXAMINE", lambda session: session.examine(b"INBOX")),
    ):
        with connect(scripted, user, imap_read_timeout=1) as session:
            scripted.on(command, drip)
            began = Stopwatch()
            with pytest.raises(Transient, match=rf"^{command}: .* timed out after 5 s"):
                method(session)
            assert began.stop() < 50, "at one byte at a time, the answer takes minutes"
            assert session.closed
            scripted.off(command)


@pytest.mark.long
def test_commands_without_a_deadline_share_a_limit_until_the_next_turn(
    scripted: ScriptedServer, user: Account
) -> None:
    def late(request: Request) -> bytes:
        request.delay(0.7)
        return request.default()

    with connect(scripted, user, imap_read_timeout=1) as session:
        scripted.on("STATUS", late)
        for _ in range(3):
            session.resume(session._connection.bucket, lambda: None)
            for _ in range(3):
                session.status(b"INBOX")
        with pytest.raises(Transient, match="timed out after 5 s"):
            for _ in range(20):
                session.status(b"INBOX")


def test_on_wait_is_called_while_the_server_is_slow_and_may_end_the_wait(
    scripted: ScriptedServer, session: Session
) -> None:
    watches = [Stopwatch()]
    slices: list[tuple[float, float]] = []

    def heartbeat() -> None:
        slices.append((watches[-1].clock, watches[-1].stop()))
        watches.append(Stopwatch())
        if len(slices) == 3:
            raise LockLost("the lock is gone")

    session.resume(session._connection.bucket, heartbeat)
    scripted.on("UID FETCH", lambda request: request.hang())
    with pytest.raises(LockLost):
        fetch(session)
    assert session.closed
    # the first slice began before the wait
    assert all(clock > 0.5 and seconds < 5 for clock, seconds in slices[1:]), "slices of 5 s at most"


def test_a_generator_closed_early_leaves_the_session_in_step_or_closed(
    scripted: ScriptedServer, session: Session
) -> None:
    batches = session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)])])
    next(batches)
    batches.close()
    assert in_step(session)
    scripted.on("UID FETCH", lambda request: request.hang())
    scripted.on("UID FETCH", Request.default, times=1)
    batches = session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)])])
    next(batches)
    began = Stopwatch()
    batches.close()
    assert session.closed
    assert began.stop() < 7


def test_alive_notices_a_bye_between_two_turns(scripted: ScriptedServer, session: Session) -> None:
    scripted.push(b"* 6 EXISTS\r\n")
    stays(session.is_alive, "alive, with unread responses", seconds=0.1)
    assert in_step(session)
    assert session.exists == 6
    scripted.push(b"* BYE idle for too long\r\n")
    wait_until(lambda: not session.is_alive(), "the session to notice the BYE")
    assert session.closed


def test_an_exception_of_on_wait_while_draining_propagates(
    scripted: ScriptedServer, session: Session
) -> None:
    scripted.on("UID FETCH", lambda request: request.hang())
    scripted.on("UID FETCH", Request.default, times=1)
    batches = session.fetch_messages([UidSet([(1, 2)]), UidSet([(3, 4)])])
    next(batches)

    def stop() -> None:
        raise LockLost("the lock is gone")

    session.resume(session._connection.bucket, stop)
    with pytest.raises(LockLost):
        batches.close()
    assert session.closed


def test_a_server_that_floods_an_idle_session_is_disconnected(
    scripted: ScriptedServer, session: Session
) -> None:
    for _ in range(40):
        scripted.push(b"* 6 EXISTS\r\n" * 4000)
        pause(0.005, "the server sends for longer than one peek takes")
        if not session.is_alive():
            break
    assert session.closed
