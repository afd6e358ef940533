"""The status of the tracked folders, before any is opened, and since when all of them are compared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from mailsync.engine.turn import Turn
from mailsync.errors import FolderError, ProtocolError
from mailsync.model import FolderState, MailboxStatus
from mailsync.planning import folders_to_poll


def survey(turn: Turn, done: Collection[int] | None) -> Iterator[tuple[FolderState, MailboxStatus]]:
    """All tracked folders by one LIST-STATUS; without it by STATUS, round robin, or all but those `done`."""
    tracked = turn.tracked()
    statuses = _list_status(turn)
    if statuses is not None:
        chosen = tracked
    elif done is not None:
        chosen = [f for f in tracked if f.is_priority or f.id not in done]
    else:
        chosen, turn.folder_rr_cursor = folders_to_poll(tracked, turn.account.folder_rr_cursor, turn.settings)
    for folder in chosen:
        # a row without STATUS says nothing of the folder, so it is asked for alone
        status = (statuses or {}).get(folder.wire_name) or _status(turn, folder)
        if status is not None:
            yield folder, status


def _list_status(turn: Turn) -> dict[bytes, MailboxStatus] | None:
    """The answer to one LIST-STATUS; None where it is not offered, or offered and not understood."""
    if not turn.session.has_list_status:
        return None
    try:
        return turn.session.list_status()
    except ProtocolError:
        believed = "LIST-STATUS" in turn.session.capabilities
        if turn.session.closed or believed:
            raise
        return None


def _status(turn: Turn, folder: FolderState) -> MailboxStatus | None:
    """The answer to STATUS; None if there is none, which costs this folder its turn."""
    try:
        turn.session.unselect()
        return turn.session.status(folder.wire_name)
    except (FolderError, ProtocolError) as error:
        if turn.session.closed:
            raise
        turn.skip(folder, error)
        return None


def compared_since(
    turn: Turn, began: datetime, compared: Collection[int], done: Mapping[int, datetime]
) -> datetime | None:
    """The time since which every tracked folder is compared; None while there is one that never was.

    `compared` are those of this turn, which `began` then, `done` those of the turns before it.
    """
    times = [
        began if folder.id in compared else done.get(folder.id) or folder.polled_at
        for folder in turn.tracked()
    ]
    known = [at for at in times if at is not None]
    return min(known, default=began) if len(known) == len(times) else None
