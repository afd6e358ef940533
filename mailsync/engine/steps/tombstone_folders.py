"""Folders that are no longer mirrored: their rows become tombstones, chunk by chunk (SPEC §6)."""

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


def tombstone_untracked(turn: Turn) -> None:
    """Tombstone the rows of folders that are untracked, or missing for longer than their grace period.

    If such a folder comes back, it is filled again, and its messages get their old rows. Continues where a
    process that died stopped. While discovery has to continue in the next turn, missing folders keep their
    rows: they may have been renamed.
    """
    # discovery that has to continue is due at once
    undecided = turn.result.next_discovery_at is not None and turn.result.next_discovery_at <= turn.now()
    for folder in list(turn.folders):
        if _is_over(turn, folder):
            if not undecided and (folder.status == "missing" or _is_gone(turn, folder)):
                _empty(turn, folder, "folder_missing", "missing")
        elif _is_unwanted(folder):
            _empty(turn, folder, "untracked", None)


def _is_over(turn: Turn, folder: FolderState) -> bool:
    """Whether the folder's grace period is over while it still has rows, or a status to change."""
    if folder.missing_since is None:
        return False
    if folder.status == "missing":
        return folder.live_count > 0
    grace = turn.settings.folder_missing_grace
    return not grace or turn.now() - folder.missing_since >= timedelta(seconds=grace)


def _is_unwanted(folder: FolderState) -> bool:
    """Whether an untracked folder has rows or cursors that should go.

    The rows stay if the folder is only above the folder limit, or if only its name is left, which has a grace
    period.
    """
    if folder.tracked or not (folder.live_count or folder.last_uid):
        return False
    kept = folder.excluded_reason == TOO_MANY or folder.excluded_reason in HOLDS_NONE
    return not kept or folder.tracked_by_user is False


def _is_gone(turn: Turn, folder: FolderState) -> bool:
    """Ask for the folder by name: its absence from LIST is one observation, and deleting rows takes two."""
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
        # A temporary refusal. Some servers always give one for deleted folders, so continue with the others.
        if turn.session.closed:
            raise
        return False
    log.warning(
        "LIST does not show a folder that STATUS finds; its rows stay",
        extra={"action": "missing", "account_id": folder.account_id, "folder_id": folder.id},
    )
    folders.restart_grace(turn.conn, folder)
    turn.folders.reload(folder)
    return False


def _empty(turn: Turn, folder: FolderState, reason: str, status: str | None) -> None:
    turn.ensure_run()
    # The cursors go first: if the folder comes back halfway, they must not pass over rows that are gone.
    folders.clear_cursors(turn.conn, folder, status)
    while rows := messages.tombstone_chunk(turn.conn, folder, reason):
        turn.tally.messages_deleted += rows
        turn.checkpoint()
    turn.folders.reload(folder)
