"""``list-folders``, ``track-folder`` and ``untrack-folder``."""

from __future__ import annotations

import click

from mailsync.cli import ground
from mailsync.cli.ground import email_argument, emit, json_option, say
from mailsync.cli.texts import printable, span, table
from mailsync.errors import InvalidInput, NotFound
from mailsync.model import FolderState
from mailsync.store import accounts, folders, turns
from mailsync.store.db import Connection

_HOLDS_NONE = ("noselect", "nonexistent")


@click.command("list-folders")
@email_argument
@json_option
def list_folders(email: str, as_json: bool) -> None:
    """List an account's folders as of the last look at the server: what is mirrored, how far, why not.

    \b
    Example:
      mailsync list-folders you@fastmail.com
    """
    with ground.account(email) as (conn, _, account_id):
        found = folders.load(conn, account_id)
        if as_json:
            emit({"folders": [document(folder) for folder in found]})
        elif found:
            say(folder_table(conn, found))
        else:
            say("No folder is known yet; the first sync lists them")


@click.command("track-folder")
@email_argument
@click.argument("path", metavar="PATH")
@json_option
def track_folder(email: str, path: str, as_json: bool) -> None:
    """Mirror a folder that is left out, such as Gmail's All Mail. The choice outlasts any rule.

    PATH is as list-folders shows it. A running worker fetches the folder's messages at once.

    \b
    Example:
      mailsync track-folder you@gmail.com "[Gmail]/All Mail"
    """
    _choose(email, path, True, as_json)


@click.command("untrack-folder")
@email_argument
@click.argument("path", metavar="PATH")
@json_option
def untrack_folder(email: str, path: str, as_json: bool) -> None:
    """Leave a folder out of the mirror; its rows become tombstones with the next sync. INBOX always stays.

    \b
    Example:
      mailsync untrack-folder you@fastmail.com "Lists/Noisy"
    """
    _choose(email, path, False, as_json)


def _choose(email: str, path: str, tracked: bool, as_json: bool) -> None:
    with ground.account(email) as (conn, _, account_id):
        folder = _find(conn, account_id, path)
        if folder.role == "inbox" and not tracked:
            raise InvalidInput("INBOX is always mirrored; to stop an account use `mailsync pause-account`")
        if folder.excluded_reason in _HOLDS_NONE and tracked:
            raise InvalidInput(f"{printable(folder.path)} holds no messages, only other folders")
        folders.choose(conn, account_id, folder.path, tracked=tracked)
        accounts.wake_worker(conn, account_id)
        if as_json:
            emit(document(_find(conn, account_id, folder.path)))
    if not as_json:
        say(f"✓ {printable(folder.path)} is {'mirrored' if tracked else 'left out'} from the next sync on")


def _find(conn: Connection, account_id: int, path: str) -> FolderState:
    for folder in folders.load(conn, account_id):
        if folder.path == path or (folder.role == "inbox" and path.upper() == "INBOX"):
            return folder
    raise NotFound(f"no folder {printable(path)[:80]!r}; `mailsync list-folders` shows those that exist")


def folder_table(conn: Connection, found: list[FolderState]) -> str:
    """The folders for people."""
    now = turns.now(conn)

    def age(folder: FolderState) -> str:
        return span((now - folder.last_synced_at).total_seconds()) if folder.last_synced_at else "-"

    rows = [(f.path, f.role or "", state(f), f.live_count, f.live_unseen, age(f)) for f in found]
    heads = ("FOLDER", "ROLE", "STATE", "MESSAGES", "UNREAD", "CHANGED")
    return table(heads, rows, numbers="MESSAGES UNREAD CHANGED", limits={"FOLDER": 32, "STATE": 28})


def state(folder: FolderState) -> str:
    """The folder's state in a few words."""
    if folder.missing_since:
        return "gone from the server"
    if not folder.tracked:
        why = folder.excluded_reason if folder.tracked_by_user is None else "by your choice"
        return f"left out ({why})" if why else "left out"
    if folder.last_error:
        return f"error: {folder.last_error}"
    if folder.status == "pending":
        return "waits for its first sync"
    if folder.status == "initial":
        return f"first sync {progress(folder)}"
    return "complete"


def progress(folder: FolderState) -> str:
    """How much of an unfinished folder is mirrored, as ``40%``."""
    if not folder.server_messages:
        return "0%"
    return f"{min(99, 100 * folder.live_count // folder.server_messages)}%"


def document(folder: FolderState) -> dict[str, object]:
    """The folder as JSON."""
    return {
        "id": folder.id,
        "path": folder.path,
        "role": folder.role,
        "tracked": folder.tracked,
        "tracked_by_user": folder.tracked_by_user,
        "excluded_reason": folder.excluded_reason,
        "status": folder.status,
        "messages": folder.live_count,
        "unseen": folder.live_unseen,
        "server_messages": folder.server_messages,
        "uidvalidity": folder.uidvalidity,
        "last_uid": folder.last_uid,
        "initial_done_at": folder.initial_done_at,
        "last_synced_at": folder.last_synced_at,
        "last_reconciled_at": folder.last_reconciled_at,
        "last_reconcile_clean": folder.last_reconcile_clean,
        "missing_since": folder.missing_since,
        "last_error": folder.last_error,
    }
