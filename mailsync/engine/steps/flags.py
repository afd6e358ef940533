"""Flags: by CHANGEDSINCE, which under QRESYNC names deletions too, or by a scan (SPEC §10.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mailsync.engine.steps import deletions, window
from mailsync.engine.turn import Turn
from mailsync.model import FolderState, MailboxStatus, MessageState
from mailsync.store import attempts, folders
from mailsync.store import messages as store
from mailsync.store.db import transaction
from mailsync.uidset import UidSet

NEWEST = 1000
"""Messages of a priority folder that a frequent scan reads."""


class FlagsResult(NamedTuple):
    """The result of a step.

    ``cursor`` is the new HIGHESTMODSEQ cursor, None to keep the old one. ``scanned`` says whether a scan
    that was due is done, ``vanished`` how many rows went because the server named them as deleted.
    ``doubtful`` says that only a reconcile can tell which rows are gone.
    """

    cursor: int | None
    scanned: bool
    vanished: int = 0
    doubtful: bool = False


UNCHANGED = FlagsResult(None, scanned=False)


def apply_changed_since(turn: Turn, folder: FolderState, seen: MailboxStatus) -> FlagsResult:
    """Apply what changed since the folder's cursor, by CHANGEDSINCE (RFC 7162 §3.1.4).

    Under QRESYNC the same command names the deletions (``VANISHED (EARLIER)``, §3.2.6). Without a cursor all
    flags are scanned. The new cursor is the HIGHESTMODSEQ of the EXAMINE before the work, never the largest
    MODSEQ that was seen.
    """
    if not folder.highest_modseq or not folder.last_uid:
        return scan(turn, folder, seen)
    with turn.session.deadline(turn.settings.flag_scan_timeout):
        changes = turn.session.fetch_flags(
            _to_ask(turn, folder, _lowest(turn, folder), folder.last_uid),
            changed_since=folder.highest_modseq,
            vanished=turn.session.has_vanished,
        )
        _apply(turn, folder, changes.states)
    gone = deletions.among_live(turn, folder, changes.vanished)
    if folder.view_limit is not None:
        # messages that only slid out of the server's view may be among these
        return FlagsResult(seen.modseq, scanned=False, doubtful=bool(gone))
    before = turn.tally.messages_deleted
    if gone and (suspect := deletions.tombstone_gone(turn, folder, gone)):
        folders.suspect_deletion(turn.conn, folder, suspect)
        return FlagsResult(None, scanned=False, vanished=len(gone))
    vanished = turn.tally.messages_deleted - before
    return FlagsResult(seen.modseq, scanned=False, vanished=vanished)


def scan(turn: Turn, folder: FolderState, seen: MailboxStatus, which: str = "all") -> FlagsResult:
    """Read the flags of live rows from the server: of ``all``, or of the ``newest``."""
    lowest = _lowest(turn, folder)
    if not folder.last_uid:
        return FlagsResult(seen.modseq, scanned=True)
    if which == "newest":
        lowest = max(lowest, store.newest_uid(turn.conn, folder, NEWEST))
    _scan(turn, folder, lowest, folder.last_uid)
    return FlagsResult(seen.modseq if which == "all" else None, scanned=True)


def find_unseen_difference(turn: Turn, folder: FolderState, unseen: int | None) -> FlagsResult:
    """Scan flags until our unread count is `unseen`, which new mail and deletions did not explain.

    Scans the newest messages first, and the others only if the difference is not among them.
    """
    if folder.live_unseen == unseen or not folder.last_uid:
        return UNCHANGED
    lowest = _lowest(turn, folder)
    newest = max(lowest, store.newest_uid(turn.conn, folder, NEWEST))
    _scan(turn, folder, newest, folder.last_uid)
    if turn.folders.reload(folder).live_unseen == unseen:
        return FlagsResult(None, scanned=folder.is_priority or newest == lowest)
    if newest > lowest:
        _scan(turn, folder, lowest, newest - 1)
    if turn.folders.reload(folder).live_unseen != unseen:
        folders.recount(turn.conn, folder)
    return FlagsResult(None, scanned=True)


def _scan(turn: Turn, folder: FolderState, lowest: int, highest: int) -> None:
    with turn.session.deadline(turn.settings.flag_scan_timeout):
        _apply(turn, folder, turn.session.fetch_flags(_to_ask(turn, folder, lowest, highest)).states)


def _to_ask(turn: Turn, folder: FolderState, lowest: int, highest: int) -> UidSet:
    """Return the UIDs in a range without those of which the server gives nothing.

    A server that refuses or closes the connection at such a message would do so in each scan. Its flags come
    with its content, for which it is asked alone.
    """
    uids = UidSet([(lowest, highest)])
    if not (turn.loaded.without_content or turn.tally.without_content):
        return uids
    return uids.minus(attempts.silent_uids(turn.conn, folder))


def _apply(turn: Turn, folder: FolderState, batches: Iterator[list[MessageState]]) -> None:
    for states in batches:
        with transaction(turn.conn):
            turn.tally.flags_changed += store.apply_flags(turn.conn, folder, states)
        turn.keep_alive()


def _lowest(turn: Turn, folder: FolderState) -> int:
    """Return a UID below which there are no rows, and so no flags to ask for."""
    if not folder.is_complete:
        return max(1, folder.initial_oldest_uid or 1)
    return 1 if window.start(turn) is None else store.lowest_uid(turn.conn, folder)
