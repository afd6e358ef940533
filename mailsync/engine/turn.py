"""One turn: an account whose lock is held, its session, its clock, and what has been done so far."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mailsync.config import Settings
from mailsync.errors import FolderError, MailsyncError, Stopped, TurnOver
from mailsync.imap import Session
from mailsync.model import Account, FolderState, MailboxStatus, RunResult
from mailsync.store import folders, turns
from mailsync.store.db import Connection
from mailsync.store.locks import AccountLock
from mailsync.store.turns import LoadedTurn

log = logging.getLogger(__name__)

_STOP_GRACE = 5.0
_LONGEST_PATH = 150

IsolationKey = tuple[int, int, int, int]
"""Account, folder, UIDVALIDITY and UID of a message that is asked for alone."""


class StopSignal:
    """Whether, and since when (monotonic seconds), the process is asked to stop."""

    def __init__(self) -> None:
        self.since: float | None = None

    def set(self) -> None:
        """Ask to stop; the first time counts. Safe in a signal handler."""
        if self.since is None:
            self.since = time.monotonic()

    def __bool__(self) -> bool:
        return self.since is not None


@dataclass
class Tally:
    """What the turn has done, for ``sync_runs``."""

    folders: int = 0
    messages_new: int = 0
    flags_changed: int = 0
    messages_deleted: int = 0
    folder_errors: int = 0
    error_codes: Counter[str] = field(default_factory=Counter)
    fetched: int = 0
    without_content: int = 0

    @property
    def has_progress(self) -> bool:
        """Whether anything was fetched."""
        return bool(self.fetched) or self.has_stored

    @property
    def has_stored(self) -> bool:
        """Whether any row was changed."""
        return bool(self.messages_new or self.flags_changed or self.messages_deleted)


@dataclass
class Turn:
    """The context that every step of a turn is given; made by :func:`mailsync.engine.runner.take_turn`.

    ``needs_new_session`` is set when the next turn must not reuse this turn's session, ``asked`` as soon as
    its server may be asked anything.
    """

    lock: AccountLock
    loaded: LoadedTurn
    settings: Settings
    stop: StopSignal
    trigger: str
    started_by: str
    limit: float
    chance: Callable[[], float]
    on_progress: Callable[[Turn], None]
    on_alive: Callable[[], None]
    to_take_back: set[IsolationKey] = field(default_factory=set)
    folders: list[FolderState] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    run_id: int | None = None
    next_discovery_at: datetime | None = None
    folder_rr_cursor: int | None = None
    cursors: dict[int, int] = field(default_factory=dict)
    _reached: tuple[int, int | None] | None = None
    priority_at: datetime | None = None
    overall_at: datetime | None = None
    batch_size: int = 0
    needs_new_session: bool = False
    asked: bool = False
    surveyed: dict[int, MailboxStatus] = field(default_factory=dict)
    _session: Session | None = None
    _commands_before: int = 0
    _bytes_before: int = 0
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.folders = list(self.loaded.folders)
        self.batch_size = self.settings.fetch_batch

    # -- what the steps use ---------------------------------------------------------------------------

    @property
    def conn(self) -> Connection:
        """The connection that holds the lock, and so the one that writes."""
        return self.lock.conn

    @property
    def account(self) -> Account:
        """The account as loaded when the turn began."""
        return self.loaded.account

    @property
    def session(self) -> Session:
        """The IMAP session; there is one from the moment the turn is connected."""
        assert self._session is not None, "the turn is not connected"
        return self._session

    @property
    def is_connected(self) -> bool:
        """Whether there is a session, open or closed."""
        return self._session is not None

    def has(self, capability: str) -> bool:
        """Whether the server offers `capability` (upper case) after login."""
        return capability in self.session.capabilities

    def new_capabilities(self) -> list[str] | None:
        """The server's capabilities if they differ from the stored ones, else None."""
        offered = sorted(self._session.capabilities) if self._session else []
        return offered if offered and offered != sorted(self.account.capabilities) else None

    def tracked(self) -> list[FolderState]:
        """The folders to mirror, by priority, without those that LIST no longer shows."""
        return [f for f in self.folders if f.tracked and not f.missing_since and f.status != "missing"]

    def as_seen(self, examined: MailboxStatus, status: MailboxStatus) -> MailboxStatus:
        """The tuple to save as last compared: STATUS's, or EXAMINE's where that is silent.

        The plan was made from STATUS, so what changed between the two has to be seen next time. A MODSEQ that
        STATUS does not tell cannot be compared: flags are scanned by the clock then.
        """
        return replace(
            status,
            messages=examined.messages if status.messages is None else status.messages,
            uidnext=examined.uidnext if status.uidnext is None else status.uidnext,
        )

    def connected(self, session: Session) -> None:
        """Work over `session` from now on; what it did for earlier turns is not counted."""
        self._session = session
        self._commands_before = session.commands.total()
        self._bytes_before = session.bytes_in

    @property
    def elapsed(self) -> float:
        """The seconds since the turn began."""
        return time.monotonic() - self._started

    def now(self) -> datetime:
        """The database's clock, as of the beginning of the turn plus what has passed since."""
        return self.loaded.now + timedelta(seconds=self.elapsed)

    def alive(self) -> None:
        """Called while waiting for the server: heartbeat, watchdog, and an end to waiting on a stop.

        Raises LockLost (as DatabaseUnavailable) or Stopped.
        """
        self.on_alive()
        self.lock.beat()
        if self.stop.since is not None and time.monotonic() - self.stop.since > _STOP_GRACE:
            raise Stopped("stopped while waiting for the server")

    def begins(self, command: str) -> None:
        """Record the command that is sent now, for the process that finds this turn without its end.

        This is written at once if earlier turns of its kind ended with their process, else with the next
        heartbeat. Raises as :meth:`alive` does.
        """
        opening = self._session.opening if self._session else None
        path = next((f.path for f in self.folders if f.wire_name == opening), None)
        self.lock.step = f"{command} in folder {path:.{_LONGEST_PATH}}" if path else command
        if self.loaded.is_suspect:
            self.lock.progressed = self.lock.progressed or self.tally.has_stored
            self.lock.beat(now=True)

    def stores(self) -> None:
        """Record that rows are stored, in their transaction, if earlier turns of this kind were lost."""
        if self.loaded.is_suspect and not self.lock.progressed:
            self.lock.progressed = True
            self.lock.beat(now=True)

    def is_over(self) -> str | None:
        """Why the turn should end at this batch boundary, or None."""
        if self.stop:
            return "asked to stop"
        if time.monotonic() - self._started > self.limit:
            return "turn time used up"
        if self.lock.is_wanted():
            return "yielded to a waiter"
        return None

    def checkpoint(self) -> None:
        """Between two pieces of work: beat, and raise TurnOver when the turn should end."""
        self.on_alive()
        self.lock.beat()
        self.on_progress(self)
        if why := self.is_over():
            raise Stopped(why) if self.stop else TurnOver(why)

    def refresh(self, folder: FolderState) -> FolderState:
        """Load the folder's row again after its cursors or counts changed."""
        fresh = folders.load(self.conn, folder.account_id, folder.id)
        if not fresh:
            return folder
        self.folders = [fresh[0] if known.id == folder.id else known for known in self.folders]
        return fresh[0]

    def skip(self, folder: FolderState, error: MailsyncError) -> None:
        """Note a folder's error, which costs that folder its turn; it is tried again at the next tick."""
        self.working()
        self.tally.folder_errors += 1
        self.tally.error_codes[error.code] += 1
        text = str(error)
        retry_at = self.now() + timedelta(seconds=self.settings.sync_interval)
        folders.note_error(self.conn, folder, text, retry_at)
        if isinstance(error, FolderError):
            # it may have been renamed or deleted
            self.next_discovery_at = self.now()
        log.warning(
            "Folder skipped",
            extra={
                "action": "folder",
                "account_id": folder.account_id,
                "folder_id": folder.id,
                "error": text,
            },
        )

    def reached(self, folder: FolderState) -> None:
        """Note that the round over the folders has come to this one, before it can end the connection."""
        if folder.id in self.cursors and (self._reached is None or self._reached[0] != folder.id):
            self._reached = folder.id, self.folder_rr_cursor
            self.folder_rr_cursor = self.cursors[folder.id]

    def interrupted(self, folder: FolderState) -> None:
        """Let the next turn begin with this one, too little was left for it; unless this turn did already."""
        if self._reached is not None and self._reached[0] == folder.id and self._reached[1] is not None:
            self.folder_rr_cursor = self._reached[1]

    def put(self, folder: FolderState, **changes: object) -> FolderState:
        """Carry a change that was just written to the row over to the record."""
        changed: FolderState = replace(folder, **changes)  # type: ignore[arg-type]
        self.folders = [changed if known.id == folder.id else known for known in self.folders]
        return changed

    # -- the run --------------------------------------------------------------------------------------

    def working(self) -> int:
        """Open the run if this turn has none yet; quiet turns leave none. Returns its id."""
        if self.run_id is None:
            self.run_id = turns.start_run(self.conn, self.account.id, self.trigger, self.started_by)
        return self.run_id

    def result(self, error: MailsyncError | None) -> RunResult:
        """What the turn did, and how it ended."""
        failed = error is not None and not isinstance(error, TurnOver)
        status = "success"
        if failed:
            status = "failed" if not self.tally.folders else "partial"
        elif error is not None or self.tally.folder_errors:
            status = "partial"
        session = self._session
        return RunResult(
            status=status,
            folders=self.tally.folders,
            messages_new=self.tally.messages_new,
            flags_changed=self.tally.flags_changed,
            messages_deleted=self.tally.messages_deleted,
            imap_commands=session.commands.total() - self._commands_before if session else 0,
            bytes_in=session.bytes_in - self._bytes_before if session else 0,
            error_code=error.code if error is not None and failed else None,
            error_message=str(error) if error is not None and failed else None,
        )
