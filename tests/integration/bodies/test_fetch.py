"""Bodies that are fetched on demand: which commands are sent, and what is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mailsync.bodies.fetch import fetch_body
from mailsync.errors import (
    Gone,
)
from mailsync.store import db
from mailsync.store.locks import account_lock
from tests.support import mail
from tests.support.boxes import ACCOUNT, Box, another, boxed
from tests.support.dovecot import Dovecot
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror


@pytest.fixture
def box(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    """One message on the scripted server, mirrored."""
    with boxed(database_url, scripted) as box:
        yield box


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
    # the mailbox is unchanged, and the next turn uses the same session
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
            waiting = "select count(*) from account_locks where not granted"
            with db.connect(box.mirror.settings, "watcher") as watcher:
                wait_until(lambda: watcher.execute(waiting).fetchone() == (1,), "the waiter")
            # the lock's holder checks every half second whether a process waits for it
            request.delay(0.6)
        answer: bytes | None = request.default()
        return answer

    box.server.on("UID FETCH", slow)
    held: list[bool] = []

    def wait_for_lock() -> None:
        inside.wait(PATIENCE)
        settings = box.mirror.settings
        with (
            db.connect(settings, "waiter") as conn,
            account_lock(conn, box.mirror.account_id, settings, wait=PATIENCE),
        ):
            held.append(True)

    waiter = threading.Thread(target=wait_for_lock)
    waiter.start()
    body = box.fetch(message_id)
    waiter.join(PATIENCE)
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
        with another(box.mirror, body_lock_wait=60) as env:
            if wait:
                begun.wait(PATIENCE)
            found.append(fetch_body(env, box.mirror.account_id, message_id))

    threads = [threading.Thread(target=ask, args=[wait]) for wait in (False, False, True, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
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
        mirror.complete()
        first = mirror.value("select id from messages")
        assert fetch_body(mirror.env, mirror.account_id, first).text == "Gr\u00fc\u00dfe\n"
        dovecot.append(user, "INBOX", mail.message(2))
        mirror.hot()
        second = mirror.value("select max(id) from messages")
        dovecot.expunge(user, "INBOX", "2")
        with pytest.raises(Gone):
            fetch_body(mirror.env, mirror.account_id, second)
        assert mirror.value("select deleted_reason from messages where id = %s", second) == "expunged"
