"""What a visit to a folder has to do: pure functions of what we hold and what the server says.

The table of cases is ``tests/unit/core/test_planning.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from mailsync.config import Settings
from mailsync.model import FolderPlan, FolderState, MailboxStatus, SafetyNets

NOTHING = FolderPlan()
NO_NETS = SafetyNets()

_LONGEST_REST = 3660.0


def plan_folder(
    folder: FolderState,
    status: MailboxStatus,
    now: datetime,
    *,
    condstore: bool,
    windowed: bool = False,
    nets: SafetyNets = NO_NETS,
    full: bool = False,
) -> FolderPlan:
    """Decide from the folder's state and the server's status what a visit has to do.

    `condstore` tells whether the server offers CONDSTORE (RFC 7162), `windowed` whether only a part of the
    mail is mirrored, so that counts do not compare; `nets` are the safety nets that this turn may use
    (:func:`safety_nets`); `full` forces a flag scan and a reconcile. A folder whose first sync has not begun
    has nothing to keep fresh: backfill begins it.
    """
    if not folder.tracked or folder.missing_since or folder.status in ("pending", "missing"):
        return NOTHING
    reasons = []
    # EXAMINE may show the one that is held, so all else is planned as ever
    if other := status.uidvalidity and folder.uidvalidity and status.uidvalidity != folder.uidvalidity:
        reasons.append("uidvalidity")
    if news := _has_new_mail(folder, status):
        reasons.append("new_mail")
    if flags := _flags(folder, status, condstore=condstore, windowed=windowed, nets=nets, full=full):
        reasons.append(f"flags_{flags}")
    if _numbers_differ(folder, status, windowed=windowed):
        reasons.append("messages")
    # in a folder that is not complete it is the backfill that failed, and that has to succeed
    if folder.last_error and folder.is_complete and folder.retry_at and may_retry(folder, now):
        reasons.append("retry")
    if reconcile := full or folder.id in nets.reconciles or _went_back(folder, status):
        reasons.append("reconcile")
    return FolderPlan(new_mail=bool(news or other), flags=flags, reconcile=reconcile, reasons=tuple(reasons))


def safety_nets(
    folders: Iterable[FolderState], now: datetime, settings: Settings, *, condstore: bool
) -> SafetyNets:
    """Choose, of the folders that this turn looks at, those whose due scan or reconcile it may do.

    What is due longest comes first, at most ``MAX_FLAG_SCANS_PER_CYCLE`` and ``MAX_RECONCILES_PER_CYCLE``.
    Where the server offers CONDSTORE a folder is scanned only if it has no MODSEQ, or one below our cursor.
    A reconcile that a difference calls for is not limited: a folder that was never compared as a whole, or
    was not found clean. A time further ahead than its whole interval is due: the clock was wrong, or the
    setting was longer, when it was set.
    """
    scans: list[tuple[datetime, int]] = []
    reconciles: list[tuple[datetime, int]] = []
    called_for: set[int] = set()
    for folder in folders:
        scan, compare = folder.next_flag_scan_at, folder.next_reconcile_at
        has_modseq = condstore and folder.server_modseq
        if (
            scan
            and not (has_modseq and has_modseq >= folder.highest_modseq)
            and is_due(scan, now, _scan_interval(folder, settings))
        ):
            scans.append((scan, folder.id))
        if compare and is_due(compare, now, settings.reconcile_interval + settings.reconcile_jitter):
            if folder.last_reconcile_clean:
                reconciles.append((compare, folder.id))
            else:
                called_for.add(folder.id)
    return SafetyNets(
        scans=frozenset(each for _, each in sorted(scans)[: settings.max_flag_scans_per_cycle]),
        reconciles=frozenset(each for _, each in sorted(reconciles)[: settings.max_reconciles_per_cycle])
        | called_for,
    )


def folders_to_poll(
    folders: Sequence[FolderState], cursor: int, settings: Settings
) -> tuple[list[FolderState], int]:
    """Choose the folders to ask by STATUS where the server has no LIST-STATUS.

    Returns priority folders and the next ``SYNC_RR_FOLDERS`` others after the folder id `cursor`, and the new
    cursor, which is 0 when the round over the others is complete.
    """
    priority = [f for f in folders if f.is_priority][: settings.sync_priority_folders]
    others = sorted((f for f in folders if f not in priority), key=lambda f: f.id)
    # nothing is ahead of a cursor that stood at a folder which is gone
    ahead = [f for f in others if f.id > cursor] or others
    chosen = ahead[: settings.sync_rr_folders]
    wrapped = len(ahead) <= settings.sync_rr_folders
    return priority + chosen, 0 if wrapped else chosen[-1].id


def arrivals_explain(folder: FolderState, status: MailboxStatus, vanished: int = 0) -> bool:
    """Whether new mail alone can have turned the compared tuple into `status`: as many messages as UIDs.

    With rows that `vanished`, which need not be all that were deleted, at least as many messages have to be
    lacking. For folders whose rows cannot be counted against the server's: in a window, or in a first sync.
    """
    before = (folder.server_messages, folder.uidnext)
    if None in before or status.messages is None or status.uidnext is None:
        return before == (status.messages, status.uidnext)
    lacking = status.uidnext - (folder.uidnext or 0) - status.messages + (folder.server_messages or 0)
    return lacking >= vanished if vanished else lacking == 0


def expected_unseen(held: FolderState, status: MailboxStatus, *, windowed: bool) -> int | None:
    """How many live rows should be unread by now, as UNSEEN tells; `held` is the folder before the visit.

    In a window only the change can be told; what changed outside of it is taken for a change inside.
    """
    if not windowed or status.unseen is None or held.server_unseen is None:
        return status.unseen
    return held.live_unseen + status.unseen - held.server_unseen


def next_flag_scan(folder: FolderState, now: datetime, settings: Settings) -> datetime:
    """When the folder's flags are scanned again if nothing shows a change before.

    Half a tick early, so that the tick nearest to it does it and not the one after.
    """
    seconds = _scan_interval(folder, settings)
    return now + timedelta(seconds=seconds - min(settings.sync_interval / 2, seconds / 4))


def next_reconcile(now: datetime, settings: Settings, chance: float) -> datetime:
    """When the folder is reconciled again as a safety net; `chance` in 0 … 1 spreads it over the jitter."""
    return now + timedelta(seconds=settings.reconcile_interval + settings.reconcile_jitter * chance)


def may_retry(folder: FolderState, now: datetime) -> bool:
    """Whether a folder that failed has been left alone for long enough: a tick, which is an hour at most."""
    return folder.retry_at is None or is_due(folder.retry_at, now, _LONGEST_REST)


def is_due(moment: datetime, now: datetime, interval: float) -> bool:
    """Whether what comes every `interval` seconds is due; also if `moment` is further ahead than that.

    The clock was wrong then, or the setting was longer, when it was set.
    """
    now = now.astimezone(UTC)
    return moment <= now or moment > now + timedelta(seconds=interval)


def _has_new_mail(folder: FolderState, status: MailboxStatus) -> bool:
    # UIDNEXT proves nothing, it may be far ahead or go back: any difference is worth a look
    return status.uidnext is None or status.uidnext != folder.uidnext


def _flags(
    folder: FolderState,
    status: MailboxStatus,
    *,
    condstore: bool,
    windowed: bool,
    nets: SafetyNets,
    full: bool,
) -> str | None:
    if full:
        return "all"
    modseq = status.modseq if condstore and status.modseq else 0
    if modseq and modseq != folder.server_modseq:
        return "all" if _went_back(folder, status) else "changes"
    # a STATUS that stays below what EXAMINE shows tells of no change
    is_told = modseq and modseq >= folder.highest_modseq
    if not is_told and folder.id in nets.scans:
        # the newest of a priority folder often, the rest of it with the safety net that compares it all
        return "newest" if folder.is_priority and folder.id not in nets.reconciles else "all"
    if _unseen_differs(folder, status, windowed=windowed):
        return "unseen"
    if folder.id not in nets.reconciles:
        return None
    if is_told:
        # once with each safety net: a HIGHESTMODSEQ that stands still tells nothing
        return "changes" if folder.last_reconcile_clean else None
    return "all"


def _unseen_differs(folder: FolderState, status: MailboxStatus, *, windowed: bool) -> bool:
    if status.unseen is None or status.unseen == folder.server_unseen or not folder.is_complete:
        return False
    if windowed and folder.server_unseen is None:
        return False
    return windowed or status.unseen != folder.live_unseen


def _went_back(folder: FolderState, status: MailboxStatus) -> bool:
    # once: a server may show less by STATUS than by EXAMINE, and for ever
    return bool(status.modseq and status.modseq < folder.highest_modseq) and (
        status.modseq != folder.server_modseq
    )


def _numbers_differ(folder: FolderState, status: MailboxStatus, *, windowed: bool) -> bool:
    # a difference that remains is looked at again when the server's tuple changes, not every tick
    unchanged = (status.messages, status.uidnext) == (folder.server_messages, folder.uidnext)
    if status.messages is None or unchanged:
        return False
    countable = folder.is_complete and not windowed
    return status.messages != (folder.live_count if countable else folder.server_messages)


def _scan_interval(folder: FolderState, settings: Settings) -> float:
    return settings.flag_scan_priority_interval if folder.is_priority else settings.flag_scan_interval
