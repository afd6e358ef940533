"""What a visit to a folder has to do: pure functions of what we hold and what the server says.

The table of cases is ``tests/unit/test_planning.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from mailsync.config import Settings
from mailsync.model import FolderPlan, FolderState, MailboxStatus

NOTHING = FolderPlan()


def plan_folder(
    folder: FolderState, status: MailboxStatus, now: datetime, *, condstore: bool, full: bool = False
) -> FolderPlan:
    """Decide from the folder's state and the server's status what a visit has to do.

    `condstore` tells whether the server offers CONDSTORE (RFC 7162); `full` forces a flag scan and a
    reconcile. A folder whose first sync has not begun has nothing to keep fresh: backfill begins it.
    """
    if not folder.tracked or folder.missing_since or folder.status in ("pending", "missing"):
        return NOTHING
    if status.uidvalidity and folder.uidvalidity and status.uidvalidity != folder.uidvalidity:
        return FolderPlan(new_mail=True, reasons=("uidvalidity",))
    reasons = []
    if new_mail := _has_new_mail(folder, status):
        reasons.append("new_mail")
    if flags := _flags(folder, status, now, condstore=condstore, full=full):
        reasons.append(f"flags_{flags}")
    if _numbers_differ(folder, status):
        reasons.append("messages")
    # in a folder that is not complete it is the backfill that failed, and that has to succeed
    if folder.last_error and folder.is_complete and _is_due(folder.retry_at, now):
        reasons.append("retry")
    if reconcile := full or _is_due(folder.next_reconcile_at, now):
        reasons.append("reconcile")
    return FolderPlan(new_mail=new_mail, flags=flags, reconcile=reconcile, reasons=tuple(reasons))


def folders_to_poll(
    folders: Sequence[FolderState], cursor: int, settings: Settings
) -> tuple[list[FolderState], int]:
    """Choose the folders to ask by STATUS where the server has no LIST-STATUS.

    Returns priority folders and the next ``SYNC_RR_FOLDERS`` others after the folder id `cursor`, and the new
    cursor, which is 0 when the round over the others is complete.
    """
    priority = [f for f in folders if f.is_priority][: settings.sync_priority_folders]
    others = sorted((f for f in folders if f not in priority), key=lambda f: f.id)
    ahead = [f for f in others if f.id > cursor]
    chosen = ahead[: settings.sync_rr_folders]
    wrapped = len(ahead) <= settings.sync_rr_folders
    return priority + chosen, 0 if wrapped else chosen[-1].id


def next_flag_scan(folder: FolderState, now: datetime, settings: Settings) -> datetime:
    """When the folder's flags are scanned again if nothing shows a change before."""
    seconds = settings.flag_scan_priority_interval if folder.is_priority else settings.flag_scan_interval
    return now + timedelta(seconds=seconds)


def next_reconcile(now: datetime, settings: Settings, chance: float) -> datetime:
    """When the folder is reconciled again as a safety net; `chance` in 0 … 1 spreads it over the jitter."""
    return now + timedelta(seconds=settings.reconcile_interval + settings.reconcile_jitter * chance)


def _has_new_mail(folder: FolderState, status: MailboxStatus) -> bool:
    # UIDNEXT proves nothing, it may be far ahead or go back: any difference is worth a look
    return status.uidnext is None or status.uidnext != folder.uidnext


def _flags(
    folder: FolderState, status: MailboxStatus, now: datetime, *, condstore: bool, full: bool
) -> str | None:
    if full:
        return "scan"
    if condstore and status.modseq:
        if folder.highest_modseq and status.modseq < folder.highest_modseq:
            return "scan"
        return "changes" if status.modseq != folder.server_modseq else None
    unseen_differs = (
        folder.is_complete
        and status.unseen is not None
        and status.unseen != folder.live_unseen
        and status.unseen != folder.server_unseen
    )
    return "scan" if unseen_differs or _is_due(folder.next_flag_scan_at, now) else None


def _numbers_differ(folder: FolderState, status: MailboxStatus) -> bool:
    # a difference that remains is looked at again when the server's tuple changes, not every tick
    return (
        folder.is_complete
        and status.messages is not None
        and status.messages != folder.live_count
        and (status.messages, status.uidnext) != (folder.server_messages, folder.uidnext)
    )


def _is_due(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment <= now
