"""Bodies that are fetched on demand: what is asked of the server, what is stored, what is said when it fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mailsync.engine.bodies import fetch_body
from mailsync.engine.sessions import Sessions
from mailsync.engine.work import Engine
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
from tests.integration.turns import Mirror, letters
from tests.servers import mail
from tests.servers.dovecot import Dovecot
from tests.servers.mailboxes import Folder
from tests.servers.scripted import ScriptedServer

ACCOUNT = (
    "select sync_state, sync_state_reason, consecutive_failures, backoff_until, next_sync_at from accounts"
)


class Box:
    """A mirrored mailbox on the scripted server, with one message, and what it was asked for since."""

    def __init__(self, mirror: Mirror, server: ScriptedServer, folder: Folder) -> None:
        self.mirror, self.server, self.folder = mirror, server, folder
        self.before = 0

    def id_of(self, uid: int) -> int:
        found: int = self.mirror.value("select id from messages where uid = %s", uid)
        return found

    def add(self, raw: bytes) -> int:
        uid = self.folder.add(raw)
        self.mirror.hot()
        return self.id_of(uid)

    def fetch(self, message_id: int) -> bodies.Body:
        return fetch_body(self.mirror.engine, self.mirror.account_id, message_id)

    def fails(self, message_id: int, kind: type[MailsyncError]) -> MailsyncError:
        """The fetch fails so, and the account is as it was; no run is left but that of a tombstone."""
        state = self.mirror.conn.execute(ACCOUNT).fetchone()
        runs = self.mirror.value("select count(*) from sync_runs where messages_deleted = 0")
        with pytest.raises(kind) as raised:
            self.fetch(message_id)
        assert self.mirror.conn.execute(ACCOUNT).fetchone() == state
        assert self.mirror.value("select count(*) from sync_runs where messages_deleted = 0") == runs
        assert self.mirror.value("select count(*) from account_locks") == 0
        return raised.value

    def asked(self) -> list[str]:
        """The commands since this was last asked."""
        commands = [command.name for command in self.server.journal.commands()]
        self.before, before = len(commands), self.before
        return commands[before:]


@pytest.fixture
def box(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    user = scripted.new_user()
    folder = letters(user, 1)
    with Mirror(database_url, scripted, user, body_lock_wait=0.3) as mirror:
        mirror.settle()
        box = Box(mirror, scripted, folder)
        box.asked()
        yield box


@contextmanager
def another(mirror: Mirror, **changes: Any) -> Iterator[Engine]:
    """Another process: its own connection and sessions."""
    settings = mirror.settings.model_copy(update=changes)
    with db.connect(settings, "other") as conn:
        engine = Engine(conn, settings, "other", Sessions(settings))
        yield engine
        engine.sessions.close()


# -- fetched and stored ------------------------------------------------------------------------------


def test_a_body_is_fetched_once_and_then_comes_from_the_table(box: Box) -> None:
    message_id = box.id_of(1)
    state = box.mirror.conn.execute(ACCOUNT).fetchone()
    body = box.fetch(message_id)
    assert (body.text, body.html, body.truncated, body.warnings) == ("Text of message 0.\n", None, False, ())
    assert body.raw_bytes == len(mail.message(0))
    assert box.asked() == ["EXAMINE", "UID FETCH", "UNSELECT"]
    assert box.mirror.conn.execute(ACCOUNT).fetchone() == state
    assert (
        box.mirror.value("select body_fetched_at from messages where id = %s", message_id) == body.fetched_at
    )
    assert box.fetch(message_id) == body
    assert box.asked() == []
    # the mailbox is as it was, and the session serves the next turn
    assert rb"\Seen" not in box.folder.mails[1].flags
    box.mirror.hot()
    assert box.asked() == ["LIST"]


def test_a_body_of_a_tombstone_comes_from_the_table(box: Box) -> None:
    message_id = box.id_of(1)
    body = box.fetch(message_id)
    box.folder.expunge(1)
    box.mirror.hot()
    box.asked()
    again = box.fetch(message_id)
    assert (again.text, again.deleted_reason) == (body.text, "expunged")
    assert box.asked() == []


def test_a_tombstone_without_a_body_is_gone_unless_the_server_may_have_it(box: Box) -> None:
    message_id = box.id_of(1)
    change = "update messages set deleted_at = now(), deleted_reason = %s where id = %s"
    box.mirror.conn.execute(change, ["expunged", message_id])
    box.fails(message_id, Gone)
    assert box.asked() == []
    box.mirror.conn.execute(change, ["expired", message_id])
    assert box.fetch(message_id).deleted_reason == "expired"


def test_a_message_longer_than_the_limit_is_cut(box: Box) -> None:
    box.mirror.configure(body_max_bytes=64 * 1024)
    long = mail.message(5, body=b"0123456789abcde\n" * 8000)
    message_id = box.add(long)
    body = box.fetch(message_id)
    assert (body.truncated, body.warnings, body.raw_bytes) == (True, ("truncated",), 64 * 1024)
    assert body.text
    assert long[: 64 * 1024].endswith(body.text.encode())


def test_a_message_as_long_as_the_limit_is_whole(box: Box) -> None:
    box.mirror.configure(body_max_bytes=64 * 1024)
    head = len(mail.message(5, body=b"x")) - 1
    body = box.fetch(box.add(mail.message(5, body=b"x" * (64 * 1024 - head))))
    assert (body.truncated, body.raw_bytes) == (False, 64 * 1024)


def test_a_long_message_comes_in_ranges_and_the_lock_is_let_go_in_between(box: Box) -> None:
    message_id = box.add(mail.message(5, body=b"line of text\r\n" * 250_000))
    box.asked()
    inside = threading.Event()

    def slow(request: Any) -> bytes | None:
        if b"<1048576." in request.text:
            inside.set()
            request.delay(0.8)
        answer: bytes | None = request.default()
        return answer

    box.server.on("UID FETCH", slow)
    held: list[bool] = []

    def wait_for_lock() -> None:
        inside.wait(10)
        settings = box.mirror.settings
        with (
            db.connect(settings, "waiter") as conn,
            account_lock(conn, box.mirror.account_id, settings, wait=5),
        ):
            held.append(True)

    waiter = threading.Thread(target=wait_for_lock)
    waiter.start()
    body = box.fetch(message_id)
    waiter.join(10)
    assert held
    assert body.text == "line of text\n" * 250_000
    assert box.asked() == [
        "EXAMINE", "UID FETCH", "UID FETCH", "UNSELECT",
        "EXAMINE", "UID FETCH", "UID FETCH", "UNSELECT",
    ]  # fmt: skip


def test_two_who_ask_at_once_cause_one_fetch(box: Box) -> None:
    message_id = box.id_of(1)
    begun, found = threading.Event(), []

    def slow(request: Any) -> bytes:
        begun.set()
        request.delay(0.5)
        answer: bytes = request.default()
        return answer

    box.server.on("UID FETCH", slow)

    def ask(wait: bool) -> None:
        with another(box.mirror, body_lock_wait=10) as engine:
            if wait:
                begun.wait(10)
            found.append(fetch_body(engine, box.mirror.account_id, message_id))

    threads = [threading.Thread(target=ask, args=[wait]) for wait in (False, False, True, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert len({body.fetched_at for body in found}) == 1
    assert box.asked().count("UID FETCH") == 1


def test_attachments_of_an_unreadable_structure_are_those_that_the_body_shows(box: Box) -> None:
    box.server.on(
        "UID FETCH", lambda request: request.default().replace(b"BODYSTRUCTURE (", b"BODYSTRUCTURE (((")
    )
    message_id = box.add(mail.message(7, attachment=b"abc"))
    box.server.off("UID FETCH")
    assert box.mirror.value("select mime_structure from messages where id = %s", message_id) is None
    assert [each.filename for each in box.fetch(message_id).attachments] == ["file.bin"]
    assert box.mirror.value("select has_attachments from messages where id = %s", message_id)


def test_a_hostile_message_is_stored(box: Box) -> None:
    hostile = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"
        b'--a\r\nContent-Type: x/\xff;name="\0\xed\xa0\x80"\r\n\r\n\0'
    )
    body = box.fetch(box.add(hostile))
    assert body.warnings
    assert box.mirror.state == ("healthy", None)


def test_dovecot_gives_the_same(dovecot: Dovecot, database_url: str) -> None:
    user = dovecot.new_user()
    dovecot.append(user, "INBOX", mail.message(1, body="Gr\u00fc\u00dfe\r\n".encode()))
    with Mirror(database_url, dovecot, user) as mirror:
        mirror.settle()
        first = mirror.value("select id from messages")
        assert fetch_body(mirror.engine, mirror.account_id, first).text == "Gr\u00fc\u00dfe\n"
        dovecot.append(user, "INBOX", mail.message(2))
        mirror.hot()
        second = mirror.value("select max(id) from messages")
        dovecot.expunge(user, "INBOX", "2")
        with pytest.raises(Gone):
            fetch_body(mirror.engine, mirror.account_id, second)
        assert mirror.value("select deleted_reason from messages where id = %s", second) == "expunged"


# -- not to be had -----------------------------------------------------------------------------------


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


def test_a_folder_that_was_made_anew_is_not_asked_for_old_uids(box: Box) -> None:
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
    box.mirror.engine.sessions.close()
    box.mirror.engine.sessions = Sessions(box.mirror.settings)
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
    box.mirror.configure(imap_max_commands_per_minute=10)
    box.mirror.conn.execute("update accounts set throttle_tokens = 0, throttle_at = clock_timestamp()")
    busy = box.fails(message_id, Busy)
    assert isinstance(busy, Busy)
    assert 1 < busy.retry_after < 60
    assert box.asked() == []


def test_commands_that_run_out_on_the_way_are_waited_for_without_the_lock(box: Box) -> None:
    message_id = box.add(mail.message(5, body=b"line of text\r\n" * 300_000))
    box.asked()
    box.mirror.configure(imap_max_commands_per_minute=1200)
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


def test_what_does_not_exist_is_not_found(box: Box) -> None:
    box.fails(10_000_000, NotFound)
    message_id = box.id_of(1)
    with pytest.raises(NotFound):
        fetch_body(box.mirror.engine, box.mirror.account_id + 1, message_id)
    assert bodies.account_of(box.mirror.conn, message_id) == box.mirror.account_id
    assert bodies.account_of(box.mirror.conn, 10_000_000) is None
