"""``sync``: one account, now, until it is complete."""

from __future__ import annotations

import shlex
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
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn import StopSignal
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import PoisonousServer, Stopped
from mailsync.redaction import redact
from mailsync.store import accounts, db, folders
from mailsync.store.db import Connection

SYNC_WAIT = 10.0
"""Seconds to wait for the account's lock. A live holder yields at each batch, so waits are short."""


@dataclass(frozen=True)
class Synced:
    """The figures of a sync, and the account's state after it."""

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
    limitations: dict[str, str]
    incomplete: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every tracked folder is mirrored as a whole."""
        return not (self.folder_errors or self.limitations or self.incomplete)


@click.command()
@email_argument
@click.option("--full", is_flag=True, help="Also list the folders again, and compare all UIDs and all flags.")
@json_option
def sync(email: str, full: bool, as_json: bool) -> int:
    """Sync one account until it is complete: new mail first, then the first sync of each folder.

    You can interrupt it at any time; the next sync continues from there. Workers and the API may use the
    account between batches. If another process keeps it busy for 10 s, sync ends with exit code 3. sync does
    not wait for the backoff after errors to end, but keeps to IMAP_MAX_COMMANDS_PER_MINUTE.

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
                problem = printable(redact(status.sync_state_message or ""))
                note(f"mailsync: {problem}; trying anyway")
        try:
            with sync_progress() as progress:
                synced = run_sync(conn, settings, account_id, progress, stop, full=full)
        except Stopped:
            note(f"mailsync: stopped; `mailsync sync {printable(email)}` continues from here")
            return 128 + signal.SIGINT
    if as_json:
        emit(synced)
    else:
        say(summary(synced))
    for line in problems(synced):
        note(line)
    return 0 if synced.is_whole else 1


def run_sync(
    conn: Connection,
    settings: Settings,
    account_id: int,
    progress: SyncProgress,
    stop: StopSignal,
    *,
    full: bool = False,
) -> Synced:
    """Sync the account until it is complete; returns what changed.

    Raises the error of a turn that fails, and Stopped when `stop` is set.
    """
    begun = time.monotonic()
    with closing(SessionCache(settings)) as sessions:
        env = TurnEnvironment(
            conn, settings, db.started_by("cli"), sessions, stop=stop, on_progress=progress.update
        )
        totals = catch_up(env, account_id, wait=SYNC_WAIT, full=full, on_pause=progress.pause)
    progress.finish()
    return _synced(conn, account_id, totals, time.monotonic() - begun)


def _synced(conn: Connection, account_id: int, totals: Progress, seconds: float) -> Synced:
    status = accounts.statuses(conn, account_id)[0]
    tracked = [folder for folder in folders.load(conn, account_id) if folder.tracked]
    return Synced(
        email=status.email,
        messages=status.messages,
        folders=status.folders,
        messages_new=totals.total("messages_new"),
        flags_changed=totals.total("flags_changed"),
        messages_deleted=totals.total("messages_deleted"),
        seconds=round(seconds, 3),
        sync_state=status.sync_state,
        sync_state_reason=status.sync_state_reason,
        folder_errors={folder.path: folder.last_error for folder in tracked if folder.last_error},
        limitations={f.path: f.limitation_message for f in tracked if f.limitation_message},
        # the other two lines already say why a folder with an error or a limitation is not complete
        incomplete=tuple(
            f.path for f in tracked if not (f.is_complete or f.last_error or f.limitation_message)
        ),
    )


def summary(synced: Synced) -> str:
    """``✓ you@example.com: 1,204 messages in 7 folders (12 new) in 0.8 s``."""
    parts = [
        f"{synced.messages_new:,} new" if synced.messages_new else "",
        f"{synced.flags_changed:,} with other flags" if synced.flags_changed else "",
        f"{synced.messages_deleted:,} deleted" if synced.messages_deleted else "",
    ]
    changes = ", ".join(part for part in parts if part) or "nothing changed"
    mark = "✓" if synced.is_whole else "✗"
    mirror = f"{many(synced.messages, 'message')} in {many(synced.folders, 'folder')}"
    return f"{mark} {fit(synced.email, 60)}: {mirror} ({changes}) in {synced.seconds:.1f} s"


def problems(synced: Synced) -> list[str]:
    """One line for each folder that is not mirrored as a whole."""
    again = f"`mailsync sync {shlex.quote(synced.email)}` continues it"
    lines = [f"{path}: {redact(error)}" for path, error in synced.folder_errors.items()]
    lines += synced.limitations.values()
    lines += [f"{path}: the first sync is not complete; {again}" for path in synced.incomplete]
    return [f"mailsync: {printable(line)}" for line in lines]
