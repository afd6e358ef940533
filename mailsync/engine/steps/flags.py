"""Flags: what CHANGEDSINCE tells, with QRESYNC deletions too, or a scan (SPEC §10.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mailsync.engine.steps import deletions, window
from mailsync.engine.turn import Turn
from mailsync.model import FolderState, MailboxStatus, MessageState
from mailsync.store import folders
from mailsync.store import messages as store
from mailsync.store.db import transaction
from mailsync.uidset import UidSet

NEWEST = 1000
"""How many messages of a priority folder a frequent scan looks at."""


class Followed(NamedTuple):
    """What a step has looked at: ``cursor`` is the new one, None if it has to wait; ``scanned`` tells whether
    all was looked at that a due scan is for, ``vanished`` how many rows went because deletions were told.
    """

    cursor: int | None
    scanned: bool
    vanished: int = 0


NOTHING = Followed(None, scanned=False)


def follow(turn: Turn, folder: FolderState, seen: MailboxStatus) -> Followed:
    """Apply what changed since the folder's cursor, by CHANGEDSINCE (RFC 7162 §3.1.4).

    With QRESYNC the same command tells the deletions (``VANISHED (EARLIER)``, §3.2.6). Without a cursor, all
    flags are scanned. The new cursor is HIGHESTMODSEQ as of the EXAMINE before the work, never the largest
    MODSEQ seen.
    """
    if not folder.highest_modseq or not folder.last_uid:
        return scan(turn, folder, seen)
    with turn.session.deadline(turn.settings.flag_scan_timeout):
        changes = turn.session.fetch_flags(
            UidSet([(_lowest(turn, folder), folder.last_uid)]),
            changed_since=folder.highest_modseq,
            vanished=turn.session.has_vanished,
        )
        _apply(turn, folder, changes.states)
    gone, before = deletions.among_live(turn, folder, changes.vanished), turn.tally.messages_deleted
    if gone and (suspect := deletions.take(turn, folder, gone)):
        folders.suspect_deletion(turn.conn, folder, suspect)
        return Followed(None, scanned=False, vanished=len(gone))
    vanished = turn.tally.messages_deleted - before
    return Followed(seen.modseq, scanned=False, vanished=vanished)


def scan(turn: Turn, folder: FolderState, seen: MailboxStatus, how: str = "all") -> Followed:
    """Bring the flags of live rows up to the server's: of ``all``, or of the ``newest``."""
    lowest = _lowest(turn, folder)
    if not folder.last_uid:
        return Followed(seen.modseq, scanned=True)
    if how == "newest":
        lowest = max(lowest, store.newest_uid(turn.conn, folder, NEWEST))
    _scan(turn, folder, lowest, folder.last_uid)
    return Followed(seen.modseq if how == "all" else None, scanned=True)


def explain(turn: Turn, folder: FolderState, unseen: int | None) -> Followed:
    """Look for what makes the server's UNSEEN another than ours, after new mail and deletions have not.

    Among the newest messages first, and among all others only if it is not found there.
    """
    if folder.live_unseen == unseen or not folder.last_uid:
        return NOTHING
    lowest = _lowest(turn, folder)
    newest = max(lowest, store.newest_uid(turn.conn, folder, NEWEST))
    _scan(turn, folder, newest, folder.last_uid)
    if turn.folders.reload(folder).live_unseen == unseen:
        return Followed(None, scanned=folder.is_priority or newest == lowest)
    if newest > lowest:
        _scan(turn, folder, lowest, newest - 1)
    if turn.folders.reload(folder).live_unseen != unseen:
        folders.recount(turn.conn, folder)
    return Followed(None, scanned=True)


def _scan(turn: Turn, folder: FolderState, lowest: int, highest: int) -> None:
    with turn.session.deadline(turn.settings.flag_scan_timeout):
        _apply(turn, folder, turn.session.fetch_flags(UidSet([(lowest, highest)])).states)


def _apply(turn: Turn, folder: FolderState, found: Iterator[list[MessageState]]) -> None:
    for states in found:
        with transaction(turn.conn):
            turn.tally.flags_changed += store.apply_flags(turn.conn, folder, states)
        turn.keep_alive()


def _lowest(turn: Turn, folder: FolderState) -> int:
    """From where on there are rows: below it flags would be sent for nothing."""
    if not folder.is_complete:
        return max(1, folder.initial_oldest_uid or 1)
    return 1 if window.start(turn) is None else store.lowest_uid(turn.conn, folder)
