"""The state of a running turn: its clock, its folders, its place in the round, and its result."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import overload

from mailsync.model import FolderState, MailboxStatus
from mailsync.store import folders
from mailsync.store.db import Connection
from mailsync.store.turns import Parked


class TurnClock:
    """The database's clock as of the turn's beginning, plus the seconds that have passed since."""

    def __init__(self, began: datetime, max_seconds: float) -> None:
        self.began = began
        self._max_seconds = max_seconds
        self._started = time.monotonic()

    @property
    def elapsed(self) -> float:
        """The seconds since the turn began."""
        return time.monotonic() - self._started

    @property
    def is_up(self) -> bool:
        """Whether the turn's time is used up."""
        return self.elapsed > self._max_seconds

    def now(self) -> datetime:
        """The time by the database's clock."""
        return self.began + timedelta(seconds=self.elapsed)


class FolderSet(Sequence[FolderState]):
    """The account's folders by priority, as last loaded or written; a loop over them sees no later change."""

    def __init__(self, conn: Connection, account_id: int, loaded: Sequence[FolderState]) -> None:
        self._conn = conn
        self._account_id = account_id
        self._folders = list(loaded)

    @overload
    def __getitem__(self, index: int) -> FolderState: ...
    @overload
    def __getitem__(self, index: slice) -> list[FolderState]: ...
    def __getitem__(self, index: int | slice) -> FolderState | list[FolderState]:
        return self._folders[index]

    def __len__(self) -> int:
        return len(self._folders)

    def __iter__(self) -> Iterator[FolderState]:
        return iter(self._folders)

    def tracked(self) -> list[FolderState]:
        """The folders to mirror, without those that LIST no longer shows."""
        return [f for f in self._folders if f.tracked and not f.missing_since and f.status != "missing"]

    def replace(self, folder: FolderState, **changes: object) -> FolderState:
        """Apply `changes`, which were just written to the row, to the record; returns the new record."""
        changed: FolderState = replace(folder, **changes)  # type: ignore[arg-type]
        self._folders = [changed if f.id == folder.id else f for f in self._folders]
        return changed

    def reload(self, folder: FolderState) -> FolderState:
        """Load the folder's row again, after its cursors or counts changed; returns the new record."""
        rows = folders.load(self._conn, self._account_id, folder.id)
        if not rows:
            return folder
        self._folders = [rows[0] if f.id == folder.id else f for f in self._folders]
        return rows[0]

    def reload_all(self) -> None:
        """Load all rows again."""
        self._folders = folders.load(self._conn, self._account_id)


class PollRound:
    """The position in the round over the folders, for the survey and the hot pass.

    ``cursor`` is where the next turn continues, None if this turn did not move it. ``surveyed``
    are the statuses of this turn by folder id.
    """

    def __init__(self) -> None:
        self.cursor: int | None = None
        self.surveyed: dict[int, MailboxStatus] = {}
        self._cursors: Mapping[int, int] = {}
        self._marked: tuple[int, int | None] | None = None

    def begin(self, cursors: Mapping[int, int]) -> None:
        """Go over folders, each given with the cursor that passes over it."""
        self._cursors = cursors

    def mark(self, folder: FolderState) -> None:
        """Move the cursor over `folder`, before anything about it can end the connection."""
        if folder.id in self._cursors and (self._marked is None or self._marked[0] != folder.id):
            self._marked = folder.id, self.cursor
            self.cursor = self._cursors[folder.id]

    def rewind(self, folder: FolderState) -> None:
        """Begin the next turn with `folder`, which got too little time; unless this turn began with it."""
        if self._marked is not None and self._marked[0] == folder.id and self._marked[1] is not None:
            self.cursor = self._marked[1]


@dataclass
class Tally:
    """The figures of the turn, for ``sync_runs``."""

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
        """Whether anything was fetched or stored."""
        return bool(self.fetched) or self.has_stored

    @property
    def has_stored(self) -> bool:
        """Whether any row was changed."""
        return bool(self.messages_new or self.flags_changed or self.messages_deleted)


@dataclass
class TurnResult:
    """The values to save when the turn ends.

    ``run_id`` is None for a quiet turn. ``priority_at`` and ``overall_at`` are the times since which the
    priority folders, and all folders, are compared. ``asked`` says whether the server may have been asked
    anything, ``needs_new_session`` whether the next turn must not reuse this turn's session. ``reconnects``
    is how often the turn has opened another session, ``has_broken`` whether a message may have been the
    reason. ``others_done`` says that every folder had its share of the turn, and only those in which messages
    were deferred are left. ``parked`` is how the session listens afterwards. ``has_reloaded`` says that the
    folders were loaded again after the work.
    """

    tally: Tally = field(default_factory=Tally)
    run_id: int | None = None
    priority_at: datetime | None = None
    overall_at: datetime | None = None
    next_discovery_at: datetime | None = None
    asked: bool = False
    needs_new_session: bool = False
    reconnects: int = 0
    has_broken: bool = False
    others_done: bool = False
    parked: Parked | None = None
    has_reloaded: bool = False
