"""Folders that are not mirrored any more: their rows become tombstones, chunk by chunk (SPEC §6)."""

from __future__ import annotations

import logging
from datetime import timedelta

from mailsync.core.folder_roles import HOLDS_NONE, TOO_MANY
from mailsync.engine.steps.rename_folders import REFUSALS
from mailsync.engine.turn import Turn
from mailsync.errors import FolderError
from mailsync.model import FolderState
from mailsync.store import folders, messages

log = logging.getLogger(__name__)


def empty(turn: Turn) -> None:
    """Tombstone the rows of folders that are untracked, or missing for longer than their grace.

    Coming back, they are filled anew, and rows and ids with them. Goes on where a process that died left off.
    While discovery is to go on with the next turn, a missing folder may yet turn out to be a renamed one.
    """
    undecided = turn.result.next_discovery_at is not None and turn.result.next_discovery_at <= turn.now()
    for folder in list(turn.folders):
        if _is_over(turn, folder):
            if not undecided and (folder.status == "missing" or _is_gone(turn, folder)):
                _empty(turn, folder, "folder_missing", "missing")
        elif _is_unwanted(folder):
            _empty(turn, folder, "untracked", None)


def _is_over(turn: Turn, folder: FolderState) -> bool:
    """Whether the folder's grace is over, and there is anything left to do about it."""
    if folder.missing_since is None:
        return False
    if folder.status == "missing":
        return folder.live_count > 0
    grace = turn.settings.folder_missing_grace
    return not grace or turn.now() - folder.missing_since >= timedelta(seconds=grace)


def _is_unwanted(folder: FolderState) -> bool:
    """Whether rows or cursors are left of a folder that is not tracked.

    The rows stay of one that is merely too many; one of which only the name is left has its grace.
    """
    if folder.tracked or not (folder.live_count or folder.last_uid):
        return False
    kept = folder.excluded_reason == TOO_MANY or folder.excluded_reason in HOLDS_NONE
    return not kept or folder.tracked_by_user is False


def _is_gone(turn: Turn, folder: FolderState) -> bool:
    """Ask for the folder by name: that it is not listed is one observation, and rows need two."""
    if not folder.live_count or b"\0" in folder.wire_name:
        return True
    if turn.session.commands_left < 2:
        return False
    try:
        turn.session.unselect()
        turn.session.status(folder.wire_name)
    except FolderError as error:
        return not error.temporary
    except REFUSALS:
        # not now: some servers say so of folders that never come back, which must not stop the account
        if turn.session.closed:
            raise
        return False
    log.warning(
        "A folder is there that LIST does not show; its rows stay",
        extra={"action": "missing", "account_id": folder.account_id, "folder_id": folder.id},
    )
    folders.restart_grace(turn.conn, folder)
    turn.folders.reload(folder)
    return False


def _empty(turn: Turn, folder: FolderState, reason: str, status: str | None) -> None:
    turn.ensure_run()
    # the cursors first: they must not vouch for rows that are gone, should it come back halfway
    folders.clear_cursors(turn.conn, folder, status)
    while gone := messages.tombstone_chunk(turn.conn, folder, reason):
        turn.tally.messages_deleted += gone
        turn.checkpoint()
    turn.folders.reload(folder)
