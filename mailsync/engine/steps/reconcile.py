"""Reconcile: compare the server's UIDs with the live rows (SPEC §10.7).

One doubtful observation never deletes rows: an answer that disagrees with EXISTS deletes nothing, and a
deletion of more than half of a folder is believed only when two turns see it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mailsync.core.planning import arrivals_explain, next_reconcile
from mailsync.engine.fetch.mirror import mirror
from mailsync.engine.steps import deletions, new_mail, window
from mailsync.engine.turn import Turn
from mailsync.model import FolderState, MailboxStatus
from mailsync.store import attempts, folders
from mailsync.store import messages as store
from mailsync.uidset import LARGEST_UID, UidSet

log = logging.getLogger(__name__)

_BATCHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The UIDs of ``live`` rows, of messages ``missing`` in the mirror, and of rows ``gone`` from the server.

    Messages ``above`` ``last_uid`` are new mail. ``agreed`` says whether SEARCH can be believed.
    """

    live: UidSet
    missing: UidSet
    gone: UidSet
    above: UidSet
    agreed: bool


def needs_reconcile(
    turn: Turn, before: FolderState, folder: FolderState, status: MailboxStatus, *, vanished: int
) -> bool:
    """Whether the folder's numbers are still unexplained after new mail and flags.

    For a complete folder without a window the current EXISTS has to equal the number of live rows. For any
    other folder the change from the numbers of `before` to `status` has to be explained by arrivals above
    ``last_uid`` and by the `vanished` rows, which must not be more than the messages that are lacking.
    """
    if folder.is_complete and window.start(turn) is None:
        return turn.session.exists != folder.live_count
    if status.uidnext is not None and status.uidnext <= before.last_uid:
        return True
    return not arrivals_explain(before, status, vanished)


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
        if compared.above and compared.agreed:
            # Mail that arrived just now, or that UIDNEXT did not promise.
            folder = new_mail.store_new(turn, folder, compared.above)
        if due or (folder.is_complete and len(compared.live) != folder.live_count):
            folder = _recount(turn, folder)
            attempts.replan_retries(turn.conn, folder)
        suspect = None
        if compared.gone and compared.agreed:
            suspect = deletions.tombstone_gone(turn, folder, compared.gone)
        left = compared.missing
        many = len(left) > _BATCHES_AT_ONCE * turn.batch_size
        if not many:
            left = mirror(turn, folder, left, newest_first=True, announce=True)
    clean = compared.agreed and not suspect and not left
    # If SEARCH and EXISTS disagree, retrying soon is pointless: wait for the next scheduled reconcile.
    next_at = turn.now() if suspect or left else next_reconcile(turn.now(), turn.settings, turn.env.chance())
    missing, gone = len(compared.missing), len(compared.gone)
    folders.save_reconciled(
        turn.conn, folder, next_at=next_at, clean=clean, suspect=suspect, missing=missing, gone=gone
    )
    if gone or missing or not clean:
        log.info(
            "Folder reconciled",
            extra={
                "action": "reconcile",
                "account_id": folder.account_id,
                "folder_id": folder.id,
                "missing": missing,
                "gone": gone,
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
    on_server, agreed = _server_uids(turn)
    above = on_server.between(folder.last_uid + 1, LARGEST_UID)
    server = on_server.between(lowest, folder.last_uid)
    # After a reset of its cursors a folder may have rows above last_uid, of messages that are gone.
    live = store.live_uids(turn.conn, folder, lowest, LARGEST_UID)
    if begins is not None:
        return _compare_window(turn, folder, server, live, above, lowest)
    return _Comparison(live, server.minus(live), live.minus(server).minus(above), above, agreed)


def _recount(turn: Turn, folder: FolderState) -> FolderState:
    """Correct the folder's counts if they are wrong: wrong counts would cause a reconcile in every turn."""
    if not folders.recount(turn.conn, folder):
        return folder
    log.warning(
        "Corrected a folder's message counts, which were wrong",
        extra={"action": "recount", "account_id": folder.account_id, "folder_id": folder.id},
    )
    return turn.folders.reload(folder)


def _server_uids(turn: Turn) -> tuple[UidSet, bool]:
    """Return the UIDs of SEARCH, and whether to believe them.

    Without a window they have to be as many as EXISTS says. With one there is no such number.
    """
    since = window.search_since(turn)
    # Messages that arrive or go while the server searches make the two differ once.
    for _ in range(2):
        # Free the first answer, which may be large, before the second one is read.
        server = UidSet()
        server = turn.session.search(since=since)
        if since is not None or len(server) == turn.session.exists:
            return server, True
    log.warning(
        "SEARCH finds %d messages, EXISTS says %d; no row is deleted because of this answer",
        len(server),
        turn.session.exists,
        extra={"action": "reconcile", "account_id": turn.account.id},
    )
    return server, False


def _compare_window(
    turn: Turn, folder: FolderState, server: UidSet, live: UidSet, above: UidSet, lowest: int
) -> _Comparison:
    """Compare inside the window; SINCE is too coarse, since servers compare days in a time zone of their own.

    The dates of rows and messages decide what is inside, and a search by UID decides what is gone.
    """
    begins = window.start(turn)
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
    return _Comparison(live, UidSet.of(missing), gone, above, agreed=True)
