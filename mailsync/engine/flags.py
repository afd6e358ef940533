"""Flags: what CHANGEDSINCE tells, or a scan of all (SPEC §10.6)."""

from __future__ import annotations

from mailsync.engine.turn import Turn
from mailsync.model import FolderState, MailboxStatus
from mailsync.store import messages as store
from mailsync.store.db import transaction
from mailsync.uids import UidSet


def refresh(turn: Turn, folder: FolderState, seen: MailboxStatus, how: str) -> None:
    """Bring the flags of live rows up to the server's; `how` is ``changes`` or ``scan``.

    ``changes`` asks with CHANGEDSINCE for what is newer than the cursor (RFC 7162 §3.1.4); without a cursor
    that can be used, all flags are scanned.
    """
    if not folder.last_uid:
        return
    uids = UidSet([(_lowest(folder), folder.last_uid)])
    since = folder.highest_modseq if how == "changes" and seen.modseq else None
    with turn.session.deadline(turn.settings.flag_scan_timeout):
        for states in turn.session.fetch_flags(uids, changed_since=since or None).states:
            with transaction(turn.conn):
                turn.tally.flags_changed += store.apply_flags(turn.conn, folder, states)
            turn.alive()


def _lowest(folder: FolderState) -> int:
    return 1 if folder.is_complete else max(1, folder.initial_oldest_uid or 1)
