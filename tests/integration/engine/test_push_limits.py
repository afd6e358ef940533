"""Budgets, backoffs and servers that never stop reporting: a wake has the same limits as a tick."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailsync.engine.turn import Turn
from mailsync.errors import OutOfTokens, TurnOver
from mailsync.worker.poll_loop import Worker
from tests.support import mail
from tests.support.pushed import BY_IDLE, BY_NOTIFY, PushedMirror, two_folders
from tests.support.scripted import ScriptedServer

StartScripted = Callable[..., ScriptedServer]

PARKED = "select parked_by is not null and parked_kind = 'notify' from accounts"
PARKED_AT_ALL = "select parked_by is not null from accounts"


def test_a_turn_without_commands_leaves_the_session_parked(
    database_url: str, scripted_with: StartScripted
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        mirror.conn.execute(
            "update accounts set throttle_tokens = 0, throttle_at = now() + interval '1 hour'"
        )
        ticks = mirror.value("select tick_seconds from accounts")
        assert isinstance(mirror.hot(), OutOfTokens)
        assert mirror.is_parked
        assert mirror.value(PARKED)
        assert mirror.value("select tick_seconds from accounts") == ticks


@pytest.mark.parametrize("capabilities", [BY_NOTIFY, BY_IDLE])
def test_a_report_does_not_end_the_wait_that_a_server_asked_for(
    database_url: str, scripted_with: StartScripted, capabilities: bytes
) -> None:
    server = scripted_with(capabilities=capabilities)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        # the API asked for a body, and was told to slow down
        mirror.conn.execute("update accounts set backoff_until = now() + interval '5 minutes'")
        before = server.journal.counts()
        user.folder("INBOX").add(mail.message(9))
        mirror.follow(lambda: mirror.wakes, "the wake")
        mirror.follow(lambda: not mirror.is_parked, "the end of the listening")
        assert server.journal.counts() == before
        due = "select parked_by is null and next_sync_at <= now() from accounts"
        mirror.follow(lambda: mirror.value(due), "a tick as soon as the wait is over")
        mirror.conn.execute("update accounts set backoff_until = null")
        assert isinstance(mirror.hot(), Turn)
        assert mirror.equals(user)


def test_an_idle_that_is_always_completed_at_once_is_left_to_the_ticks(
    database_url: str, scripted_with: StartScripted
) -> None:
    server = scripted_with(capabilities=BY_IDLE)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.env.sessions._kept[mirror.account_id].session.opened_at -= 3600
        server.on("IDLE", lambda request: b"+ idling\r\n" + request.tagged(b"OK that is enough"))
        for _ in range(3):
            assert isinstance(mirror.hot(), Turn)
            mirror.follow(lambda: not mirror.value(PARKED_AT_ALL), "the end of the listening")
            assert not mirror.value("select next_sync_at <= now() from accounts"), (
                "not a turn every few seconds"
            )
        assert isinstance(mirror.hot(), Turn)
        assert not mirror.is_parked
        assert mirror.state == ("healthy", None)


def test_a_worker_of_the_same_name_knows_that_nobody_listens(
    database_url: str, scripted_with: StartScripted
) -> None:
    # a container that is killed and started again has the same host name and process id
    server = scripted_with(capabilities=BY_NOTIFY)
    with PushedMirror(database_url, server, two_folders(server)) as mirror:
        mirror.complete()
        mirror.settle()
        worker = Worker(mirror.settings)
        mirror.conn.execute("update accounts set parked_by = %s, tick_seconds = 3600", [worker.name])
        seen: list[object] = []

        def begun() -> None:
            seen.append(mirror.value("select (parked_by, tick_seconds) is null from accounts"))
            seen.append(mirror.value("select next_sync_at <= now() + interval '1 minute' from accounts"))
            worker.stop.set()

        worker.run(ready=begun)
        assert seen == [True, True]


def test_a_wake_that_ends_early_leaves_its_reports_to_the_next_turn(
    database_url: str, scripted_with: StartScripted
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        whole, mirror.push._settings = (
            mirror.push._settings,
            mirror.settings.model_copy(update={"hot_turn_max": 0}),
        )
        for path in ("INBOX", "Archive"):
            user.folder(path).add(mail.message(9))
        mirror.follow(lambda: mirror.value("select next_sync_at <= now() from accounts"), "the early end")
        mirror.push._settings = whole
        assert isinstance(mirror.hot(), Turn)
        assert mirror.equals(user)
        assert len(server.journal.sessions()) == 1, "nothing was missed, so the session is kept"
        assert mirror.value("select tick_seconds is not null from accounts")


def test_a_tick_that_ends_early_leaves_its_reports_to_the_next_turn(
    database_url: str, scripted_with: StartScripted
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        for path in ("INBOX", "Archive"):
            user.folder(path).add(mail.message(9))
        mirror.listening.wait(0.1)
        mirror.configure(hot_turn_max=0)
        assert isinstance(mirror.hot(), TurnOver)
        mirror.configure(hot_turn_max=300)
        assert isinstance(mirror.hot(), Turn)
        assert mirror.equals(user)
        assert len(server.journal.sessions()) == 1, "nothing was missed, so the session is kept"


@pytest.mark.parametrize("sessions", [1, 2], ids=["late", "deaf"])
def test_a_session_is_replaced_when_a_report_is_missed_and_not_when_it_is_late(
    database_url: str, scripted_with: StartScripted, sessions: int
) -> None:
    server = scripted_with(capabilities=BY_NOTIFY)
    user = two_folders(server)
    with PushedMirror(database_url, server, user) as mirror:
        mirror.complete()
        mirror.settle()
        user.watchers.clear()
        for path in ("INBOX", "Archive"):
            user.folder(path).add(mail.message(9))
            assert isinstance(mirror.hot(), Turn)
            assert mirror.equals(user)
            if sessions == 1:
                assert mirror.value("select tick_seconds is null from accounts"), "the ordinary tick"
                server.push(b'* STATUS "Archive" (MESSAGES 3)\r\n')
                mirror.settle()
        assert len(server.journal.sessions()) == sessions
        if sessions == 1:
            assert isinstance(mirror.hot(), Turn)
        assert mirror.value("select tick_seconds is not null from accounts") == (sessions == 1)
