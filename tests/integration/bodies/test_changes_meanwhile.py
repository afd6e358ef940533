"""A body is fetched while its account is changed to another mailbox, whose UIDs may be the same."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from mailsync.accounts import change, manage
from mailsync.accounts.change import Changes
from mailsync.bodies.fetch import fetch_body
from mailsync.errors import MailsyncError, UidValidityMoved
from mailsync.store import db
from tests.support import mail
from tests.support.boxes import Box, another, boxed
from tests.support.mailboxes import Account
from tests.support.run_directory import PATIENCE, wait_until
from tests.support.scripted import ScriptedServer
from tests.support.session import Request

WAITS = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and pid = any (%s)"


@pytest.fixture
def box(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    """One message on the scripted server, mirrored."""
    with boxed(database_url, scripted) as box:
        yield box


@pytest.fixture
def other(box: Box) -> Account:
    """Another mailbox with the same UIDVALIDITY and as many messages."""
    user = box.server.new_user()
    inbox = user.folders[b"INBOX"]
    inbox.uidvalidity = box.folder.uidvalidity
    inbox.add(mail.message(100))
    return user


def point_at(box: Box, conn: db.Connection, user: Account) -> None:
    change.change_account(
        conn,
        box.mirror.account_id,
        Changes(username=user.name, password=user.password, verify=False),
        box.mirror.settings,
        started_by="test:1:test",
        wait=PATIENCE,
    )


def outcome_of(do: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Fetch in a thread; the list has its error in the end."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(do())
        except MailsyncError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_a_body_of_the_old_mailbox_is_not_stored_after_the_change(box: Box, other: Account) -> None:
    message_id = box.id_of(1)
    settings = box.mirror.settings
    with (
        another(box.mirror) as env,
        db.connect(settings, "blocker") as blocker,
        db.connect(settings, "changer") as changer,
    ):
        with db.transaction(blocker):
            # the body is fetched and the account's lock is released, but the body cannot be stored yet
            blocker.execute("select from messages where id = %s for update", [message_id])
            fetching, body = outcome_of(lambda: fetch_body(env, box.mirror.account_id, message_id))
            pids = [env.conn.info.backend_pid, changer.info.backend_pid]
            wait_until(lambda: box.mirror.value(WAITS, pids) == 1, "the fetch to wait for its row")
            changes, changed = outcome_of(lambda: point_at(box, changer, other))
            wait_until(
                lambda: changed or box.mirror.value(WAITS, pids) == 2, "the change to be done or to wait"
            )
        fetching.join(PATIENCE)
        changes.join(PATIENCE)
    assert changed == [None]
    assert box.mirror.value("select count(*) from message_bodies") == 0
    assert box.mirror.value("select count(body_fetched_at) from messages") == 0
    assert isinstance(body[0], UidValidityMoved)


def test_a_download_does_not_go_on_in_another_mailbox(box: Box, other: Account) -> None:
    long = box.add(mail.message(5, body=b"line of text\r\n" * 200_000))
    other.folders[b"INBOX"].add(mail.message(105, body=b"other text..\r\n" * 200_000))
    settings = box.mirror.settings
    with another(box.mirror) as env, db.connect(settings, "changer") as changer:
        changes: list[threading.Thread] = []

        def meanwhile(request: Request) -> bytes:
            if re.search(rb"<1048576\.", request.text) and not changes:
                changes.append(outcome_of(lambda: point_at(box, changer, other))[0])
                waiting = "select count(*) from account_locks where not granted"
                with db.connect(settings, "watcher") as watcher:
                    wait_until(lambda: watcher.execute(waiting).fetchone() == (1,), "the change to wait")
                # the lock's holder checks every half second whether a process waits for it
                request.delay(0.6)
            return request.default()

        box.server.on("UID FETCH", meanwhile)
        with pytest.raises(UidValidityMoved, match="another mailbox"):
            fetch_body(env, box.mirror.account_id, long)
        changes[0].join(PATIENCE)
    assert box.mirror.value("select count(*) from message_bodies") == 0


def test_a_row_that_passes_to_another_message_leaves_its_body(box: Box) -> None:
    kept, passed = box.id_of(1), box.add(mail.message(5))
    texts = {each: box.fetch(each).text for each in (kept, passed)}
    # the folder was recreated without a new UIDVALIDITY, and a person resets the account
    other = mail.message(6)
    box.folder.mails[2] = replace(box.folder.mails[2], raw=other, date=b"02-Feb-2024 10:00:00 +0000")
    mirror = box.mirror
    manage.reset(mirror.conn, mirror.account_id, mirror.settings, resync=True, wait=PATIENCE)
    mirror.complete()
    assert mirror.value("select message_id from messages where id = %s", passed) == "6@mail.test"
    assert mirror.value("select count(*) from message_bodies") == 1
    assert mirror.value("select count(body_fetched_at) from messages") == 1
    assert box.fetch(kept).text == texts[kept]
    assert box.fetch(passed).text == "Text of message 6.\n" != texts[passed]
