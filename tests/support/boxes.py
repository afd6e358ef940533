"""A mirrored mailbox for the tests of body fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from mailsync.bodies.fetch import fetch_body
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import (
    MailsyncError,
)
from mailsync.store import bodies, db
from tests.support.mailboxes import Folder
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters

ACCOUNT = (
    "select sync_state, sync_state_reason, consecutive_failures, backoff_until, next_sync_at from accounts"
)


class Box:
    """A mirrored mailbox with one message on the scripted server, and the commands since it was mirrored."""

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
        return fetch_body(self.mirror.env, self.mirror.account_id, message_id)

    def fails(self, message_id: int, kind: type[MailsyncError]) -> MailsyncError:
        """Check that the fetch fails with this error and leaves the account as it was; returns the error."""
        state = self.mirror.conn.execute(ACCOUNT).fetchone()
        runs = self.mirror.value("select count(*) from sync_runs where messages_deleted = 0")
        with pytest.raises(kind) as raised:
            self.fetch(message_id)
        assert self.mirror.conn.execute(ACCOUNT).fetchone() == state
        assert self.mirror.value("select count(*) from sync_runs where messages_deleted = 0") == runs
        assert self.mirror.value("select count(*) from account_locks") == 0
        return raised.value

    def asked(self) -> list[str]:
        """The commands since the last call."""
        commands = [command.name for command in self.server.journal.commands()]
        self.before, before = len(commands), self.before
        return commands[before:]


@contextmanager
def boxed(database_url: str, scripted: ScriptedServer) -> Iterator[Box]:
    """Make a box whose mirror is complete."""
    user = scripted.new_user()
    folder = letters(user, 1)
    with Mirror(database_url, scripted, user, body_lock_wait=0.3) as mirror:
        mirror.complete()
        box = Box(mirror, scripted, folder)
        box.asked()
        yield box


@contextmanager
def another(mirror: Mirror, **changes: Any) -> Iterator[TurnEnvironment]:
    """An environment as of another process: with its own connection and sessions."""
    settings = mirror.settings.model_copy(update=changes)
    with db.connect(settings, "other") as conn:
        env = TurnEnvironment(conn, settings, "other", SessionCache(settings))
        yield env
        env.sessions.close()
