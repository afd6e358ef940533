"""The messages that the server shows in the open folder, and whether to believe that there are no others."""

from __future__ import annotations

import logging
from typing import NamedTuple

from mailsync.core import contradictions
from mailsync.core.contradictions import PARTIAL_VIEW, ViewVerdict, judge_view
from mailsync.engine.steps import window
from mailsync.engine.turn import Turn
from mailsync.model import FolderState
from mailsync.store import folders
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)


class ServerView(NamedTuple):
    """The UIDs that the server shows.

    ``agreed`` says whether rows of other UIDs may count as gone. ``is_partial`` says that the server holds
    more messages than it shows.
    """

    uids: UidSet
    agreed: bool
    is_partial: bool = False


def read(turn: Turn) -> ServerView:
    """Ask for the UIDs in the open folder and compare their number with EXISTS.

    With a window there is no number to compare them with.
    """
    since = window.search_since(turn)
    # Messages that arrive or go while the server searches make the two differ once.
    for _ in range(2):
        # Free the first answer, which may be large, before the second one is read.
        uids = UidSet()
        uids = turn.session.search(since=since)
        if since is not None:
            return ServerView(uids, agreed=True)
        verdict = judge_view(len(uids), turn.session.exists)
        if verdict is not ViewVerdict.TOO_MANY:
            break
    if verdict is ViewVerdict.TOO_MANY:
        uids = _without_phantoms(turn, uids)
        verdict = judge_view(len(uids), turn.session.exists)
    if verdict is not ViewVerdict.AGREES:
        log.log(
            _level(turn),
            "SEARCH finds %d messages, EXISTS says %d; no row is deleted because of this answer",
            len(uids),
            turn.session.exists,
            extra={"action": "search", "account_id": turn.account.id},
        )
    return ServerView(uids, verdict is ViewVerdict.AGREES, verdict is ViewVerdict.TOO_FEW)


def _without_phantoms(turn: Turn, uids: UidSet) -> UidSet:
    unanswered = uids.minus(turn.session.answered(uids))
    others = len(uids) - len(unanswered)
    return uids.minus(contradictions.phantoms(unanswered, others, turn.session.exists))


def note_limits(turn: Turn, folder: FolderState, view: ServerView, gone: UidSet) -> UidSet:
    """Store whether the server shows only a part of the folder; return which rows slid out of its view.

    `gone` are the live rows that the server does not show; those returned are among them.
    """
    size = _window_size(turn, folder, view, gone)
    kept = contradictions.out_of_view(size, gone, view.uids.lowest)
    message = _message(turn, folder, view, size, len(kept))
    note_limitation(turn, folder, PARTIAL_VIEW if message else None, message, size)
    return kept


def limitation_message(turn: Turn, folder: FolderState, view: ServerView) -> str | None:
    """Return in words that the server shows only a part of the open folder; None if it shows all."""
    size = _window_size(turn, folder, view, UidSet())
    return _message(turn, folder, view, size, max(0, folder.live_count - turn.session.exists))


def _window_size(turn: Turn, folder: FolderState, view: ServerView, gone: UidSet) -> int | None:
    exists = turn.session.exists
    if not view.agreed:
        # an answer in doubt proves neither that the view slides nor that it stands still
        return folder.view_limit
    if len(view.uids) != exists:
        # the account's window cut this list, so its lowest UID does not show where the server's view begins
        return None
    return contradictions.window_size(folder, exists, turn.session.announced_limit, gone, view.uids.lowest)


def _message(turn: Turn, folder: FolderState, view: ServerView, size: int | None, kept: int) -> str | None:
    if size is not None:
        return contradictions.window_message(folder.path, size, kept)
    if view.is_partial:
        return contradictions.partial_view_message(folder.path, len(view.uids), turn.session.exists)
    return None


def note_limitation(
    turn: Turn, folder: FolderState, limitation: str | None, message: str | None, size: int | None = None
) -> None:
    """Store a folder's limitation, unless it is stored already."""
    if (folder.limitation, folder.limitation_message, folder.view_limit) != (limitation, message, size):
        folders.note_limitation(turn.conn, folder, limitation, message, size)
        turn.folders.reload(folder)
        if message and folder.limitation != limitation:
            log.log(
                _level(turn),
                "A folder is not mirrored as a whole: %s",
                message,
                extra={"action": "limitation", "account_id": turn.account.id, "folder_id": folder.id},
            )


def _level(turn: Turn) -> int:
    # a person who started a command reads the limitation in its output
    return logging.WARNING if turn.kind.is_scheduled else logging.INFO
