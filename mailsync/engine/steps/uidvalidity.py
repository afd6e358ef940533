"""UIDVALIDITY (RFC 9051 §2.3.1.1, SPEC §11): believed only from EXAMINE; 0 or none means "unknown".

A change makes all UIDs of the folder meaningless. The new value and cleared cursors commit first, then the
folder's rows are tombstoned, then the backfill pass fetches the folder again. Messages that are still the
same get their old rows back (``sql/queries/relinking.sql``).
"""

from __future__ import annotations

import logging
from datetime import timedelta

from mailsync.core.contradictions import UIDS_NOT_STICKY, UidValidity, judge_uidvalidity
from mailsync.engine.turn import Turn
from mailsync.errors import ResetLimit
from mailsync.model import FolderState, MailboxStatus
from mailsync.store import folders, messages
from mailsync.store.db import transaction

log = logging.getLogger(__name__)


def check_uidvalidity(turn: Turn, folder: FolderState, seen: MailboxStatus) -> FolderState | None:
    """Compare the folder's UIDVALIDITY with that of EXAMINE.

    Returns the folder to work on, or None if it was reset: the backfill pass then fetches it again. Raises
    ResetLimit, and changes nothing, for more than ``UIDVALIDITY_MAX_RESETS`` resets in 24 hours. Raises
    TurnOver if the turn ends before all old rows are tombstoned; the next backfill continues with them.
    """
    verdict, current = judge_uidvalidity(folder, seen), seen.uidvalidity or 0
    if verdict in (UidValidity.SAME, UidValidity.MEANINGLESS):
        return folder
    if verdict is UidValidity.ADOPT:
        folders.adopt_uidvalidity(turn.conn, folder, current)
        return turn.folders.replace(folder, uidvalidity=current)
    recent = [r for r in folder.uidvalidity_resets if r > turn.now() - timedelta(hours=24)]
    # resets from the time when the UIDs were new in each session say nothing about this server
    if folder.limitation != UIDS_NOT_STICKY and len(recent) >= turn.settings.uidvalidity_max_resets:
        raise ResetLimit(f"folder {folder.path}: UIDVALIDITY changed {len(recent) + 1} times in 24 hours")
    with transaction(turn.conn):
        folders.restart(turn.conn, folder, current)
    log.warning(
        "UIDVALIDITY changed; all messages of the folder are fetched again",
        extra={"action": "uidvalidity", "account_id": folder.account_id, "folder_id": folder.id},
    )
    turn.folders.reload(folder)
    tombstone_old_uidvalidity(turn, folder, current)
    return None


def tombstone_old_uidvalidity(turn: Turn, folder: FolderState, current: int) -> None:
    """Tombstone the rows of every UIDVALIDITY but `current`; continues where an earlier turn stopped.

    Raises TurnOver between two chunks when the turn is over.
    """
    while gone := messages.tombstone_chunk(turn.conn, folder, "uidvalidity_reset", keep=current):
        turn.tally.messages_deleted += gone
        if gone < messages.CHUNK:
            break
        turn.checkpoint()
