"""A mirror whose sessions listen between turns, as a worker's do; its turns are taken in this process."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn import Turn
from mailsync.errors import MailsyncError
from mailsync.worker.listening import Listening
from mailsync.worker.outage import Outage
from mailsync.worker.push_pass import PushPass
from mailsync.worker.turn_taker import TurnTaker
from tests.support.habits import CAPABILITIES
from tests.support.mailboxes import Account, Folder
from tests.support.mirrors import Login, Server
from tests.support.patience import wait_until
from tests.support.scripted import ScriptedServer
from tests.support.turns import Mirror, letters

BY_NOTIFY = CAPABILITIES + b" NOTIFY IDLE"
BY_IDLE = CAPABILITIES + b" IDLE"
"""What a scripted server offers whose sessions listen by this means."""


def two_folders(server: ScriptedServer) -> Account:
    """Return a new user with three messages in INBOX and in Archive."""
    user = server.new_user()
    for path in ("INBOX", "Archive"):
        letters(user, 3, path)
    return user


class PushedMirror(Mirror):
    """A mirror that takes ticks only when a test calls for them, and wakes while :meth:`follow` waits."""

    def __init__(self, database_url: str, server: Server, user: Login, **changes: Any) -> None:
        super().__init__(database_url, server, user, **changes)
        self.listening = Listening(self.settings.push_renew, chance=lambda: 0.0)
        self.env.sessions = SessionCache(
            self.settings, on_removed=self.listening.forget, on_surplus=self.listening.lost
        )
        self.env.listener = self.listening
        self.push = PushPass(self.settings, self.listening, TurnTaker(Outage()))
        self.wakes = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.listening.remove()

    def hot(self) -> Turn | MailsyncError | None:
        """A tick, which the worker claims: the next one is in an hour."""
        self.conn.execute("update accounts set next_sync_at = now() + interval '1 hour'")
        return super().hot()

    def step(self) -> None:
        """Listen for a moment, and take the turns that parked sessions ask for; no tick."""
        self.listening.wait(0.02)
        self.push.settle(self.env)
        self.push.renew(self.env)
        self.wakes += self.push.wake_next(self.env)

    def follow(self, condition: Callable[[], object], what: str) -> None:
        """Take wakes until the condition holds; no tick helps."""

        def met() -> object:
            self.step()
            return condition()

        wait_until(met, what)

    def settle(self) -> None:
        """Take wakes until nothing is left to follow."""
        self.follow(lambda: self.is_parked and self.listening.seconds_until_wake() == float("inf"), "silence")

    @property
    def is_parked(self) -> bool:
        """Whether the account's session listens."""
        return self.account_id in self.listening.accounts

    def flags(self, path: str = "INBOX") -> dict[int, tuple[str, ...]]:
        """The live rows of a folder: UID and flags, sorted."""
        query = "select uid, flags from messages where folder_id = %s and deleted_at is null"
        return {uid: tuple(sorted(flags)) for uid, flags in self.conn.execute(query, [self.folder(path).id])}

    def equals(self, user: Account) -> bool:
        """Whether the rows show the messages and flags of all folders of a user of the scripted server."""
        return all(self.flags(name.decode()) == _served(folder) for name, folder in user.folders.items())


def _served(folder: Folder) -> dict[int, tuple[str, ...]]:
    return {uid: tuple(sorted(flag.decode() for flag in mail.flags)) for uid, mail in folder.mails.items()}
