"""Reconcile: the UID set of the server against the live rows (SPEC §10.7).

One doubtful observation never destroys: an answer that disagrees with EXISTS deletes nothing, and a deletion
of more than half of a folder is believed only when it is seen in two turns.
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
from mailsync.uidset import UidSet

log = logging.getLogger(__name__)

_BATCHES_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class _Comparison:
    """UIDs that are `live` here, `missing` here and `gone` there; `agreed` tells whether to believe it.

    Those `above` ``last_uid`` are new mail.
    """

    live: UidSet
    missing: UidSet
    gone: UidSet
    above: UidSet
    agreed: bool


def called_for(
    turn: Turn, held: FolderState, folder: FolderState, status: MailboxStatus, *, vanished: int
) -> bool:
    """Whether, after new mail and flags, something in the folder is still not explained.

    In a complete folder without a window EXISTS, as of now, is compared with the live rows. In any other the
    server's tuple, as `held` and as it is, has to be explained by arrivals above ``last_uid``, or by
    deletions that were told, of `vanished` rows, but not by more of those than messages are lacking.
    """
    if folder.is_complete and window.start(turn) is None:
        return turn.session.exists != folder.live_count
    if status.uidnext is not None and status.uidnext <= held.last_uid:
        return True
    return not arrivals_explain(held, status, vanished)


def reconcile(turn: Turn, folder: FolderState, *, due: bool) -> FolderState:
    """Compare UIDs, tombstone what is gone, fetch what is missing; in an initial sync above its watermark.

    One that is `due`, rather than called for by a difference, also checks the kept counts and the plans for
    rows without content. What is more than two batches is left to the backfill pass. ``clean`` is saved if
    the two are equal after the repair.
    """
    if turn.session.selected != folder.wire_name:
        turn.session.examine(folder.wire_name)
    with turn.session.deadline(turn.settings.reconcile_timeout):
        found = _compare(turn, folder)
        if found.above and found.agreed:
            # arrived just now, or never promised by UIDNEXT, which proves nothing
            folder = new_mail.store_new(turn, folder, found.above)
        if due or (folder.is_complete and len(found.live) != folder.live_count):
            folder = _recount(turn, folder)
            attempts.replan_retries(turn.conn, folder)
        suspect = deletions.take(turn, folder, found.gone) if found.gone and found.agreed else None
        many = len(found.missing) > _BATCHES_AT_ONCE * turn.batch_size
        left = found.missing
        if not many:
            left = mirror(turn, folder, found.missing, newest_first=True, announce=True)
    clean = found.agreed and not suspect and not left
    # of a server that contradicts itself nothing is expected before the next time
    next_at = turn.now() if suspect or left else next_reconcile(turn.now(), turn.settings, turn.env.chance())
    missing, gone = len(found.missing), len(found.gone)
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
    found, agreed = _server_uids(turn)
    above = found.between(folder.last_uid + 1, new_mail.LARGEST)
    server = found.between(lowest, folder.last_uid)
    # after a reset of its cursors a folder has rows above last_uid too, should their messages be gone
    live = store.live_uids(turn.conn, folder, lowest, new_mail.LARGEST)
    if begins is not None:
        return _compare_window(turn, folder, server, live, above, lowest)
    return _Comparison(live, server.minus(live), live.minus(server).minus(above), above, agreed)


def _recount(turn: Turn, folder: FolderState) -> FolderState:
    """Hold the kept counts against the rows; a mirror that miscounts would look for differences for ever."""
    if not folders.recount(turn.conn, folder):
        return folder
    log.warning(
        "The kept counts of a folder were wrong",
        extra={"action": "recount", "account_id": folder.account_id, "folder_id": folder.id},
    )
    return turn.folders.reload(folder)


def _server_uids(turn: Turn) -> tuple[UidSet, bool]:
    """The UIDs that SEARCH shows, and whether they are as many as EXISTS says; in a window nothing tells."""
    since = window.search_since(turn)
    # what arrives or goes while the server searches makes the two differ, once
    for _ in range(2):
        # the first answer may be large, and goes before the second one comes
        server = UidSet()
        server = turn.session.search(since=since)
        if since is not None or len(server) == turn.session.exists:
            return server, True
    log.warning(
        "SEARCH shows %d messages, EXISTS %d; nothing is deleted on that",
        len(server),
        turn.session.exists,
        extra={"action": "reconcile", "account_id": turn.account.id},
    )
    return server, False


def _compare_window(
    turn: Turn, folder: FolderState, server: UidSet, live: UidSet, above: UidSet, lowest: int
) -> _Comparison:
    """SINCE tells days, in a zone of the server's own: dates decide what is inside, a search what is gone."""
    begins = window.start(turn)
    inside = store.live_uids(turn.conn, folder, lowest, new_mail.LARGEST, since=begins)
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
