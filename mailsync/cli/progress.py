"""The progress of a sync on stderr: a bar on a terminal, else a line for each folder that is complete."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from mailsync.cli.common import note
from mailsync.cli.terminal import fit, many, pad
from mailsync.engine.turn import Turn
from mailsync.model import FolderState, MailboxStatus

_LABEL = 24


class SyncProgress:
    """Follows the turns of one sync; :meth:`update` is the engine's ``on_progress``."""

    def __init__(self, bar: Any) -> None:
        """`bar` is a progress bar of click, or None for plain lines."""
        self._bar = bar
        self._complete: set[int] | None = None
        self._tally: object = None
        self._fetched = 0
        self._base = 0
        self._begun = 0
        self._surveyed: dict[int, MailboxStatus] = {}

    def update(self, turn: Turn) -> None:
        """Show what `turn` has done so far."""
        tracked = turn.folders.tracked()
        if turn.tally is not self._tally:
            self._tally, self._base = turn.tally, self._base + self._fetched
            self._fetched = 0
        self._fetched = turn.tally.fetched
        self._surveyed |= turn.round.surveyed
        complete = {folder.id for folder in tracked if folder.is_complete}
        if self._complete is None:
            self._complete = complete
            self._begun = sum(map(_done_before, tracked))
        for folder in tracked:
            if folder.id in complete and folder.id not in self._complete:
                self._complete.add(folder.id)
                if self._bar is None:
                    note_folder(folder)
        if self._bar is not None:
            self._draw(tracked)

    def _draw(self, tracked: list[FolderState]) -> None:
        total = max(1, sum(map(self._size, tracked)))
        done = min(total, self._begun + self._base + self._fetched)
        current = next((folder.path for folder in tracked if not folder.is_complete), "")
        self._bar.label = pad(fit(current, _LABEL), _LABEL)
        self._bar.length = total
        self._bar.update(done - self._bar.pos)
        self._bar.render_progress()

    def _size(self, folder: FolderState) -> int:
        """The number of messages that the folder will have, as far as it is known."""
        if folder.is_complete:
            return folder.live_count
        status = self._surveyed.get(folder.id)
        return max(folder.server_messages or 0, (status.messages if status else 0) or 0)

    def finish(self) -> None:
        """Fill the bar, whatever the estimate was."""
        if self._bar is not None:
            self._bar.label = pad("", _LABEL)
            self._bar.update(self._bar.length - self._bar.pos)

    def pause(self, seconds: float) -> None:
        """Say that the sync waits until the account may send commands again."""
        text = waiting(seconds)
        if self._bar is not None:
            self._bar.label = pad(fit(text, _LABEL), _LABEL)
            self._bar.render_progress()
        else:
            note(f"  {text}")


def waiting(seconds: float) -> str:
    """``waiting 12s for the limit IMAP_MAX_COMMANDS_PER_MINUTE``."""
    return f"waiting {seconds:.0f}s for the limit IMAP_MAX_COMMANDS_PER_MINUTE"


@contextmanager
def sync_progress() -> Iterator[SyncProgress]:
    """A progress bar if stderr is a terminal, else plain lines."""
    if not sys.stderr.isatty():
        yield SyncProgress(None)
        return
    with click.progressbar(
        length=1, label=pad("connecting", _LABEL), file=sys.stderr, width=32, show_pos=True, show_eta=False
    ) as bar:
        yield SyncProgress(bar)


def note_folder(folder: FolderState) -> None:
    """``  INBOX: 1,204 messages``."""
    note(f"  {fit(folder.path, 60)}: {many(folder.live_count, 'message')}")


def _done_before(folder: FolderState) -> int:
    return 0 if folder.status == "pending" else folder.live_count
