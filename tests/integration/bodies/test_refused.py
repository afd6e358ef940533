"""Bodies that cannot be fetched: the error, and that the account stays as it was."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from mailsync.bodies.fetch import fetch_body
from mailsync.engine.session_cache import SessionCache
from mailsync.errors import (
    AuthenticationFailed,
    Busy,
    Gone,
    MailsyncError,
    NotFound,
    Paused,
    ProtocolError,
    Throttled,
    TimedOut,
    Transient,
    UidValidityMoved,
)
from mailsync.store import bodies, db
from mailsync.store.locks import account_lock, body_lock
from tests.support import mail, planted
from tests.support.boxes import Box, another, boxed
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request


@pytest.fixture
def box(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    """One message on the scripted server, mirrored."""
    with boxed(database_url, scripted) as box:
        yield box


def test_a_message_that_was_expunged_meanwhile_is_gone_and_a_tombstone(box: Box) -> None:
    message_id = box.id_of(1)
    box.folder.expunge(1)
    box.fails(message_id, Gone)
    assert box.mirror.value("select deleted_reason from messages where id = %s", message_id) == "expunged"
    assert box.mirror.folder().live_count == 0
    events = "select count(*) from sync_events where type = 'message.deleted' and message_pk = %s"
    assert box.mirror.value(events, message_id) == 1
    assert box.asked() == ["EXAMINE", "UID FETCH", "UID SEARCH", "UNSELECT"]


def test_a_message_that_is_not_answered_though_it_exists_is_the_servers_failure(box: Box) -> None:
    message_id = box.id_of(1)
    box.server.on("UID FETCH", b"OK done")
    box.fails(message_id, ProtocolError)
    assert box.mirror.value("select deleted_at from messages where id = %s", message_id) is None
    box.server.on("UID FETCH", b"NO [EXPUNGEISSUED] some are gone")
    box.fails(message_id, ProtocolError)


def test_a_folder_that_was_recreated_is_not_asked_for_old_uids(box: Box) -> None:
    message_id = box.id_of(1)
    box.folder.renumber(1_800_000_000)
    box.fails(message_id, UidValidityMoved)
    assert box.asked() == ["EXAMINE", "UNSELECT"]
    assert box.mirror.value("select deleted_at from messages where id = %s", message_id) is None


def test_a_server_that_is_down(box: Box) -> None:
    message_id = box.id_of(1)
    box.server.stop()
    assert not isinstance(box.fails(message_id, Transient), TimedOut)


def test_a_server_that_is_silent_times_out(box: Box) -> None:
    box.mirror.configure(imap_read_timeout=1.0)
    box.mirror.env.sessions.close()
    box.mirror.env.sessions = SessionCache(box.mirror.settings)
    box.server.on("UID FETCH", lambda request: request.hang())
    box.fails(box.id_of(1), TimedOut)


def test_a_session_that_died_in_its_sleep_is_replaced(box: Box) -> None:
    box.server.on("EXAMINE", lambda request: request.close(), times=1)
    assert box.fetch(box.id_of(1)).text
    asked = box.asked()
    assert asked[0] == "EXAMINE"
    assert asked.count("LOGIN") == 1


def test_a_lock_that_is_held_is_waited_for_and_then_busy(box: Box) -> None:
    message_id = box.id_of(1)
    with (
        another(box.mirror) as other,
        account_lock(other.conn, box.mirror.account_id, other.settings),
        pytest.raises(Busy) as busy,
    ):
        box.fetch(message_id)
    assert busy.value.retry_after > 0
    with (
        another(box.mirror) as other,
        body_lock(other.conn, box.mirror.account_id, message_id, wait=0),
        pytest.raises(Busy),
    ):
        box.fetch(message_id)
    assert box.fetch(message_id).text


def test_without_commands_it_is_busy_and_says_for_how_long(box: Box) -> None:
    message_id = box.id_of(1)
    box.mirror.configure(imap_max_commands_per_minute=60)
    box.mirror.conn.execute("update accounts set throttle_tokens = 0, throttle_at = clock_timestamp()")
    busy = box.fails(message_id, Busy)
    assert isinstance(busy, Busy)
    # until one fetch is possible, not a whole turn
    assert 0 < busy.retry_after < 6
    assert box.asked() == []


def test_commands_that_run_out_on_the_way_are_waited_for_without_the_lock(box: Box) -> None:
    message_id = box.add(mail.message(5, body=b"line of text\r\n" * 300_000))
    box.asked()
    box.mirror.configure(imap_max_commands_per_minute=300)
    box.mirror.conn.execute("update accounts set throttle_tokens = 3, throttle_at = clock_timestamp()")
    body = box.fetch(message_id)
    assert body.text == "line of text\n" * 300_000
    asked = box.asked()
    assert asked.count("UID FETCH") == 5
    assert asked.count("EXAMINE") >= 2


def test_a_paused_account_is_left_alone(box: Box) -> None:
    box.mirror.conn.execute("update accounts set paused_at = now()")
    box.fails(box.id_of(1), Paused)
    assert box.asked() == []


@pytest.mark.parametrize(("column", "kind"), [("paused_at", Paused), ("deleting_at", NotFound)])
def test_an_account_that_is_paused_or_removed_while_its_lock_is_waited_for(
    box: Box, column: str, kind: type[MailsyncError]
) -> None:
    message_id = box.id_of(1)
    box.mirror.configure(body_lock_wait=PATIENCE)
    told: list[MailsyncError] = []

    def fetch() -> None:
        try:
            box.fetch(message_id)
        except MailsyncError as error:
            told.append(error)

    settings = box.mirror.settings
    with db.connect(settings, "person") as person:
        with account_lock(person, box.mirror.account_id, settings):
            reader = threading.Thread(target=fetch)
            reader.start()
            waiting = "select count(*) from account_locks where not granted"
            wait_until(lambda: person.execute(waiting).fetchone() == (1,), "the reader to wait")
            person.execute(f"update accounts set {column} = now()")
        reader.join(PATIENCE)
    assert [type(error) for error in told] == [kind]
    assert box.asked() == []


def test_a_rejected_password_and_a_plea_for_patience_are_respected(box: Box) -> None:
    message_id = box.id_of(1)
    change = (
        "update accounts set sync_state = %s, sync_state_reason = %s, backoff_until = now() + %s::interval"
    )
    box.mirror.conn.execute(change, ["degraded", "throttled", "10 minutes"])
    throttled = box.fails(message_id, Throttled)
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after == pytest.approx(600, abs=30)
    box.mirror.conn.execute(change, ["broken", "auth_failed", None])
    box.fails(message_id, AuthenticationFailed)
    assert box.asked() == []


def test_a_login_that_is_rejected_is_not_tried_again_by_the_next_who_reads(box: Box) -> None:
    first, others = box.id_of(1), [box.add(mail.message(n)) for n in range(3)]
    box.mirror.env.sessions.close()
    account = next(iter(box.server.accounts.values()))
    account.password = planted.keep("quite another password")
    begun, go_on, met = threading.Event(), threading.Event(), []

    def held(request: Request) -> bytes:
        begun.set()
        go_on.wait(PATIENCE)
        return request.default()

    box.server.on("LOGIN", held)

    def ask(message_id: int) -> None:
        with another(box.mirror, body_lock_wait=60) as env, pytest.raises(AuthenticationFailed) as raised:
            fetch_body(env, box.mirror.account_id, message_id)
        met.append(raised.value.retry_after)

    box.asked()
    threads = [threading.Thread(target=ask, args=[message_id]) for message_id in (first, *others)]
    for thread in threads:
        thread.start()
    assert begun.wait(PATIENCE)
    queue = "select count(*) from account_locks where not granted"
    wait_until(lambda: box.mirror.value(queue) == 3, "the others to queue")
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(met) == 4
    assert box.asked().count("LOGIN") == 1
    assert box.mirror.state == ("degraded", "auth_failed")
    assert box.mirror.value("select consecutive_failures from accounts") == 1
    with pytest.raises(AuthenticationFailed):
        box.fetch(first)
    assert box.asked() == []


def test_a_plea_for_patience_is_heard_by_the_next_who_reads(box: Box) -> None:
    message_id = box.id_of(1)
    box.server.on("UID FETCH", b"NO [LIMIT] try again in 10 minutes")
    with pytest.raises(Throttled):
        box.fetch(message_id)
    assert box.mirror.state == ("degraded", "throttled")
    box.asked()
    throttled = box.fails(message_id, Throttled)
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after == pytest.approx(600, abs=60)
    assert box.asked() == []


def test_what_does_not_exist_is_not_found(box: Box) -> None:
    box.fails(10_000_000, NotFound)
    message_id = box.id_of(1)
    with pytest.raises(NotFound):
        fetch_body(box.mirror.env, box.mirror.account_id + 1, message_id)
    assert bodies.account_of(box.mirror.conn, message_id) == box.mirror.account_id
    assert bodies.account_of(box.mirror.conn, 10_000_000) is None
