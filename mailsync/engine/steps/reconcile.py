"""Reconcile: compare the server's UIDs with the live rows (SPEC §10.7).

One doubtful observation never deletes rows: an answer that disagrees with EXISTS deletes nothing, and a
deletion of more than half of a folder is believed only when two turns see it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mailsync.core.planning import next_reconcile
from mailsync.engine.fetch.mirror import mirror
from mailsync.engine.steps import deletions, new_mail, server_view, window
from mailsync.engine.steps.server_view import ServerView
from mailsync.engine.turn import Turn
from mailsync.model import FolderState
from mailsync.store import attempts, folders
from mailsync.store import messages as store
from mailsync.uidset import LARGEST_UID, UidSet

log = logging.getLogger(__name__)

_BATCHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The UIDs of ``live`` rows, of messages ``missing`` in the mirror, and of rows ``gone`` from the server.

    Messages ``above`` ``last_uid`` are new mail. ``view`` says whether SEARCH can be believed.
    """

    live: UidSet
    missing: UidSet
    gone: UidSet
    above: UidSet
    view: ServerView


def reconcile(turn: Turn, folder: FolderState, *, due: bool) -> FolderState:
    """Tombstone rows that are gone from the server, and fetch messages that are missing in the mirror.

    During an initial sync only UIDs above its watermark are compared. A reconcile that is `due`, not caused
    by a difference, also checks the folder's counts and the plans for rows without content. More than two
    batches of missing messages are left to the backfill pass. ``clean`` is saved if both sides are equal
    after the repair.
    """
    if turn.session.selected != folder.wire_name:
        turn.session.examine(folder.wire_name)
    with turn.session.deadline(turn.settings.reconcile_timeout):
        compared = _compare(turn, folder)
        agreed = compared.view.agreed
        gone = compared.gone.minus(server_view.note_limits(turn, folder, compared.view, compared.gone))
        if compared.above and (agreed or compared.view.is_partial):
            # Mail that arrived just now, or that UIDNEXT did not promise.
            folder = new_mail.store_new(turn, folder, compared.above)
        if due or (folder.is_complete and len(compared.live) != folder.live_count):
            folder = _recount(turn, folder)
            attempts.replan_retries(turn.conn, folder)
        suspect = None
        if gone and agreed:
            suspect = deletions.tombstone_gone(turn, folder, gone)
        left = compared.missing
        many = len(left) > _BATCHES_AT_ONCE * turn.batch_size
        if not many:
            left = mirror(turn, folder, left, newest_first=True, announce=True)
    clean = agreed and not suspect and not left
    # If SEARCH and EXISTS disagree, retrying soon is pointless: wait for the next scheduled reconcile.
    next_at = turn.now() if suspect or left else next_reconcile(turn.now(), turn.settings, turn.env.chance())
    missing = len(compared.missing)
    folders.save_reconciled(
        turn.conn, folder, next_at=next_at, clean=clean, suspect=suspect, missing=missing, gone=len(gone)
    )
    if gone or missing or not clean:
        log.info(
            "Folder reconciled",
            extra={
                "action": "reconcile",
                "account_id": folder.account_id,
                "folder_id": folder.id,
                "missing": missing,
                "gone": len(gone),
                "clean": clean,
                "suspect": suspect is not None,
            },
        )
    if many:
        folders.rearm(turn.conn, folder.account_id, folder.id)
    return turn.folders.reload(folder)


def _compare(turn: Turn, folder: FolderState) -> _Comparison:
    lowest = 1 if folder.is_complete else max(1, folder.initial_oldest_uid or 1)
    begins = window.start(turn)
    view = server_view.read(turn)
    above = view.uids.between(folder.last_uid + 1, LARGEST_UID)
    server = view.uids.between(lowest, folder.last_uid)
    # After a reset of its cursors a folder may have rows above last_uid, of messages that are gone.
    live = store.live_uids(turn.conn, folder, lowest, LARGEST_UID)
    if begins is not None:
        return _compare_window(turn, folder, view, live, above, lowest)
    return _Comparison(live, server.minus(live), live.minus(server).minus(above), above, view)


def _recount(turn: Turn, folder: FolderState) -> FolderState:
    """Correct the folder's counts if they are wrong: wrong counts would cause a reconcile in every turn."""
    if not folders.recount(turn.conn, folder):
        return folder
    log.warning(
        "Corrected a folder's message counts, which were wrong",
        extra={"action": "recount", "account_id": folder.account_id, "folder_id": folder.id},
    )
    return turn.folders.reload(folder)


def _compare_window(
    turn: Turn, folder: FolderState, view: ServerView, live: UidSet, above: UidSet, lowest: int
) -> _Comparison:
    """Compare inside the window; SINCE is too coarse, since servers compare days in a time zone of their own.

    The dates of rows and messages decide what is inside, and a search by UID decides what is gone.
    """
    begins = window.start(turn)
    server = view.uids.between(lowest, folder.last_uid)
    inside = store.live_uids(turn.conn, folder, lowest, LARGEST_UID, since=begins)
    gone = inside.minus(server)
    if gone:
        gone = gone.minus(turn.session.search(uids=gone))
    missing: list[int] = []
    candidates = server.minus(live)
    if candidates:
        for states in turn.session.fetch_states(candidates):
            missing += [state.uid for state in window.inside(turn, states)]
            turn.keep_alive()
    return _Comparison(live, UidSet.of(missing), gone, above, view)
