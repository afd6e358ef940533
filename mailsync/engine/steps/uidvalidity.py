"""UIDVALIDITY (RFC 9051 §2.3.1.1, SPEC §11): believed only from EXAMINE; 0 or missing is "unknown".

A change makes all UIDs of the folder meaningless: its new value and cleared cursors commit first, then its
rows are tombstoned, then it is filled anew. Messages that come back as they were take their old rows back on
the way (``sql/queries/relinking.sql``).
"""

from __future__ import annotations

import logging
from datetime import timedelta

from mailsync.engine.turn import Turn
from mailsync.errors import ResetLimit
from mailsync.model import FolderState, MailboxStatus
from mailsync.store import folders, messages
from mailsync.store.db import transaction

log = logging.getLogger(__name__)


def settle(turn: Turn, folder: FolderState, seen: MailboxStatus) -> FolderState | None:
    """Compare the folder's UIDVALIDITY with the one that EXAMINE showed.

    Returns the folder to go on with, or None when it was reset and has to be filled anew. Raises ResetLimit
    when that happens more often than ``UIDVALIDITY_MAX_RESETS`` in 24 hours; nothing is changed then. Raises
    TurnOver when the turn ends before all old rows are tombstoned; the next fill goes on with them.
    """
    told, held = seen.uidvalidity or 0, folder.uidvalidity
    if told == held or not told:
        return folder
    if not held:
        folders.adopt_uidvalidity(turn.conn, folder, told)
        return turn.folders.replace(folder, uidvalidity=told)
    recent = [r for r in folder.uidvalidity_resets if r > turn.now() - timedelta(hours=24)]
    if len(recent) >= turn.settings.uidvalidity_max_resets:
        raise ResetLimit(f"folder {folder.path}: UIDVALIDITY changed {len(recent) + 1} times in 24 hours")
    with transaction(turn.conn):
        folders.restart(turn.conn, folder, told)
    log.warning(
        "UIDVALIDITY changed; the folder is mirrored anew",
        extra={"action": "uidvalidity", "account_id": folder.account_id, "folder_id": folder.id},
    )
    turn.folders.reload(folder)
    bury(turn, folder, told)
    return None


def bury(turn: Turn, folder: FolderState, current: int) -> None:
    """Tombstone the rows of every UIDVALIDITY but `current`; goes on where a turn that ended left off.

    Raises TurnOver between two chunks when the turn is over.
    """
    while gone := messages.tombstone_chunk(turn.conn, folder, "uidvalidity_reset", keep=current):
        turn.tally.messages_deleted += gone
        if gone < messages.CHUNK:
            break
        turn.checkpoint()
