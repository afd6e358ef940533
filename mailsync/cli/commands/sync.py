"""``sync``: one account, now, to the end."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from dataclasses import dataclass

import click

from mailsync.cli import common
from mailsync.cli.common import email_argument, emit, json_option, note, say
from mailsync.cli.progress import SyncProgress, sync_progress
from mailsync.cli.terminal import fit, many, printable
from mailsync.config import Settings
from mailsync.engine.catch_up import Progress, catch_up
from mailsync.engine.runner import TurnEnvironment
from mailsync.engine.session_cache import Sessions
from mailsync.engine.turn import StopSignal
from mailsync.errors import PoisonousServer, Stopped
from mailsync.redaction import redact
from mailsync.store import accounts, db, folders
from mailsync.store.db import Connection

SYNC_WAIT = 10.0
"""Seconds in the lock's queue; a holder that lives lets others in at each batch, so it is rarely so long."""


@dataclass(frozen=True)
class Synced:
    """What a sync did, and how the account stands after it."""

    email: str
    messages: int
    folders: int
    messages_new: int
    flags_changed: int
    messages_deleted: int
    seconds: float
    sync_state: str
    sync_state_reason: str | None
    folder_errors: dict[str, str]


@click.command()
@email_argument
@click.option("--full", is_flag=True, help="Also list the folders anew, and compare all UIDs and all flags.")
@json_option
def sync(email: str, full: bool, as_json: bool) -> int:
    """Sync one account to the end: fresh mail, then the whole backfill, then once more what came meanwhile.

    It may be interrupted at any moment and goes on from there. While it runs it lets a worker, the API and
    others in at every batch; it waits up to 10 s for its own turn (then exit code 3). A backoff after errors
    is ignored, the limit of commands a minute is kept. A server whose answers ended earlier processes is
    tried too, after a line that says so.

    \b
    Example:
      mailsync sync you@fastmail.com
    """
    with (
        common.account(email, "IMAP_ENCRYPTION_KEY") as (conn, settings, account_id),
        common.stoppable() as stop,
    ):
        for status in accounts.statuses(conn, account_id):
            if status.sync_state_reason == PoisonousServer.code:
                known = printable(redact(status.sync_state_message or ""))
                note(f"mailsync: {known}; trying it all the same")
        try:
            with sync_progress() as progress:
                done = run_sync(conn, settings, account_id, progress, stop, full=full)
        except Stopped:
            note(f"mailsync: stopped; `mailsync sync {printable(email)}` goes on from here")
            return 128 + signal.SIGINT
    if as_json:
        emit(done)
    else:
        say(summary(done))
    for path, error in done.folder_errors.items():
        note(f"mailsync: {printable(path)}: {printable(redact(error))}")
    return 1 if done.folder_errors else 0


def run_sync(
    conn: Connection,
    settings: Settings,
    account_id: int,
    progress: SyncProgress,
    stop: StopSignal,
    *,
    full: bool = False,
) -> Synced:
    """Sync the account and say what was done; raises what ends a turn in failure, Stopped on request."""
    begun = time.monotonic()
    with closing(Sessions(settings)) as sessions:
        env = TurnEnvironment(
            conn, settings, db.started_by("cli"), sessions, stop=stop, on_progress=progress.take
        )
        done = catch_up(env, account_id, wait=SYNC_WAIT, full=full, on_pause=progress.pause)
    progress.finish()
    return _synced(conn, account_id, done, time.monotonic() - begun)


def _synced(conn: Connection, account_id: int, done: Progress, seconds: float) -> Synced:
    status = accounts.statuses(conn, account_id)[0]
    tracked = [folder for folder in folders.load(conn, account_id) if folder.tracked]
    return Synced(
        email=status.email,
        messages=status.messages,
        folders=status.folders,
        messages_new=done.total("messages_new"),
        flags_changed=done.total("flags_changed"),
        messages_deleted=done.total("messages_deleted"),
        seconds=round(seconds, 3),
        sync_state=status.sync_state,
        sync_state_reason=status.sync_state_reason,
        folder_errors={folder.path: folder.last_error for folder in tracked if folder.last_error},
    )


def summary(done: Synced) -> str:
    """``✓ you@example.com: 1,204 messages in 7 folders (12 new) in 0.8 s``."""
    parts = [
        f"{done.messages_new:,} new" if done.messages_new else "",
        f"{done.flags_changed:,} with other flags" if done.flags_changed else "",
        f"{done.messages_deleted:,} deleted" if done.messages_deleted else "",
    ]
    changes = ", ".join(part for part in parts if part) or "nothing changed"
    mark = "✗" if done.folder_errors else "✓"
    held = f"{many(done.messages, 'message')} in {many(done.folders, 'folder')}"
    return f"{mark} {fit(done.email, 60)}: {held} ({changes}) in {done.seconds:.1f} s"
