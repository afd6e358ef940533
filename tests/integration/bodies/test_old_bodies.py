"""Bodies that an older parser made: fetched again when they are asked for, or served as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mailsync.mail.mime import PARSER_VERSION
from mailsync.store.locks import account_lock, body_lock
from tests.support import mail
from tests.support.boxes import Box, another, boxed
from tests.support.scripted import ScriptedServer

AGE = (
    "update message_bodies set parser_version = 1, body_text = 'old', raw_bytes = 1, warnings = '{charset}',"
    " fetched_at = fetched_at - interval '1 day'"
)


@pytest.fixture
def box(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    """One message on the scripted server, mirrored, with an old body."""
    with boxed(database_url, scripted) as box:
        box.fetch(box.id_of(1))
        box.mirror.conn.execute(AGE)
        box.asked()
        yield box


def test_an_old_body_is_fetched_again_once(box: Box) -> None:
    message_id = box.id_of(1)
    old = box.mirror.value("select fetched_at from message_bodies")
    row = "select id, created_at, flags, subject from messages"
    before = box.mirror.conn.execute(row).fetchall()
    body = box.fetch(message_id)
    assert (body.text, body.raw_bytes, body.warnings) == ("Text of message 0.\n", len(mail.message(0)), ())
    assert body.fetched_at > old
    assert body.parser_version == PARSER_VERSION
    assert box.asked() == ["EXAMINE", "UID FETCH", "UNSELECT"]
    assert box.fetch(message_id) == body
    assert box.asked() == []
    assert box.mirror.conn.execute(row).fetchall() == before
    assert box.mirror.value("select count(*) from sync_events where type = 'message.updated'") == 0


def change(statement: str) -> Callable[[Box], object]:
    return lambda box: box.mirror.conn.execute(statement)


# what keeps a body from being fetched, and the commands that the server gets
OBSTACLES: dict[str, tuple[Callable[[Box], object], list[str]]] = {
    "a paused account": (change("update accounts set paused_at = now()"), []),
    "a broken account": (
        change("update accounts set sync_state = 'broken', sync_state_reason = 'auth_failed'"), []
    ),
    "a backoff": (change("update accounts set backoff_until = now() + interval '1 hour'"), []),
    "no commands left": (
        change("update accounts set throttle_tokens = 0, throttle_at = now() + interval '1 hour'"),
        [],
    ),
    "a server that is down": (lambda box: box.server.stop(), []),
    "a refusal": (lambda box: box.server.on("UID FETCH", b"NO not now"), ["EXAMINE", "UID FETCH"]),
    "a recreated folder": (lambda box: box.folder.renumber(1_800_000_000), ["EXAMINE"]),
    "a tombstone": (
        change("update messages set deleted_at = now(), deleted_reason = 'expunged'"), []
    ),
}  # fmt: skip


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_an_old_body_is_served_if_there_is_no_newer_one(box: Box, obstacle: str) -> None:
    hinder, commands = OBSTACLES[obstacle]
    message_id = box.id_of(1)
    hinder(box)
    body = box.fetch(message_id)
    assert (body.text, body.parser_version) == ("old", 1)
    asked = box.asked()
    assert asked[: len(commands)] == commands
    assert bool(asked) == bool(commands)


def test_an_old_body_of_a_message_that_is_gone_becomes_that_of_a_tombstone(box: Box) -> None:
    box.folder.expunge(1)
    body = box.fetch(box.id_of(1))
    assert (body.text, body.deleted_reason) == ("old", "expunged")
    box.asked()
    assert box.fetch(box.id_of(1)) == body
    assert box.asked() == []


@pytest.mark.parametrize("lock", ["account", "body"])
def test_a_lock_is_not_waited_for_as_long_as_for_a_first_body(box: Box, lock: str) -> None:
    message_id = box.id_of(1)
    # a test that waited for this would not end in time
    box.mirror.configure(body_lock_wait=60)
    with another(box.mirror) as other:
        held = (
            account_lock(other.conn, box.mirror.account_id, other.settings)
            if lock == "account"
            else body_lock(other.conn, box.mirror.account_id, message_id, wait=0)
        )
        with held:
            assert box.fetch(message_id).text == "old"
    assert box.fetch(message_id).text == "Text of message 0.\n"
