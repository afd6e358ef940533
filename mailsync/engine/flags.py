"""Flags: what CHANGEDSINCE tells, with QRESYNC deletions too, or a scan (SPEC §10.6)."""

from __future__ import annotations

from mailsync.engine import deletions
from mailsync.engine.turn import Turn
from mailsync.model import FolderState, MailboxStatus
from mailsync.store import folders
from mailsync.store import messages as store
from mailsync.store.db import transaction
from mailsync.uids import UidSet

NEWEST = 1000
"""How many messages of a priority folder a frequent scan looks at."""


def follow(turn: Turn, folder: FolderState, seen: MailboxStatus) -> int | None:
    """Apply what changed since the folder's cursor, by CHANGEDSINCE (RFC 7162 §3.1.4).

    With QRESYNC the same command tells the deletions (``VANISHED (EARLIER)``, §3.2.6). Without a cursor, all
    flags are scanned. Returns the new cursor, or None if it has to wait. It is HIGHESTMODSEQ as of the
    EXAMINE before the work, never the largest MODSEQ seen.
    """
    if not folder.last_uid:
        return seen.modseq
    if not folder.highest_modseq:
        return scan(turn, folder, seen)
    with turn.session.deadline(turn.settings.flag_scan_timeout):
        changes = turn.session.fetch_flags(
            UidSet([(_lowest(folder), folder.last_uid)]),
            changed_since=folder.highest_modseq,
            vanished=turn.session.has_vanished,
        )
        for states in changes.states:
            with transaction(turn.conn):
                turn.tally.flags_changed += store.apply_flags(turn.conn, folder, states)
            turn.alive()
    gone = deletions.among_live(turn, folder, changes.vanished)
    if gone and (suspect := deletions.take(turn, folder, gone)):
        folders.suspect_deletion(turn.conn, folder, suspect)
        return None
    return seen.modseq


def scan(
    turn: Turn, folder: FolderState, seen: MailboxStatus, how: str = "all", unseen: int | None = None
) -> int | None:
    """Bring the flags of live rows up to the server's: of ``all``, or of the ``newest``.

    ``unseen`` looks at the newest first, and at the others only if the server's UNSEEN, given as `unseen`, is
    not explained by them. Returns the new cursor; None keeps the one there is.
    """
    if not folder.last_uid:
        return seen.modseq
    lowest = _lowest(folder)
    newest = lowest if how == "all" else max(lowest, store.newest_uid(turn.conn, folder, NEWEST))
    _scan(turn, folder, newest, folder.last_uid)
    if how == "unseen" and newest > lowest and turn.refresh(folder).live_unseen != unseen:
        _scan(turn, folder, lowest, newest - 1)
    if how == "unseen" and turn.refresh(folder).live_unseen != unseen:
        folders.recount(turn.conn, folder)
    return seen.modseq if how == "all" else None


def _scan(turn: Turn, folder: FolderState, lowest: int, highest: int) -> None:
    with turn.session.deadline(turn.settings.flag_scan_timeout):
        for states in turn.session.fetch_flags(UidSet([(lowest, highest)])).states:
            with transaction(turn.conn):
                turn.tally.flags_changed += store.apply_flags(turn.conn, folder, states)
            turn.alive()


def _lowest(folder: FolderState) -> int:
    return 1 if folder.is_complete else max(1, folder.initial_oldest_uid or 1)
