"""``verify``: compare an account's rows with the server."""

from __future__ import annotations

import signal
from contextlib import closing

import click

from mailsync.cli import common
from mailsync.cli.commands.sync import SYNC_WAIT
from mailsync.cli.common import email_argument, emit, json_option, note, say
from mailsync.cli.progress import waiting
from mailsync.cli.terminal import fit, many, printable
from mailsync.core.advice import action_for
from mailsync.core.contradictions import LIMITATIONS
from mailsync.engine import verify as engine_verify
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.engine.verify import NO_SUCH_FOLDER
from mailsync.engine.verify_report import Difference, FolderReport, Report
from mailsync.errors import Stopped
from mailsync.store import db

_SHOWN = 20
_PATHS = 5


@click.command()
@email_argument
@json_option
def verify(email: str, as_json: bool) -> int:
    """Compare an account's rows with the mail server: UIDs, flags, sizes and dates of every message.

    Nothing changes on either side. Each difference is printed with its UID and both values, and makes the
    exit code 1. New mail since the last sync counts as a difference, so sync first. Folders whose first sync
    is not complete are not compared, and make the exit code 1 too.

    \b
    Example:
      mailsync sync you@fastmail.com && mailsync verify you@fastmail.com
    """
    with (
        common.account(email, "IMAP_ENCRYPTION_KEY") as (conn, settings, account_id),
        common.stoppable() as stop,
        closing(SessionCache(settings)) as sessions,
    ):
        env = TurnEnvironment(conn, settings, db.started_by("cli"), sessions, stop=stop)
        try:
            report = engine_verify.verify(env, account_id, wait=SYNC_WAIT, on_pause=_pause)
        except Stopped:
            note("mailsync: stopped; nothing was changed")
            return 128 + signal.SIGINT
    is_complete = _is_begun(report) and not report.incomplete
    is_equal = is_complete and not report.different
    if as_json:
        emit(
            {
                "email": email,
                "equal": is_equal,
                "complete": is_complete,
                "messages": report.messages,
                "differences": report.different,
                "folders": list(report.folders.values()),
            }
        )
    else:
        say(describe(report))
        for line in _advice(report, printable(email)):
            note(line)
    return 0 if is_equal else 1


def _is_begun(report: Report) -> bool:
    """Whether the account has folders: its first sync lists them, and INBOX is always among them."""
    return any(folder.folder_id is not None for folder in report.folders.values())


def _advice(report: Report, email: str) -> list[str]:
    """The commands that help against the differences found."""
    if not _is_begun(report):
        return [f"to begin it here: `mailsync sync {email}`; then verify again"]
    kinds = {kind for folder in report.folders.values() for kind in folder.counts}
    gone = any(d.server == NO_SUCH_FOLDER for f in report.folders.values() for d in f.differences)
    advice = []
    others = kinds - {"outside_window", "placeholder", *LIMITATIONS}
    if report.incomplete:
        advice.append(f"to complete the first sync: `mailsync sync {email}`; then verify again")
    elif others and not (gone and others <= {"extra"}):
        advice.append(
            f"`mailsync sync {email}` fetches what is new since the last sync; --full compares everything"
        )
    if gone:
        advice.append(
            "rows of a folder that is gone are kept for FOLDER_MISSING_GRACE;"
            f" to drop them now: `mailsync untrack-folder {email} PATH`"
        )
    if "placeholder" in kinds:
        advice.append(
            "messages without content are fetched again from time to time;"
            f" to try now: `mailsync sync {email} --full`"
        )
    advice += [action_for(kind, email) for kind in LIMITATIONS if kind in kinds]
    if "outside_window" in kinds:
        advice.append("a running worker removes rows that are older than the window within the hour")
    return advice


def describe(report: Report) -> str:
    """The differences and their total, for people."""
    if not _is_begun(report):
        return "✗ The first sync has not begun: nothing to compare yet"
    lines = []
    for folder in report.folders.values():
        if folder.different:
            lines += _describe_folder(folder)
    compared = len(report.folders) - len(report.incomplete)
    scope = f"{many(report.messages, 'message')} in {many(compared, 'folder')}"
    if report.different:
        lines.append(f"✗ {many(report.different, 'difference')} in {scope} compared with the server")
    else:
        lines.append(f"✓ {scope} compared with the server: all equal")
    if report.incomplete:
        paths = ", ".join(fit(folder.path, 60) for folder in report.incomplete[:_PATHS])
        more = f" and {len(report.incomplete) - _PATHS:,} more" if len(report.incomplete) > _PATHS else ""
        lines.append(
            f"✗ The first sync is not complete: {many(len(report.incomplete), 'folder')} not compared"
            f" ({paths}{more})"
        )
    return "\n".join(lines)


_WORDS = {
    "missing": "not mirrored",
    "extra": "gone on the server",
    "flags": "with other flags",
    "size_bytes": "with another size",
    "internal_date": "with another date",
    "placeholder": "without content",
    "uidvalidity": "UIDVALIDITY changed",
    "unreadable": "cannot be compared",
    "partial_view": "shown in part by the server",
    "uids_not_sticky": "cannot be compared",
    "live_count": "with another count of rows",
    "live_unseen": "with another count of unread rows",
    "outside_window": "older than the window",
    "stray": "of another UIDVALIDITY",
}
"""Kind of difference → its wording; any other kind is shown by its name."""


_VALUES = {"size_bytes": "size", "internal_date": "date", "uidvalidity": "UIDVALIDITY"}
_KEPT = {"live_count": "rows", "live_unseen": "unread rows"}


def _describe_folder(folder: FolderReport) -> list[str]:
    if folder.folder_id is None:
        return [f"{fit(folder.path, 60)}: on the server, but not in the mirror"]
    counts = ", ".join(f"{count:,} {_WORDS.get(kind, kind)}" for kind, count in folder.counts.items())
    lines = [f"{fit(folder.path, 60)}: {counts}"]
    shown = folder.differences[:_SHOWN]
    own_name = f"{printable(folder.path)}: "
    lines += [f"  {_describe(difference).removeprefix(own_name)}" for difference in shown]
    if folder.different > len(shown):
        lines.append(f"  … and {folder.different - len(shown):,} more")
    return lines


def _describe(difference: Difference) -> str:
    prefix = "" if difference.uid is None else f"UID {difference.uid}: "
    if difference.server is None:
        return f"{prefix}{_WORDS.get(difference.kind, difference.kind)}"
    if difference.mirror is None:
        return f"{prefix}{printable(difference.server)}"
    server, mirror = printable(difference.server), printable(difference.mirror)
    if difference.server == NO_SUCH_FOLDER:
        return f"{server} on the server; {mirror}"
    if difference.kind in _KEPT:
        return f"{_KEPT[difference.kind]}: {server}, {mirror} in the column {difference.kind}"
    return f"{prefix}{_VALUES.get(difference.kind, difference.kind)} {server} on the server, {mirror} here"


def _pause(seconds: float) -> None:
    note(f"  {waiting(seconds)}")
