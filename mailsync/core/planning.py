"""The work of a visit to a folder, decided from its row and the server's status; pure.

``tests/unit/core/test_planning.py`` is the table of cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mailsync.config import Settings
from mailsync.core.contradictions import UIDS_NOT_STICKY, modseq_went_back
from mailsync.model import FolderState, MailboxStatus


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """The work of one visit to a folder, decided by :func:`plan_folder`.

    ``flags`` is ``changes`` (CHANGEDSINCE), ``newest`` (a scan of the newest messages), ``unseen`` (the same,
    and a scan of all if UNSEEN still differs), ``all``, or None. Without ``reasons`` the folder is not
    visited.
    """

    new_mail: bool = False
    flags: str | None = None
    reconcile: bool = False
    reasons: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.reasons)


@dataclass(frozen=True, slots=True)
class SafetyNets:
    """The ids of the folders whose due flag scan or due reconcile a turn may do."""

    scans: frozenset[int] = frozenset()
    reconciles: frozenset[int] = frozenset()


NOTHING = FolderPlan()
NO_NETS = SafetyNets()

SMALL_FOLDER = 1000
"""Messages of a folder with UIDNOTSTICKY that is fetched again whenever their number changes."""

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
    """Decide from the folder's row and the server's status what a visit has to do.

    `condstore` is True if the server offers CONDSTORE (RFC 7162). `windowed` is True if only recent mail is
    mirrored, so that the counts of rows and messages cannot be compared. `nets` are the due scans and
    reconciles that this turn may do (:func:`safety_nets`). `full` forces a flag scan and a reconcile. The
    plan of a folder whose first sync has not begun is empty, because the backfill pass begins it.
    """
    if not folder.tracked or folder.missing_since or folder.status in ("pending", "missing"):
        return NOTHING
    if folder.limitation == UIDS_NOT_STICKY and folder.is_complete:
        return _plan_not_sticky(folder, status, settled=not (full or folder.id in nets.reconciles))
    # a server that shows only the newest messages has a window of its own
    windowed = windowed or folder.view_limit is not None
    reasons = []
    # EXAMINE may still show the stored UIDVALIDITY, so the rest is planned as usual
    if other := status.uidvalidity and folder.uidvalidity and status.uidvalidity != folder.uidvalidity:
        reasons.append("uidvalidity")
    if news := _has_new_mail(folder, status):
        reasons.append("new_mail")
    if flags := _flags(folder, status, condstore=condstore, windowed=windowed, nets=nets, full=full):
        reasons.append(f"flags_{flags}")
    if _numbers_differ(folder, status, windowed=windowed):
        reasons.append("messages")
    # in a folder that is not complete the backfill failed, and the backfill pass retries it
    if folder.last_error and folder.is_complete and folder.retry_at and may_retry(folder, now):
        reasons.append("retry")
    if reconcile := full or folder.id in nets.reconciles or modseq_went_back(folder, status):
        reasons.append("reconcile")
    return FolderPlan(new_mail=bool(news or other), flags=flags, reconcile=reconcile, reasons=tuple(reasons))


def _plan_not_sticky(folder: FolderState, status: MailboxStatus, *, settled: bool) -> FolderPlan:
    """Plan a visit to a complete folder whose UIDs are new in each session, so that only MESSAGES is of use.

    An update fetches all of the folder again: a small one when MESSAGES changes, others only when a reconcile
    is due. `settled` says that none is due.
    """
    is_small = folder.live_count <= SMALL_FOLDER
    changed = status.messages is not None and status.messages != folder.server_messages
    if settled and not (is_small and changed):
        return NOTHING
    return FolderPlan(reconcile=True, reasons=("messages",) if changed else ("reconcile",))


def safety_nets(
    folders: Iterable[FolderState], now: datetime, settings: Settings, *, condstore: bool
) -> SafetyNets:
    """Choose the folders whose due flag scan or reconcile this turn may do.

    The longest due come first, at most ``MAX_FLAG_SCANS_PER_CYCLE`` and ``MAX_RECONCILES_PER_CYCLE``. Due
    reconciles of folders that were never reconciled, or not found equal to the server, do not count towards
    the limit. See :func:`is_due` for times that are too far ahead.
    """
    scans: list[tuple[datetime, int]] = []
    reconciles: list[tuple[datetime, int]] = []
    needed: set[int] = set()
    for folder in folders:
        scan, compare = folder.next_flag_scan_at, folder.next_reconcile_at
        if (
            scan
            and scans_flags(folder, condstore=condstore)
            and is_due(scan, now, _scan_interval(folder, settings))
        ):
            scans.append((scan, folder.id))
        if compare and is_due(compare, now, settings.reconcile_interval + settings.reconcile_jitter):
            if folder.last_reconcile_clean:
                reconciles.append((compare, folder.id))
            else:
                needed.add(folder.id)
    return SafetyNets(
        scans=frozenset(id_ for _, id_ in sorted(scans)[: settings.max_flag_scans_per_cycle]),
        reconciles=frozenset(id_ for _, id_ in sorted(reconciles)[: settings.max_reconciles_per_cycle])
        | needed,
    )


def scans_flags(folder: FolderState, *, condstore: bool) -> bool:
    """Whether flag changes in the folder are found only by scans, because no MODSEQ shows them.

    That is so without CONDSTORE, for NOMODSEQ, which is stored as 0 (RFC 7162 §3.1.2.2), and for a MODSEQ
    below our cursor.
    """
    modseq = folder.server_modseq or 0
    return not condstore or not modseq or modseq < folder.highest_modseq


def folders_to_poll(
    folders: Sequence[FolderState], cursor: int, settings: Settings
) -> tuple[list[FolderState], int]:
    """Choose the folders to query by STATUS if the server has no LIST-STATUS.

    Returns the first ``SYNC_PRIORITY_FOLDERS`` priority folders and the next ``SYNC_RR_FOLDERS`` others after
    the folder id `cursor`, and the new cursor, which is 0 when the round over the others is complete.
    """
    priority = [f for f in folders if f.is_priority][: settings.sync_priority_folders]
    others = sorted((f for f in folders if f not in priority), key=lambda f: f.id)
    # the folder at the cursor may have been the last one and may be gone
    ahead = [f for f in others if f.id > cursor] or others
    chosen = ahead[: settings.sync_rr_folders]
    wrapped = len(ahead) <= settings.sync_rr_folders
    return priority + chosen, 0 if wrapped else chosen[-1].id


def expected_unseen(folder: FolderState, status: MailboxStatus, *, windowed: bool) -> int | None:
    """The number of live rows that should be unread now, by UNSEEN; `folder` is the row before the visit.

    In a window only the change of UNSEEN counts, and a change outside the window is taken for one inside.
    """
    if not windowed or status.unseen is None or folder.server_unseen is None:
        return status.unseen
    return folder.live_unseen + status.unseen - folder.server_unseen


def next_flag_scan(folder: FolderState, now: datetime, settings: Settings) -> datetime:
    """When the folder's flags are scanned again, unless a change shows earlier.

    Half a tick early, so that the nearest tick does the scan and not the one after it.
    """
    seconds = _scan_interval(folder, settings)
    return now + timedelta(seconds=seconds - min(settings.sync_interval / 2, seconds / 4))


def next_reconcile(now: datetime, settings: Settings, chance: float) -> datetime:
    """When the folder is reconciled again as a safety net; `chance` in 0 … 1 picks the jitter."""
    return now + timedelta(seconds=settings.reconcile_interval + settings.reconcile_jitter * chance)


def may_retry(folder: FolderState, now: datetime) -> bool:
    """Whether a failed folder has waited until ``retry_at``, which is at most an hour away."""
    return folder.retry_at is None or is_due(folder.retry_at, now, _LONGEST_REST)


def is_due(moment: datetime, now: datetime, interval: float) -> bool:
    """Whether a task that runs every `interval` seconds and was set for `moment` is due.

    A `moment` more than `interval` ahead is due too: the clock was wrong, or the setting longer, when it was
    set.
    """
    now = now.astimezone(UTC)
    return moment <= now or moment > now + timedelta(seconds=interval)


def _has_new_mail(folder: FolderState, status: MailboxStatus) -> bool:
    # UIDNEXT may be far ahead or go back, so any difference is worth a search
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
        return "all" if modseq_went_back(folder, status) else "changes"
    # a HIGHESTMODSEQ that STATUS reports below our cursor shows no change
    shows_changes = modseq and modseq >= folder.highest_modseq
    if not shows_changes and folder.id in nets.scans:
        # priority folders are scanned often: the newest messages each time, all with the reconcile
        return "newest" if folder.is_priority and folder.id not in nets.reconciles else "all"
    if _unseen_differs(folder, status, windowed=windowed):
        return "unseen"
    if folder.id not in nets.reconciles:
        return None
    if shows_changes:
        # once with each reconcile, because some servers never raise HIGHESTMODSEQ
        return "changes" if folder.last_reconcile_clean else None
    return "all"


def _unseen_differs(folder: FolderState, status: MailboxStatus, *, windowed: bool) -> bool:
    if status.unseen is None or status.unseen == folder.server_unseen or not folder.is_complete:
        return False
    if windowed and folder.server_unseen is None:
        return False
    return windowed or status.unseen != folder.live_unseen


def _numbers_differ(folder: FolderState, status: MailboxStatus, *, windowed: bool) -> bool:
    # a difference that stays is examined again when the server's numbers change, not at every tick
    unchanged = (status.messages, status.uidnext) == (folder.server_messages, folder.uidnext)
    if status.messages is None or unchanged:
        return False
    countable = folder.is_complete and not windowed
    return status.messages != (folder.live_count if countable else folder.server_messages)


def _scan_interval(folder: FolderState, settings: Settings) -> float:
    return settings.flag_scan_priority_interval if folder.is_priority else settings.flag_scan_interval
