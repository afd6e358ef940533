"""``list-folders``, ``track-folder`` and ``untrack-folder``."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from mailsync.accounts import manage
from mailsync.cli import common
from mailsync.cli.common import email_argument, emit, json_option, say
from mailsync.cli.terminal import LRM, closest, due, fit, many, moment, printable, screen, span, table, wrap
from mailsync.config import Settings
from mailsync.core.folder_roles import OTHER_NAMESPACE, TOO_MANY, count_note, percent
from mailsync.core.providers import normalise_email
from mailsync.errors import InvalidInput, NotFound
from mailsync.model import FolderState
from mailsync.redaction import redact
from mailsync.store import folders, turns
from mailsync.store.db import Connection

_WHY = {
    "junk": "junk mail is left out; to mirror it, use `mailsync track-folder`",
    "trash": "deleted mail is left out; to mirror it, use `mailsync track-folder`",
    "all": "it repeats the messages of other folders, but may be the only one with archived mail;"
    " to mirror it, use `mailsync track-folder`",
    "noselect": "it holds no messages, only other folders",
    "nonexistent": "it does not exist; only folders below it do",
    "other_namespace": "it belongs to another user or is shared; to mirror it, use `mailsync track-folder`",
    "inbox_alias": "it is INBOX under a second name: UIDVALIDITY, UIDNEXT and MESSAGES are the same",
    "too_many_folders": "the account has more folders than FOLDER_MAX_COUNT; raise it, or choose folders with"
    " `mailsync track-folder`",
}
"""``excluded_reason`` → what it means and what a person can do; any other reason is shown as it is."""

NO_FOLDER = "No folder is known yet; the first sync lists them"

_COMMON = frozenset({"junk", "trash", "noselect", "nonexistent"})


@click.command("list-folders")
@email_argument
@json_option
def list_folders(email: str, as_json: bool) -> None:
    """List an account's folders: which are mirrored, how far, and why others are not.

    CHANGED is the time since mailsync last found a change in the folder. `check-account --verbose` shows when
    each folder was last compared with the server.

    \b
    Example:
      mailsync list-folders you@fastmail.com
    """
    with common.account(email) as (conn, settings, account_id):
        listed = folders.load(conn, account_id)
        if as_json:
            emit({"folders": [document(folder) for folder in listed]})
        else:
            say(folder_table(conn, listed, settings) if listed else NO_FOLDER)


@click.command("track-folder")
@email_argument
@click.argument("path", metavar="PATH")
@json_option
def track_folder(email: str, path: str, as_json: bool) -> None:
    """Mirror a folder that is left out, such as Gmail's All Mail. Your choice overrides the rules.

    PATH is the folder's path as list-folders shows it. A running worker begins at once to fetch the folder's
    messages. Rows that the folder had before come back with their ids.

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
    """Leave a folder out of the mirror. INBOX cannot be left out.

    PATH is the folder's path as list-folders shows it. At the next sync, which a running worker begins at
    once, the folder's rows become tombstones: deleted_at is set, deleted_reason is 'untracked'. They are kept
    for TOMBSTONE_RETENTION_DAYS. Nothing changes on the mail server.

    \b
    Example:
      mailsync untrack-folder you@fastmail.com "Lists/Noisy"
    """
    _choose(email, path, False, as_json)


def _choose(email: str, path: str, tracked: bool, as_json: bool) -> None:
    with common.account(email) as (conn, settings, account_id):
        folder = _find(conn, account_id, normalise_email(email), path)
        manage.choose_folder(conn, folder, tracked=tracked)
        if as_json:
            emit(document(folders.load(conn, account_id, folder.id)[0]))
        else:
            say(_effect(folder, tracked, settings))


def _effect(before: FolderState, tracked: bool, settings: Settings) -> str:
    """The consequences of the choice, and when they come."""
    name = fit(before.path, 60)
    if tracked:
        if before.tracked:
            return f"✓ {name} is mirrored already, and stays mirrored whatever the rules say"
        missing = "; it is not on the server now" if before.missing_since else ""
        return f"✓ {name} is mirrored: the next sync fetches its messages{missing}"
    if not before.tracked and not before.live_count:
        return f"✓ {name} is left out already, and stays left out whatever the rules say"
    if not before.live_count:
        return f"✓ {name} is left out from the next sync on"
    return (
        f"✓ {name} is left out: the next sync makes its {many(before.live_count, 'row')} tombstones,"
        f" which are kept for {settings.tombstone_retention_days} days"
    )


def _find(conn: Connection, account_id: int, email: str, path: str) -> FolderState:
    # A new folder may have the name of one that is gone: prefer the one that exists.
    known = sorted(folders.load(conn, account_id), key=lambda folder: folder.missing_since is not None)
    for folder in known:
        if folder.path == path or (folder.role == "inbox" and path.upper() == "INBOX"):
            return folder
    # A path with characters that steer a terminal cannot be typed, only copied as it is shown.
    alike = [folder for folder in known if printable(folder.path) == path.replace(LRM, "")]
    if len(alike) > 1:
        raise InvalidInput(
            f"{len(alike)} folders are shown as {printable(path)[:80]!r};"
            f" give the path from `mailsync list-folders {email} --json`"
        )
    if not alike:
        meant = closest(path, [folder.path for folder in known])
        hint = f"did you mean {printable(meant)[:80]!r}?" if meant else f"see `mailsync list-folders {email}`"
        raise NotFound(f"no folder {printable(path)[:80]!r}; {hint}")
    return alike[0]


def folder_table(conn: Connection, listed: list[FolderState], settings: Settings) -> str:
    """The folders for people, with a remark below each one that needs an explanation."""
    now = turns.now(conn)
    columns, _ = screen()

    def age(folder: FolderState) -> str:
        return span((now - folder.last_synced_at).total_seconds()) if folder.last_synced_at else "-"

    rows = [(f.path, f.role or "", state(f), f.live_count, f.live_unseen, age(f)) for f in listed]
    heads = ("FOLDER", "ROLE", "STATE", "MESSAGES", "UNREAD", "CHANGED")
    numbers = "MESSAGES UNREAD CHANGED"
    head, *lines = table(
        heads, rows, numbers=numbers, flexible="FOLDER STATE", drop="ROLE CHANGED UNREAD", columns=columns
    ).split("\n")
    shown = [head]
    for line, folder in zip(lines, listed, strict=True):
        shown.append(line)
        why = folder.excluded_reason not in _COMMON or bool(folder.last_error or folder.missing_since)
        for remark in remarks(folder, now, settings) if why else []:
            shown += wrap(remark, columns, "    ")
    return "\n".join(shown + numerous(listed, settings))


def numerous(listed: list[FolderState], settings: Settings) -> list[str]:
    """A remark on the number of folders, if it exceeds FOLDER_WARN_COUNT or FOLDER_MAX_COUNT."""
    note = count_note(listed, settings.folder_warn_count, settings.folder_max_count)
    return ["", *wrap(note, screen()[0], "")] if note else []


def state(folder: FolderState) -> str:
    """The folder's state in two or three words; :func:`remarks` says more."""
    if folder.missing_since or folder.status == "missing":
        return "gone from server"
    if not folder.tracked:
        why = folder.excluded_reason if folder.tracked_by_user is None else "by your choice"
        return f"left out ({why})" if why else "left out"
    if folder.last_error:
        return "error"
    if folder.status == "pending":
        return "not synced yet"
    if folder.status == "initial":
        return f"first sync {progress(folder)}"
    return "in part" if folder.limitation else "complete"


def remarks(folder: FolderState, now: datetime, settings: Settings) -> list[str]:
    """Sentences that explain the folder's state; none if all is well."""
    sentences = []
    if folder.missing_since:
        ends = grace_ends(folder, settings)
        effect = f"its rows become tombstones {due(ends, now)} unless it comes back"
        if folder.status == "missing" or not folder.live_count:
            effect = "it has no live rows, and gets them back if it comes back"
        sentences.append(f"not listed by the server since {moment(folder.missing_since)}; {effect}")
    if folder.tracked and folder.tracked_by_user is None and folder.excluded_reason == OTHER_NAMESPACE:
        sentences.append(
            "it belongs to another user or is shared, and stays mirrored because it was before;"
            " to leave it out, use `mailsync untrack-folder`"
        )
    if folder.tracked_by_user and folder.excluded_reason:
        why = printable(folder.excluded_reason)
        sentences.append(f"mirrored by your choice; the rules would leave it out ({why})")
    elif folder.tracked_by_user is None and not folder.tracked and folder.excluded_reason:
        sentences.append(_WHY.get(folder.excluded_reason, f"left out: {printable(folder.excluded_reason)}"))
    if folder.excluded_reason == TOO_MANY and folder.tracked_by_user is None and folder.live_count:
        sentences.append("its rows stay, but are not compared with the server")
    elif not folder.tracked and folder.live_count and not folder.missing_since:
        sentences.append("its rows become tombstones at the next sync")
    if folder.suspect_deletion_at:
        sentences.append(
            f"more than half of its messages seemed deleted at {moment(folder.suspect_deletion_at)};"
            " its rows stay until a second comparison shows the same"
        )
    if folder.tracked and folder.limitation_message:
        sentences.append(printable(folder.limitation_message.removeprefix(f"{folder.path}: ")))
    if folder.last_error:
        again = f" (tried again {due(folder.retry_at, now)})" if folder.retry_at else ""
        sentences.append(f"error: {printable(redact(folder.last_error))}{again}")
    return sentences


def grace_ends(folder: FolderState, settings: Settings) -> datetime | None:
    """When the rows of a folder that is gone from the server become tombstones; None for other folders."""
    if folder.missing_since is None:
        return None
    return folder.missing_since + timedelta(seconds=settings.folder_missing_grace)


def progress(folder: FolderState) -> str:
    """How much of an unfinished folder is mirrored, as ``40%``."""
    return f"{percent(folder)}%"


def document(folder: FolderState) -> dict[str, object]:
    """The folder as JSON: ``messages`` and ``unseen`` count rows, ``server_…`` are the server's numbers."""
    return {
        "id": folder.id,
        "path": folder.path,
        "role": folder.role,
        "sync_priority": folder.sync_priority,
        "tracked": folder.tracked,
        "tracked_by_user": folder.tracked_by_user,
        "excluded_reason": folder.excluded_reason,
        "status": folder.status,
        "percent": percent(folder) if folder.tracked else None,
        "messages": folder.live_count,
        "unseen": folder.live_unseen,
        "server_messages": folder.server_messages,
        "server_unseen": folder.server_unseen,
        "uidvalidity": folder.uidvalidity,
        "last_uid": folder.last_uid,
        "initial_done_at": folder.initial_done_at,
        "last_synced_at": folder.last_synced_at,
        "last_reconciled_at": folder.last_reconciled_at,
        "last_reconcile_clean": folder.last_reconcile_clean,
        "missing_since": folder.missing_since,
        "limitation": folder.limitation,
        "limitation_message": folder.limitation_message,
        "last_error": folder.last_error,
        "retry_at": folder.retry_at,
    }
