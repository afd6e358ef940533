"""Turns that end with their process: which count, when they cause a backoff, what resets them (SPEC §8)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailsync.bodies.fetch import fetch_body
from mailsync.engine.catch_up import catch_up
from mailsync.engine.turn import Turn
from mailsync.errors import DatabaseSlow, LockLost, PoisonousServer
from mailsync.store import db, turns
from tests.support import mail
from tests.support.boxes import another
from tests.support.costs import QUIET, tick
from tests.support.scripted import ScriptedServer
from tests.support.session import Request
from tests.support.turns import Mirror, letters

LOST = "select lost_turns from accounts"


@pytest.fixture
def mirror(database_url: str, scripted: ScriptedServer) -> Iterator[Mirror]:
    """A mirrored mailbox with three messages."""
    user = scripted.new_user()
    letters(user, 3)
    with Mirror(database_url, scripted, user) as mirror:
        mirror.complete()
        yield mirror


def lose(mirror: Mirror, kind: str = "sync", step: str | None = "EXAMINE in folder INBOX") -> None:
    """Begin a turn in a process that ends before the turn."""
    turns.begin(
        mirror.conn, mirror.account_id, "dead:1:worker", burst=100.0, refill=1.0, floor=10.0, kind=kind
    )
    # give back the commands that the turn had reserved
    mirror.conn.execute("update accounts set turn_step = %s, throttle_tokens = null", [step])


def wait_out(mirror: Mirror) -> float:
    """End the backoff; returns the seconds that were left of it."""
    left = mirror.value("select extract(epoch from backoff_until - clock_timestamp())::float from accounts")
    mirror.conn.execute("update accounts set backoff_until = null")
    assert left is not None
    return float(left)


# -- what counts ----------------------------------------------------------------------------------------


def test_two_lost_turns_leave_an_account_healthy(mirror: Mirror) -> None:
    for _ in range(2):
        lose(mirror)
    assert isinstance(mirror.hot(), Turn)
    assert mirror.state == ("healthy", None)
    assert mirror.value(LOST) == {}


def test_the_third_in_a_row_holds_the_account_back_and_its_server_is_not_asked(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    for _ in range(3):
        lose(mirror)
    asked = len(scripted.journal.commands())

    held = mirror.hot()

    assert isinstance(held, PoisonousServer)
    assert len(scripted.journal.commands()) == asked
    assert mirror.state == ("degraded", "poisonous_server")
    assert mirror.value("select sync_state_message from accounts") == (
        "the last 3 sync turns of this account ended with their process;"
        " the last step was EXAMINE in folder INBOX"
    )
    assert mirror.value("select error_code from sync_runs order by id desc limit 1") == "poisonous_server"
    assert turns.claim(mirror.conn, mirror.value("select now() + interval '1 hour'"), 60) is None
    assert 20 < wait_out(mirror) <= 40

    assert isinstance(mirror.hot(), Turn), "when the wait is over it is tried"
    assert mirror.state == ("healthy", None)
    assert mirror.value(LOST) == {}


def test_each_further_lost_turn_doubles_the_wait(mirror: Mirror) -> None:
    for _ in range(2):
        lose(mirror)
    waits = []
    for _ in range(9):
        lose(mirror)
        assert isinstance(mirror.hot(), PoisonousServer)
        waits.append(wait_out(mirror))
    assert waits[:4] == pytest.approx([30, 60, 120, 240], abs=5)
    assert waits[-1] == pytest.approx(30 * 60, abs=5)


def test_turns_of_another_kind_that_go_well_neither_hide_it_nor_shorten_the_wait(mirror: Mirror) -> None:
    for count in range(1, 6):
        lose(mirror, "backfill")
        ended = mirror.hot()
        if count >= 3:
            assert isinstance(ended, PoisonousServer)
            assert f"the last {count} backfill turns" in str(ended)
            assert wait_out(mirror) == pytest.approx(30 * 2 ** (count - 3), abs=5)
            ended = mirror.hot()
        assert isinstance(ended, Turn)
        assert mirror.state == ("healthy", None)
        assert mirror.value(LOST) == {"backfill": count}
    mirror.conn.execute("update folders set status = 'initial'")
    assert isinstance(mirror.fill(), Turn)
    assert mirror.value(LOST) == {}


# -- what does not count --------------------------------------------------------------------------------


def test_a_turn_that_its_database_ended_is_not_lost(mirror: Mirror, scripted: ScriptedServer) -> None:
    for _ in range(4):
        conn = mirror.env.conn

        def cut(request: Request, pid: int = conn.info.backend_pid) -> bytes:
            with db.connect(mirror.settings, "test") as other:
                other.execute("select pg_terminate_backend(%s)", [pid])
            return request.default()

        mirror.conn.execute("update accounts set throttle_tokens = null")
        scripted.on("LIST", cut, times=1)
        with pytest.raises(LockLost):
            raise mirror.hot()  # type: ignore[misc]
        mirror.conn = mirror.env.conn = db.connect(mirror.settings, "test")
    mirror.conn.execute("update accounts set throttle_tokens = null")
    assert mirror.value("select currently_syncing from accounts")
    assert isinstance(mirror.hot(), Turn)
    assert mirror.state == ("healthy", None)


def test_a_turn_whose_end_a_locked_row_keeps_from_being_written_is_not_lost(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    mirror.conn.execute("set lock_timeout = '200ms'")
    for _ in range(4):
        with db.connect(mirror.settings, "person") as person:

            def lock(request: Request, person: db.Connection = person) -> bytes:
                person.execute("begin")
                person.execute("select from accounts for update")
                return request.default()

            mirror.conn.execute("update accounts set throttle_tokens = null")
            scripted.on("LIST", lock, times=1)
            assert isinstance(mirror.hot(), DatabaseSlow)
            person.execute("rollback")
    mirror.conn.execute("update accounts set throttle_tokens = null")
    assert mirror.value("select currently_syncing from accounts")
    assert isinstance(mirror.hot(), Turn)
    assert mirror.state == ("healthy", None)
    assert mirror.value(LOST) == {}


def test_turns_that_were_killed_after_they_stored_something_do_not_count(mirror: Mirror) -> None:
    for _ in range(2):
        lose(mirror)
    for _ in range(3):
        lose(mirror)
        mirror.conn.execute("update accounts set turn_progressed = true")
    assert isinstance(mirror.hot(), Turn)


def test_turns_that_were_silent_for_long_count_whatever_they_had_stored(mirror: Mirror) -> None:
    for _ in range(3):
        lose(mirror)
        mirror.conn.execute(
            "update accounts set turn_progressed = true, heartbeat_at = now() - interval '2 minutes'"
        )
    assert isinstance(mirror.hot(), PoisonousServer)


# -- the last step --------------------------------------------------------------------------------------


def test_steps_are_noted_with_the_heartbeat_and_at_once_when_a_turn_was_lost(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    assert tick(mirror, scripted).statements == QUIET
    assert mirror.value("select turn_step from accounts") is None

    lose(mirror)
    name = "x" * 400
    letters(scripted.accounts[next(iter(scripted.accounts))], 1, name)
    steps = []

    def look(request: Request) -> bytes:
        with db.connect(mirror.settings, "test") as other:
            row = other.execute("select turn_step, turn_progressed from accounts").fetchone()
        steps.append(row)
        return request.default()

    for command in ("LIST", "UID FETCH"):
        scripted.on(command, look)
    scripted.accounts[next(iter(scripted.accounts))].folder("INBOX").add(mail.message(4))
    assert isinstance(mirror.hot(), Turn)
    assert steps[0] == ("LIST", False)
    assert ("UID FETCH in folder INBOX", False) in steps

    lose(mirror, "backfill")
    del steps[:]
    assert isinstance(mirror.fill(), Turn)
    assert steps == [("UID FETCH in folder " + "x" * 150, False)]
    assert isinstance(mirror.hot(), Turn)
    assert tick(mirror, scripted).of_the_work == QUIET


def test_what_a_turn_stores_is_noted_when_one_was_lost(database_url: str, scripted: ScriptedServer) -> None:
    user = scripted.new_user()
    letters(user, 40)
    noted = []
    with Mirror(database_url, scripted, user, fetch_batch=5) as mirror:
        assert isinstance(mirror.hot(), Turn)
        lose(mirror, "backfill")

        def look(request: Request) -> bytes:
            with db.connect(mirror.settings, "test") as other:
                noted.append(other.execute("select turn_progressed from accounts").fetchone())
            return request.default()

        scripted.on("UID FETCH", look)
        assert isinstance(mirror.fill(), Turn)
        assert len(mirror.rows()) == 40
        assert noted[0] == (False,)
        assert noted[-1] == (True,)


# -- who may ask ----------------------------------------------------------------------------------------


def test_readers_learn_when_it_is_tried_again_and_a_person_may_try_at_once(
    mirror: Mirror, scripted: ScriptedServer
) -> None:
    message_id = mirror.value("select min(id) from messages")
    for _ in range(3):
        lose(mirror, "body")
    asked = len(scripted.journal.commands())
    # the turn that finds the lost one, and one after it
    for _ in range(2):
        with another(mirror) as env, pytest.raises(PoisonousServer) as refused:
            fetch_body(env, mirror.account_id, message_id)
        assert refused.value.retry_after == pytest.approx(30, abs=10)
    assert mirror.state == ("degraded", "poisonous_server")
    assert len(scripted.journal.commands()) == asked

    catch_up(mirror.env, mirror.account_id, wait=1.0)
    assert mirror.state == ("healthy", None)
    with another(mirror) as env:
        assert fetch_body(env, mirror.account_id, message_id).message_id == message_id
    assert mirror.value(LOST) == {}


def test_a_person_may_try_even_when_nobody_has_found_out_yet(mirror: Mirror) -> None:
    for _ in range(3):
        lose(mirror)
    catch_up(mirror.env, mirror.account_id, wait=1.0)
    assert mirror.state == ("healthy", None)
    assert mirror.value(LOST) == {}


def test_a_refusal_forgets_nothing(mirror: Mirror) -> None:
    for _ in range(3):
        lose(mirror)
    mirror.conn.execute("update accounts set paused_at = now()")
    assert mirror.hot() is None
    assert mirror.value(LOST) == {"sync": 3}
