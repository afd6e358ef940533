"""The steps of a turn from top to bottom, as the flowchart in ``docs/explanation/architecture.rst`` shows it.

The hot pass: discover → survey → for each folder: UIDVALIDITY, new mail, flags, reconcile → save.
The backfill pass has no survey: initial-sync batches, newest first. :mod:`mailsync.engine.runner` holds the
lock around both, connects, and judges the account's health.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from mailsync.config import Settings
from mailsync.core import renames
from mailsync.core.contradictions import explains_modseq, needs_reconcile, status_to_save
from mailsync.core.planning import (
    FolderPlan,
    expected_unseen,
    is_due,
    may_retry,
    next_flag_scan,
    safety_nets,
)
from mailsync.engine import parking
from mailsync.engine.fetch.reconnect import open_again
from mailsync.engine.steps import (
    backfill,
    discovery,
    flags,
    new_mail,
    not_sticky,
    placeholders,
    reconcile,
    tombstone_folders,
    uidvalidity,
    window,
)
from mailsync.engine.steps.plan import plan_visit
from mailsync.engine.steps.survey import choose, compared_since, list_status, shows_other_folders, survey
from mailsync.engine.turn import Turn
from mailsync.engine.turn_kind import TurnKind
from mailsync.errors import FolderError, MessagesDeferred, ProtocolError, TurnOver
from mailsync.imap.token_bucket import burst
from mailsync.model import FolderState, Listing, MailboxStatus
from mailsync.store import folders

# -- the hot pass -------------------------------------------------------------------------------------


def hot(
    turn: Turn,
    *,
    full: bool = False,
    done: dict[int, datetime] | None = None,
) -> None:
    """Do everything that keeps a mirror fresh; `full` forces discovery, flag scans and reconciles.

    With `done` the turn goes over all folders, not round robin. Folders that are done are recorded there by
    id, with the time of their status, and skipped in the turns that follow.
    """
    began = turn.now()
    window.apply_window(turn)
    # everything is looked at, so only what is reported from now on counts
    pushed = turn.session.push.hints.take()
    listing, names_changed = _list(turn)
    if listing is not None and parking.judge_reports(turn, pushed, listing, names_changed=names_changed):
        open_again(turn, "the server has not reported a change")
        listing, names_changed = _list(turn)
    _discover(turn, listing, forced=names_changed or pushed.names_changed or (full and not done))
    pushed.names_changed = False
    chosen = choose(turn, listing, done)
    nets = safety_nets(chosen, began, turn.settings, condstore=turn.has("CONDSTORE"))
    priority = [f.id for f in turn.folders.tracked() if f.is_priority]
    if listing is None:
        # priority folders beyond this number are part of the round
        priority = priority[: turn.settings.sync_priority_folders]
    compared: set[int] = set()
    deferred: list[DeferredFolder] = []
    try:
        for folder, status in survey(turn, chosen, listing):
            turn.round.surveyed[folder.id] = status
            is_full = full and (done is None or folder.id not in done)
            plan = plan_visit(turn, folder, status, nets=nets, full=is_full)
            if not plan or visit(turn, folder, Look(status, plan), deferred):
                # a folder whose first sync has not begun has nothing to compare
                compared |= {folder.id} if folder.status != "pending" else set()
                pushed.statuses.pop(folder.wire_name, None)
                if done is not None:
                    done.setdefault(folder.id, began)
            if compared.issuperset(priority):
                # set before the turn can end: other folders must not delay the freshness of these
                turn.result.priority_at = began
            if plan:
                turn.checkpoint()
    except TurnOver:
        # else the next tick would take the changes of the others for missed ones
        turn.session.push.hints.give_back(pushed)
        raise
    _note_sizes(turn)
    turn.result.overall_at = compared_since(turn, began, compared, done or {})
    if done is None and listing is None and turn.result.overall_at != began:
        # the round takes several turns
        folders.note_polled(turn.conn, turn.account.id, compared, began)
    # these come last: they may take long, and no fresh mail depends on them
    tombstone_folders.tombstone_untracked(turn)
    return_to(turn, deferred)
    placeholders.ask_again(turn, now=full)


def _list(turn: Turn) -> tuple[Listing | None, bool]:
    """Return the answer to LIST-STATUS, if offered, and whether folders came, went or changed their names."""
    listing = list_status(turn)
    if listing is None:
        return None, False
    return listing, shows_other_folders(turn, listing) or renames.shows_any(turn.folders, listing)


def _discover(turn: Turn, listing: Listing | None, *, forced: bool) -> None:
    """LIST when it is due or `forced`."""
    interval = turn.settings.discovery_interval
    if forced or is_due(turn.account.next_discovery_at, turn.now(), interval):
        # Mark discovery due before trying it, so that a failure leaves it due.
        turn.result.next_discovery_at = turn.now()
        discovery.discover(turn, listing.statuses if listing else None)


def _note_sizes(turn: Turn) -> None:
    """Save the sizes of folders that wait for their first sync, unless they are saved already."""
    sizes = {
        folder.id: turn.round.surveyed[folder.id].messages or 0
        for folder in turn.folders.tracked()
        if folder.status == "pending" and folder.server_messages is None and folder.id in turn.round.surveyed
    }
    if sizes:
        folders.note_sizes(turn.conn, turn.account.id, sizes)


class Look(NamedTuple):
    """A folder's status by the server, and the plan for the visit.

    ``status`` is what the ``plan`` was made from. ``seen`` is what EXAMINE said, if the folder is open.
    """

    status: MailboxStatus
    plan: FolderPlan
    seen: MailboxStatus | None = None


class DeferredFolder(NamedTuple):
    """A folder with messages that the server did not give, and the function that continues with it."""

    folder: FolderState
    resume: Callable[[FolderState], None]


def return_to(turn: Turn, deferred: Sequence[DeferredFolder]) -> None:
    """Continue with the `deferred` folders; all others are done, so the last connection may break now.

    Raises TurnOver if messages are left even then.
    """
    turn.result.others_done = True
    any_left = False
    for folder, resume in deferred:
        turn.checkpoint()
        try:
            resume(turn.folders.reload(folder))
        except MessagesDeferred:
            any_left = True
        except (FolderError, ProtocolError) as error:
            if turn.session.closed:
                raise
            turn.record_folder_error(folder, error)
        else:
            turn.tally.folders += 1
    if any_left:
        raise TurnOver("messages that the server did not give are asked for on another connection")


def visit(turn: Turn, folder: FolderState, look: Look, deferred: list[DeferredFolder]) -> bool:
    """Bring one folder's rows up to date; a folder's error costs that folder its turn. Returns success.

    A folder with messages that the server did not give is added to `deferred`.
    """
    turn.ensure_run()
    turn.round.mark(folder)
    try:
        sync_folder(turn, folder, look)
    except MessagesDeferred:
        again = look._replace(seen=None)
        deferred.append(DeferredFolder(folder, lambda folder: sync_folder(turn, folder, again)))
        return False
    except TurnOver:
        turn.round.rewind(folder)
        raise
    except (FolderError, ProtocolError) as error:
        if turn.session.closed:
            raise
        turn.record_folder_error(folder, error)
        return False
    turn.tally.folders += 1
    return True


def sync_folder(turn: Turn, folder: FolderState, look: Look) -> None:
    """Bring one folder's rows up to date with the server."""
    status, plan, seen = look
    if seen is None:
        seen = turn.session.examine(folder.wire_name)
    checked = uidvalidity.check_uidvalidity(turn, folder, seen)
    if checked is None:
        return
    if seen.uids_not_sticky:
        not_sticky.visit(turn, checked, seen, status_to_save(seen, status))
        return
    before = folder = checked
    flags_result = flags.UNCHANGED
    arrived = new_mail.Arrivals()
    if plan.new_mail:
        folder = new_mail.fetch_new(turn, folder, seen, arrived)
    if plan.flags == "changes" and explains_modseq(before, seen, arrived.modseqs):
        flags_result = flags.FlagsResult(seen.modseq, scanned=False)
    elif plan.flags == "changes":
        flags_result = flags.apply_changed_since(turn, folder, seen)
    elif plan.flags in ("all", "newest"):
        flags_result = flags.scan(turn, folder, seen, plan.flags)
    folder = turn.folders.reload(folder)
    to_save = status_to_save(seen, status)
    vanished = flags_result.vanished
    windowed = window.start(turn) is not None
    in_doubt = plan.reconcile or flags_result.doubtful
    if in_doubt or needs_reconcile(
        before, folder, to_save, exists=turn.session.exists, windowed=windowed, vanished=vanished
    ):
        folder = reconcile.reconcile(turn, folder, due=plan.reconcile)
    if plan.flags == "unseen":
        unseen = expected_unseen(before, status, windowed=windowed or folder.view_limit is not None)
        flags_result = flags.find_unseen_difference(turn, folder, unseen)
    folders.save_compared(
        turn.conn,
        folder,
        to_save,
        # the cursor waits until a large deletion is confirmed
        highest_modseq=None if folder.suspect_deletion else flags_result.cursor,
        next_flag_scan_at=next_flag_scan(folder, turn.now(), turn.settings) if flags_result.scanned else None,
    )


# -- the backfill pass --------------------------------------------------------------------------------


def fill(turn: Turn) -> None:
    """Continue the initial sync of one folder after the other, the inbox first, until the turn is over."""
    deferred: list[DeferredFolder] = []
    unfinished = [f for f in turn.folders.tracked() if not f.is_complete and may_retry(f, turn.now())]
    for i, folder in enumerate(unfinished):
        if i > 0:
            # not after the last one: the turn would end as if there were more to do
            turn.checkpoint()
        turn.ensure_run()
        try:
            backfill.fill_folder(turn, folder)
        except MessagesDeferred:
            deferred.append(DeferredFolder(folder, partial(backfill.fill_folder, turn)))
            continue
        except (FolderError, ProtocolError) as error:
            if turn.session.closed:
                raise
            turn.record_folder_error(folder, error)
            continue
        turn.tally.folders += 1
    return_to(turn, deferred)


# -- kinds of turns -----------------------------------------------------------------------------------


def hot_turn(settings: Settings) -> TurnKind:
    """The worker's turn of the hot pass."""
    return TurnKind(hot, "schedule", settings.hot_turn_max, reserved_share=0.25, min_commands=1, parks=True)


def backfill_turn(settings: Settings) -> TurnKind:
    """The worker's turn of the backfill pass."""
    reserved_share, full = 0.5, burst(settings.imap_max_commands_per_minute)
    return TurnKind(
        fill,
        "schedule",
        settings.backfill_turn_max,
        reserved_share,
        reschedules=False,
        # EXAMINE and SEARCH should not be most of what a turn does
        min_commands=max(3.0, min(12.0, full * (1 - reserved_share) / 2)),
        name="backfill",
        parks=True,
        yields_to_wakes=True,
    )
