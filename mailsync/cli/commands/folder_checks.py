"""The folders of ``check-account``: both sides' counts, when each was compared, what is due when."""

from __future__ import annotations

from datetime import datetime

from mailsync.cli.commands.folders import document, grace_ends, numerous, remarks, state
from mailsync.cli.terminal import ago, due, screen, table, wrap
from mailsync.config import Settings
from mailsync.model import FolderState
from mailsync.store.account_views import AccountDetails


def folder_checks(found: list[FolderState], details: AccountDetails, settings: Settings) -> str:
    """The folders for people: a line of counts each, and below it what was compared and what is due."""
    columns, _ = screen()
    rows = [
        (f.path, state(f), _count(f.server_messages), _count(f.server_unseen), f.live_count, f.live_unseen)
        for f in found
    ]
    heads = ("FOLDER", "STATE", "SERVER", "UNREAD", "ROWS", "UNREAD")
    head, *lines = table(
        heads, rows, numbers="SERVER UNREAD ROWS", limits={"STATE": 19}, flexible="FOLDER", columns=columns
    ).split("\n")
    shown = [head]
    for line, folder in zip(lines, found, strict=True):
        shown.append(line)
        shown += wrap("; ".join(_plan(folder, details)), columns, "  ")
        for remark in remarks(folder, details.now, settings):
            shown += wrap(remark, columns, "  ")
    return "\n".join(shown + numerous(found, settings))


def folder_check(folder: FolderState, details: AccountDetails, settings: Settings) -> dict[str, object]:
    """The same as JSON."""
    scans = scans_flags(folder, details)
    return document(folder) | {
        "polled_at": folder.polled_at,
        "compared_at": compared_at(folder, details),
        "flags_by": None if not folder.tracked else "scan" if scans else "changedsince",
        "next_flag_scan_at": folder.next_flag_scan_at if scans and folder.is_complete else None,
        "next_reconcile_at": folder.next_reconcile_at,
        "suspect_deletion_at": folder.suspect_deletion_at,
        "missing_grace_ends_at": grace_ends(folder, settings),
    }


def compared_at(folder: FolderState, details: AccountDetails) -> datetime | None:
    """When the folder was last compared with the server; None if it never was.

    A turn that finds nothing new writes no folder row: that all folders, or inbox and sent mail, were
    compared then stands in the account.
    """
    if folder.last_synced_at is None:
        return None
    times = [folder.last_synced_at, folder.polled_at]
    if folder.tracked and not folder.last_error and not folder.missing_since:
        times.append(details.overall_synced_at)
        if folder.is_priority:
            times.append(details.priority_synced_at)
    return max(at for at in times if at is not None)


def scans_flags(folder: FolderState, details: AccountDetails) -> bool:
    """Whether the folder's flags are scanned at times, since the server has no CONDSTORE for it."""
    # 0 is NOMODSEQ (RFC 7162 §3.1.2.2), and one below our cursor tells nothing, whatever the server offers
    modseq = folder.server_modseq or 0
    return "CONDSTORE" not in details.capabilities or not modseq or modseq < folder.highest_modseq


def _plan(folder: FolderState, details: AccountDetails) -> list[str]:
    if not folder.tracked or folder.missing_since or folder.status == "missing":
        return []
    now = details.now
    said = [f"{folder.role}, priority {folder.sync_priority}" if folder.role else ""]
    if folder.status == "pending":
        return [part for part in (*said, "waits for the backfill pass") if part]
    if folder.status == "initial":
        begins = folder.initial_oldest_uid
        said.append(f"mirrored from uid {begins} to {folder.last_uid}" if begins else "")
    compared = compared_at(folder, details)
    said.append(f"compared {ago(compared, now)}")
    if scans_flags(folder, details):
        said.append(f"flags: scan {due(folder.next_flag_scan_at, now)}" if folder.is_complete else "")
    else:
        said.append("flags: CHANGEDSINCE")
    again = f"next {due(folder.next_reconcile_at, now)}" if folder.is_complete else ""
    if folder.last_reconciled_at:
        clean = "equal" if folder.last_reconcile_clean else "NOT equal"
        said.append(f"reconciled {clean} {ago(folder.last_reconciled_at, now)}" + (again and f", {again}"))
    else:
        said.append(again and f"never reconciled, {again}")
    return [part for part in said if part]


def _count(value: int | None) -> object:
    return "-" if value is None else value
