"""Turns of one account, taken in this process against the scripted server and a real Postgres."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from mailsync.engine.cycle import backfill_turn, hot_turn
from mailsync.engine.runner import take_turn
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnEnvironment, TurnKind
from mailsync.errors import MailsyncError
from mailsync.model import Endpoint, FolderState
from mailsync.store import accounts, db, folders
from tests.support import mail
from tests.support.mailboxes import Account, Folder
from tests.support.mirrors import Login, Server
from tests.support.stored import settings_for


class Mirror:
    """The mirror of one mailbox; tests take its turns one by one."""

    def __init__(self, database_url: str, server: Server, user: Login, **changes: Any) -> None:
        given = {
            "imap_allow_private_hosts": True,
            "imap_allow_plaintext": True,
            "imap_max_commands_per_minute": 1_000_000,
            # a busy machine must not end a turn that has nothing to do with time
            "hot_turn_max": 300,
            "backfill_turn_max": 300,
        }
        self.settings = settings_for(database_url, **given | changes)
        self.conn = db.connect(self.settings, "test")
        self.env = TurnEnvironment(
            self.conn, self.settings, "test", SessionCache(self.settings), chance=lambda: 0.5
        )
        endpoint = Endpoint(server.host, server.port, "plaintext", user.name)
        new = accounts.NewAccount(user.name, endpoint)
        self.account_id = accounts.create(self.conn, new, user.password, self.settings)

    def __enter__(self) -> Mirror:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.env.sessions.close()
        self.conn.close()

    def configure(self, **changes: Any) -> None:
        """Continue with changed settings."""
        self.settings = self.env.settings = self.settings.model_copy(update=changes)

    def take(self, work: TurnKind) -> Turn | MailsyncError | None:
        """Take one turn; returns the error that ended it early, rather than raise it."""
        try:
            return take_turn(self.env, self.account_id, work)
        except MailsyncError as error:
            return error

    def hot(self) -> Turn | MailsyncError | None:
        """A turn of the hot pass."""
        return self.take(hot_turn(self.settings))

    def fill(self) -> Turn | MailsyncError | None:
        """A turn of the backfill pass."""
        return self.take(backfill_turn(self.settings))

    def complete(self) -> None:
        """Take the turns that make the mirror of a quiet mailbox complete and compared."""
        for turn in (self.hot, self.fill, self.hot, self.hot):
            ended = turn()
            assert isinstance(ended, Turn), ended

    def folder(self, path: str = "INBOX") -> FolderState:
        """The folder as stored."""
        return next(f for f in folders.load(self.conn, self.account_id) if f.path == path)

    def value(self, query: str, *params: object) -> Any:
        """The first column of the first row."""
        row = self.conn.execute(query, params).fetchone()
        return row[0] if row else None

    def rows(self, path: str = "INBOX") -> dict[int, tuple[str, ...]]:
        """The live rows of a folder: UID and parse errors."""
        query = "select uid, parse_errors from messages where folder_id = %s and deleted_at is null"
        return {uid: tuple(errors) for uid, errors in self.conn.execute(query, [self.folder(path).id])}

    @property
    def state(self) -> tuple[str, str | None]:
        """The account's state and reason, as users see them."""
        row = self.conn.execute("select sync_state, sync_state_reason from account_status").fetchone()
        assert row
        return row[0], row[1]


def letters(user: Account, count: int, path: str = "INBOX") -> Folder:
    """Add `count` messages to a folder, which is created if there is none."""
    folder = user.folders.get(path.encode()) or user.create(path)
    for number in range(count):
        folder.add(mail.message(number))
    return folder
