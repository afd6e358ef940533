"""What the server no longer has is tombstoned; a large deletion only when two turns saw it (SPEC §10.7)."""

from __future__ import annotations

import hashlib

from mailsync.engine.turn import Turn
from mailsync.model import FolderState
from mailsync.store import messages
from mailsync.uidset import UidSet

_LARGE = 100


def take(turn: Turn, folder: FolderState, gone: UidSet) -> str | None:
    """Tombstone the live rows of `gone`.

    Returns None, or, if more than half of the folder (and over 100 rows) would go and no earlier turn saw the
    same: the digest to remember, and nothing is done.
    """
    if suspect := _suspect(turn, folder, gone):
        return suspect
    turn.tally.messages_deleted += messages.tombstone(
        turn.conn, folder, gone, "expunged", on_chunk=turn.keep_alive
    )
    return None


def among_live(turn: Turn, folder: FolderState, vanished: UidSet) -> UidSet:
    """The members of `vanished` that may have a live row; servers name UIDs that never had one, too."""
    if len(vanished) <= _LARGE:
        return vanished
    return vanished.both(messages.live_uids(turn.conn, folder, vanished.lowest, vanished.highest))


def _suspect(turn: Turn, folder: FolderState, gone: UidSet) -> str | None:
    if len(gone) <= _LARGE or len(gone) * 2 <= folder.live_count:
        return None
    digest = hashlib.sha256(str(gone).encode()).hexdigest()[:32]
    seen_before = (
        folder.suspect_deletion == digest
        and folder.suspect_deletion_at is not None
        and folder.suspect_deletion_at < turn.clock.began
    )
    return None if seen_before else digest
