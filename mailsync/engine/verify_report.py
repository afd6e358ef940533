"""The differences that ``verify`` finds between a mailbox and its mirror (SPEC §20)."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_SHOWN = 100
"""Differences of a folder that are kept; all are counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between the server and the mirror.

    A message's `kind` is ``missing`` (no row), ``extra`` (a live row without a message), ``flags``,
    ``size_bytes``, ``internal_date`` or ``placeholder`` (a row without content). A folder's `kind` is
    ``uidvalidity``, ``unreadable`` (it could not be compared), ``unknown_folder`` (the server has it, and it
    would be tracked), ``partial_view`` (the server shows a part), ``uids_not_sticky`` (its UIDs are new in
    each session, so that it could not be compared), ``live_count`` or ``live_unseen`` (the stored counts are
    not those of the rows), ``outside_window`` or ``stray`` (live rows that are too old, or of another
    UIDVALIDITY).

    ``uid`` is None for a difference of the whole folder. ``server`` and ``mirror`` are the two values as
    text.
    """

    kind: str
    uid: int | None = None
    server: str | None = None
    mirror: str | None = None


@dataclass
class FolderReport:
    """The comparison of one folder; only the first :data:`MOST_SHOWN` differences are kept."""

    folder_id: int | None
    path: str
    complete: bool
    messages: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def different(self) -> int:
        """The number of differences."""
        return sum(self.counts.values())

    def add(self, difference: Difference, times: int = 1) -> None:
        """Count a difference `times` times, and keep it if there is room."""
        self.counts[difference.kind] = self.counts.get(difference.kind, 0) + times
        if len(self.differences) < MOST_SHOWN:
            self.differences.append(difference)


@dataclass
class Report:
    """The folders compared so far, by id; those that only the server has, by wire name.

    ``next_uid`` says where to continue with a folder whose turn ended before the comparison did.
    """

    folders: dict[int | bytes, FolderReport] = field(default_factory=dict)
    listed: bool = False
    done: set[int] = field(default_factory=set)
    next_uid: dict[int, int] = field(default_factory=dict)

    @property
    def incomplete(self) -> list[FolderReport]:
        """The tracked folders that were not compared, because their first sync is not complete."""
        return [f for f in self.folders.values() if not f.complete and not f.counts]

    @property
    def different(self) -> int:
        """The number of differences in all folders."""
        return sum(folder.different for folder in self.folders.values())

    @property
    def messages(self) -> int:
        """The number of the server's messages that were compared."""
        return sum(folder.messages for folder in self.folders.values())
