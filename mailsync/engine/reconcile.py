"""Reconcile: the UID set of the server against the live rows (SPEC §10.7).

One doubtful observation never destroys: an answer that disagrees with EXISTS changes nothing, and a
deletion of more than half of a folder is believed only when it is seen in two turns.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import closing

from mailsync.engine import fetching, window
from mailsync.engine.committing import Committer
from mailsync.engine.turn import Turn
from mailsync.errors import ProtocolError
from mailsync.model import FolderState
from mailsync.planning import next_reconcile
from mailsync.store import folders
from mailsync.store import messages as store
from mailsync.uids import UidSet

log = logging.getLogger(__name__)

_LARGE = 100
_TRIED_AGAIN = 20


def differs(turn: Turn, folder: FolderState) -> bool:
    """Whether EXISTS, as of now, differs from the live rows of a complete folder without a window."""
    return folder.is_complete and window.start(turn) is None and turn.session.exists != folder.live_count


def reconcile(turn: Turn, folder: FolderState, *, due: bool) -> FolderState:
    """Compare UIDs, tombstone what is gone, fetch what is missing; in an initial sync above its watermark.

    One that is `due`, rather than called for by a difference, tries stubs again too.
    """
    if turn.session.selected != folder.wire_name:
        turn.session.examine(folder.wire_name)
    lowest = 1 if folder.is_complete else max(1, folder.initial_oldest_uid or 1)
    with turn.session.deadline(turn.settings.reconcile_timeout):
        server = _server_uids(turn)
        missing, gone = store.compare_uids(turn.conn, folder, server, lowest, folder.last_uid)
        suspect = _suspect(folder, gone)
        if gone and suspect is None:
            turn.tally.messages_deleted += store.tombstone(turn.conn, folder, gone, "expunged")
        left = _fetch_missing(turn, folder, missing)
    clean = suspect is None and not left
    if gone or missing:
        log.info(
            "Folder reconciled",
            extra={
                "action": "reconcile",
                "account_id": folder.account_id,
                "folder_id": folder.id,
                "fetched": len(missing) - len(left),
                "gone": len(gone),
                "suspect": suspect is not None,
            },
        )
    next_at = next_reconcile(turn.now(), turn.settings, turn.chance()) if clean else turn.now()
    folders.save_reconciled(turn.conn, folder, next_at=next_at, clean=clean, suspect=suspect)
    if due and clean and folder.last_reconciled_at:
        _try_again(turn, folder)
    return turn.refresh(folder)


def _server_uids(turn: Turn) -> UidSet:
    since = window.search_since(turn)
    # what arrives or goes while the server searches makes the two differ, once
    for _ in range(2):
        server = turn.session.search(since=since)
        if since is not None or len(server) == turn.session.exists:
            return server
    raise ProtocolError(
        f"SEARCH shows {len(server)} messages, EXISTS {turn.session.exists}; nothing is deleted on that"
    )


def _suspect(folder: FolderState, gone: UidSet) -> str | None:
    """The digest of a deletion too large to be believed at once; None if it may be believed."""
    if len(gone) <= _LARGE or len(gone) * 2 <= folder.live_count:
        return None
    digest = hashlib.sha256(str(gone).encode()).hexdigest()[:32]
    return None if digest == folder.suspect_deletion else digest


def _fetch_missing(turn: Turn, folder: FolderState, missing: UidSet) -> UidSet:
    left = missing
    batches = fetching.fetch(turn, folder, missing, newest_first=True)
    with closing(batches), Committer(turn, folder, announce=True) as committer:
        for asked, found in batches:
            committer.commit(asked, window.inside(turn, found), lambda: None)
            left = left.minus(asked)
    return left


def _try_again(turn: Turn, folder: FolderState) -> None:
    """Ask once more for stubs (SPEC §9.5), a few of them, those that never ended a turn first.

    Not in the first reconcile: they were asked for just now. The reconcile is saved by now, so a message that
    ends the connection costs this turn, not all that follow.
    """
    with Committer(turn, folder, announce=True) as committer:
        for uid in store.unfetchable(turn.conn, folder, _TRIED_AGAIN):
            if turn.is_over():
                break
            only = UidSet([(uid, uid)])
            turn.session.check_budget()
            store.note_attempt(turn.conn, folder, only)
            for batch in turn.session.fetch_messages([only], prefetch=False):
                committer.commit(only, batch.messages, lambda: None)
