"""The folders of ``check-account``: the counts of server and mirror, the last comparison, the next ones."""

from __future__ import annotations

from datetime import datetime

from mailsync.cli.commands.folders import document, grace_ends, remarks, state
from mailsync.cli.terminal import ago, due, screen, table, wrap
from mailsync.config import Settings
from mailsync.core.planning import scans_flags
from mailsync.model import FolderState
from mailsync.store.account_views import AccountDetails


def folder_checks(listed: list[FolderState], details: AccountDetails, settings: Settings) -> str:
    """The folders for people: a line of counts for each, and below it what was compared and what is due."""
    columns, _ = screen()
    rows = [
        (f.path, state(f), _count(f.server_messages), _count(f.server_unseen), f.live_count, f.live_unseen)
        for f in listed
    ]
    heads = ("FOLDER", "STATE", "SERVER", "UNREAD", "ROWS", "UNREAD")
    head, *lines = table(
        heads,
        rows,
        numbers="SERVER UNREAD ROWS",
        flexible="FOLDER STATE",
        drop="UNREAD SERVER",
        columns=columns,
    ).split("\n")
    shown = [head]
    for line, folder in zip(lines, listed, strict=True):
        shown.append(line)
        shown += wrap("; ".join(_plan(folder, details)), columns, "  ")
        for remark in remarks(folder, details.now, settings):
            shown += wrap(remark, columns, "  ")
    return "\n".join(shown)


def folder_check(folder: FolderState, details: AccountDetails, settings: Settings) -> dict[str, object]:
    """The folder as JSON, with the times of its comparisons."""
    scans = scans_flags(folder, condstore="CONDSTORE" in details.capabilities)
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

    A turn that finds no change writes no folder row. It only notes in the account that all folders, or the
    priority folders, were compared.
    """
    if folder.last_synced_at is None:
        return None
    times = [folder.last_synced_at, folder.polled_at]
    if folder.tracked and not folder.last_error and not folder.missing_since:
        times.append(details.overall_synced_at)
        if folder.is_priority:
            times.append(details.priority_synced_at)
    return max(when for when in times if when is not None)


def _plan(folder: FolderState, details: AccountDetails) -> list[str]:
    if not folder.tracked or folder.missing_since or folder.status == "missing":
        return []
    now = details.now
    parts = [f"{folder.role}, priority {folder.sync_priority}" if folder.role else ""]
    if folder.status == "pending":
        return [part for part in (*parts, "waits for its first sync") if part]
    if folder.status == "initial":
        oldest = folder.initial_oldest_uid
        parts.append(f"mirrored from UID {oldest} to {folder.last_uid}" if oldest else "")
    compared = compared_at(folder, details)
    parts.append(f"compared {ago(compared, now)}")
    if scans_flags(folder, condstore="CONDSTORE" in details.capabilities):
        parts.append(f"flags: by scan, {due(folder.next_flag_scan_at, now)}" if folder.is_complete else "")
    else:
        parts.append("flags: by CHANGEDSINCE")
    following = f"next {due(folder.next_reconcile_at, now)}" if folder.is_complete else ""
    if folder.last_reconciled_at:
        clean = "equal" if folder.last_reconcile_clean else "NOT equal"
        last = f"reconciled {clean} {ago(folder.last_reconciled_at, now)}"
        parts.append(f"{last}, {following}" if following else last)
    else:
        parts.append(following and f"never reconciled, {following}")
    return [part for part in parts if part]


def _count(value: int | None) -> object:
    return "-" if value is None else value
