"""Messages that the server no longer has; a large deletion is believed once two turns saw it (SPEC §10.7)."""

from __future__ import annotations

import hashlib

from mailsync.core.contradictions import LARGE_DELETION, is_large_deletion
from mailsync.engine.turn import Turn
from mailsync.model import FolderState
from mailsync.store import messages
from mailsync.uidset import UidSet


def tombstone_gone(turn: Turn, folder: FolderState, gone: UidSet) -> str | None:
    """Tombstone the live rows of `gone`; returns None.

    If more than half of the folder and more than 100 rows would go, and no earlier turn saw the same
    deletion, changes nothing and returns the digest to save.
    """
    if suspect := _suspect(turn, folder, gone):
        return suspect
    turn.tally.messages_deleted += messages.tombstone(
        turn.conn, folder, gone, "expunged", on_chunk=turn.keep_alive
    )
    return None


def among_live(turn: Turn, folder: FolderState, vanished: UidSet) -> UidSet:
    """Return those of `vanished` that may have a live row: servers also name UIDs that never had one."""
    if len(vanished) <= LARGE_DELETION:
        return vanished
    return vanished.both(messages.live_uids(turn.conn, folder, vanished.lowest, vanished.highest))


def _suspect(turn: Turn, folder: FolderState, gone: UidSet) -> str | None:
    if not is_large_deletion(len(gone), folder.live_count):
        return None
    digest = hashlib.sha256(str(gone).encode()).hexdigest()[:32]
    seen_before = (
        folder.suspect_deletion == digest
        and folder.suspect_deletion_at is not None
        and folder.suspect_deletion_at < turn.clock.began
    )
    return None if seen_before else digest
