"""One turn: an account whose lock is held, its session, and what every step needs of both."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mailsync.auth.tokens import Renewing
from mailsync.config import Settings
from mailsync.engine.turn_state import FolderSet, PollRound, Tally, TurnClock, TurnResult
from mailsync.errors import FolderError, MailsyncError, Stopped, TurnOver
from mailsync.imap import Session, TokenBucket
from mailsync.model import Account, FolderState, RunResult
from mailsync.store import folders, turns
from mailsync.store.locks import AccountLock
from mailsync.store.turns import LoadedTurn

if TYPE_CHECKING:
    from mailsync.engine.turn_kind import TurnEnvironment, TurnKind

log = logging.getLogger(__name__)

_STOP_GRACE = 5.0
_LONGEST_PATH = 150

IsolationKey = tuple[int, int, int, int]
"""Account, folder, UIDVALIDITY and UID of a message that is asked for alone."""


class StopSignal:
    """Whether the process is asked to stop; ``since`` is when, in monotonic seconds."""

    def __init__(self) -> None:
        self.since: float | None = None

    def set(self) -> None:
        """Ask to stop; only the first call counts. Safe in a signal handler."""
        if self.since is None:
            self.since = time.monotonic()

    def __bool__(self) -> bool:
        return self.since is not None


class Turn:
    """The context that every step is given; made by :func:`mailsync.engine.runner.held_turn`.

    ``conn`` holds the account's lock, so all writes use it. A turn also has its ``clock``, its
    ``folders``, its ``round`` over them, and the ``result`` that is saved at its end.
    """

    def __init__(
        self,
        env: TurnEnvironment,
        kind: TurnKind,
        lock: AccountLock,
        loaded: LoadedTurn,
        bucket: TokenBucket,
    ) -> None:
        self.env = env
        self.kind = kind
        self.lock = lock
        self.conn = lock.conn
        self.loaded = loaded
        self.bucket = bucket
        self.clock = TurnClock(loaded.now, kind.max_seconds)
        self.folders = FolderSet(lock.conn, loaded.account.id, loaded.folders)
        self.round = PollRound()
        self.result = TurnResult()
        self._batch_size = env.settings.fetch_batch
        self._session: Session | None = None
        self._commands_before = 0
        self._bytes_before = 0

    # -- for the steps --------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self.env.settings

    @property
    def account(self) -> Account:
        """The account as loaded when the turn began."""
        return self.loaded.account

    @property
    def tally(self) -> Tally:
        """The figures of the turn so far."""
        return self.result.tally

    @property
    def session(self) -> Session:
        """The IMAP session; the turn must be connected."""
        assert self._session is not None, "the turn is not connected"
        return self._session

    @property
    def is_connected(self) -> bool:
        """Whether there is a session, open or closed."""
        return self._session is not None

    @property
    def batch_size(self) -> int:
        """How many messages the next FETCH asks for; no more than the server processes (RFC 9738)."""
        limit = self._session.announced_limit if self._session else None
        return min(self._batch_size, limit) if limit else self._batch_size

    @batch_size.setter
    def batch_size(self, messages: int) -> None:
        self._batch_size = messages

    def has(self, capability: str) -> bool:
        """Whether the server offers `capability` (upper case) after login."""
        return capability in self.session.capabilities

    def now(self) -> datetime:
        """The time by the database's clock."""
        return self.clock.now()

    def is_over(self) -> str | None:
        """The reason to end the turn at this batch boundary; None if it may continue."""
        if self.env.stop:
            return "asked to stop"
        if self.clock.is_up:
            return "turn time used up"
        if self.lock.is_wanted():
            return "yielded to a waiter"
        if self.kind.yields_to_wakes and self.env.is_wanted():
            return "yielded to an account with new mail"
        return None

    def keep_alive(self) -> None:
        """Send the heartbeats that are due; called at least once a second while waiting for the server.

        Raises LockLost (as DatabaseUnavailable), and Stopped some seconds after a request to stop.
        """
        self.env.on_alive()
        self.lock.heartbeat()
        if self.env.stop.since is not None and time.monotonic() - self.env.stop.since > _STOP_GRACE:
            raise Stopped("stopped while waiting for the server")

    def checkpoint(self) -> None:
        """Between two pieces of work: send heartbeats, show progress, and end the turn if it should end.

        Raises TurnOver, or Stopped on a request to stop.
        """
        self.env.on_alive()
        self.lock.heartbeat()
        self.env.on_progress(self)
        if reason := self.is_over():
            raise Stopped(reason) if self.env.stop else TurnOver(reason)

    # -- what is recorded on the way --------------------------------------------------------------------

    def connect(self) -> None:
        """Use the account's kept session, or open one; raises as :meth:`SessionCache.open`."""
        self.record_step("connecting")
        renewing = Renewing(self.conn, self.now, self.keep_alive, self.env.counters.renewal)
        self.use_session(self.env.sessions.open(self.loaded, self.bucket, renewing, self.record_step))

    def use_session(self, session: Session) -> None:
        """Use `session` from now on; its commands and bytes in earlier turns are not counted."""
        sent, received = self._traffic()
        self._session = session
        # negative after a reconnect, so that the totals include the turn's earlier sessions
        self._commands_before = session.commands.total() - sent
        self._bytes_before = session.bytes_in - received

    def _traffic(self) -> tuple[int, int]:
        """Return the commands sent and the bytes received in this turn."""
        session = self._session
        if session is None:
            return 0, 0
        return session.commands.total() - self._commands_before, session.bytes_in - self._bytes_before

    def record_step(self, command: str) -> None:
        """Record the command that is sent now, for the process that finds this turn without an end.

        The next heartbeat writes it, or, if earlier turns of this kind ended with their process, this call.
        """
        opening = self._session.last_examined if self._session else None
        path = next((f.path for f in self.folders if f.wire_name == opening), None)
        self.lock.step = f"{command} in folder {path:.{_LONGEST_PATH}}" if path else command
        if self.loaded.is_suspect:
            self.lock.progressed = self.lock.progressed or self.tally.has_stored
            self.lock.heartbeat(now=True)

    def record_stored_rows(self) -> None:
        """Record in their transaction that rows are stored, if earlier turns of this kind were lost."""
        if self.loaded.is_suspect and not self.lock.progressed:
            self.lock.progressed = True
            self.lock.heartbeat(now=True)

    def record_folder_error(self, folder: FolderState, error: MailsyncError) -> None:
        """Save and log an error that costs `folder` its turn; the folder is tried again at the next tick."""
        self.ensure_run()
        self.tally.folder_errors += 1
        self.tally.error_codes[error.code] += 1
        retry_at = self.now() + timedelta(seconds=self.settings.sync_interval)
        folders.note_error(self.conn, folder, str(error), retry_at)
        if isinstance(error, FolderError):
            # it may have been renamed or deleted
            self.result.next_discovery_at = self.now()
        log.warning(
            "Folder skipped",
            extra={
                "action": "folder",
                "account_id": folder.account_id,
                "folder_id": folder.id,
                "error": str(error),
            },
        )

    def ensure_run(self) -> int:
        """Open the run if this turn has none yet; quiet turns leave none. Returns its id."""
        if self.result.run_id is None:
            self.result.run_id = turns.start_run(
                self.conn, self.account.id, self.kind.trigger, self.env.started_by
            )
        return self.result.run_id

    def run_result(self, error: MailsyncError | None) -> RunResult:
        """Return the run's row: counts, status, and the `error` that ended the turn early."""
        failed = error is not None and not isinstance(error, TurnOver)
        status = "success"
        if failed:
            status = "failed" if not self.tally.folders else "partial"
        elif error is not None or self.tally.folder_errors:
            status = "partial"
        sent, received = self._traffic()
        return RunResult(
            status=status,
            folders=self.tally.folders,
            messages_new=self.tally.messages_new,
            flags_changed=self.tally.flags_changed,
            messages_deleted=self.tally.messages_deleted,
            imap_commands=sent,
            bytes_in=received,
            error_code=error.code if error is not None and failed else None,
            error_message=str(error) if error is not None and failed else None,
        )

    def new_capabilities(self) -> list[str] | None:
        """The server's capabilities if they differ from the stored ones, else None."""
        offered = sorted(self._session.capabilities) if self._session else []
        return offered if offered and offered != sorted(self.account.capabilities) else None
