"""``verify``: is the mirror true?"""

from __future__ import annotations

import signal
from contextlib import closing

import click

from mailsync.cli import common
from mailsync.cli.commands.sync import SYNC_WAIT
from mailsync.cli.common import email_argument, emit, json_option, note, say
from mailsync.cli.terminal import fit, many, printable
from mailsync.engine import verify as comparing
from mailsync.engine.runner import TurnEnvironment
from mailsync.engine.session_cache import Sessions
from mailsync.engine.verify import NO_SUCH_FOLDER, Difference, FolderReport, Report
from mailsync.errors import Stopped
from mailsync.store import db

_SHOWN = 20


@click.command()
@email_argument
@json_option
def verify(email: str, as_json: bool) -> int:
    """Compare every tracked folder on the server with the rows: UIDs, flags, sizes and dates.

    Nothing is changed on either side. Differences are printed by folder, with UID, kind and both values, and
    make the exit code 1; mail that arrived since the last sync is one, so sync first.

    \b
    Example:
      mailsync sync you@fastmail.com && mailsync verify you@fastmail.com
    """
    with (
        common.account(email, "IMAP_ENCRYPTION_KEY") as (conn, settings, account_id),
        common.stoppable() as stop,
        closing(Sessions(settings)) as sessions,
    ):
        env = TurnEnvironment(conn, settings, db.started_by("cli"), sessions, stop=stop)
        try:
            report = comparing.verify(env, account_id, wait=SYNC_WAIT, on_pause=_pause)
        except Stopped:
            note("mailsync: stopped; nothing was changed")
            return 128 + signal.SIGINT
    if as_json:
        emit(
            {
                "email": email,
                "equal": not report.different,
                "messages": report.messages,
                "differences": report.different,
                "folders": list(report.folders.values()),
            }
        )
    else:
        say(describe(report))
        if report.different:
            for line in _advice(report, printable(email)):
                note(line)
    return 1 if report.different else 0


def _advice(report: Report, email: str) -> list[str]:
    """What helps against the kinds of differences that there are."""
    kinds = {kind for folder in report.folders.values() for kind in folder.counts}
    gone = any(d.server == NO_SUCH_FOLDER for f in report.folders.values() for d in f.differences)
    said = []
    others = kinds - {"outside_window", "placeholder"}
    if others and not (gone and others <= {"extra"}):
        said.append(
            f"`mailsync sync {email}` brings in what is new since the last sync, and --full looks at all"
        )
    if gone:
        said.append(
            "rows of a folder that is gone stay for FOLDER_MISSING_GRACE;"
            f" `mailsync untrack-folder {email} PATH` lets go of them now"
        )
    if "placeholder" in kinds:
        said.append(
            "messages without content are asked for again by themselves, ever less often;"
            f" `mailsync sync {email} --full` asks now"
        )
    if "outside_window" in kinds:
        said.append("rows that are older than the window expire within the hour, while a worker runs")
    return said


def describe(report: Report) -> str:
    """What was compared and how it differs, for people."""
    lines = []
    for folder in report.folders.values():
        if folder.different:
            lines += _describe_folder(folder)
    held = f"{many(report.messages, 'message')} in {many(len(report.folders), 'folder')}"
    if report.different:
        lines.append(f"✗ {many(report.different, 'difference')} in {held} compared with the server")
    else:
        lines.append(f"✓ {held} compared with the server: all equal")
    return "\n".join(lines)


_SAY = {
    "missing": "not mirrored",
    "extra": "gone on the server",
    "flags": "with other flags",
    "size_bytes": "with another size",
    "internal_date": "with another date",
    "placeholder": "without content",
    "uidvalidity": "UIDVALIDITY changed",
    "unreadable": "cannot be compared",
    "unknown_folder": "not known here",
    "live_count": "with another count of rows",
    "live_unseen": "with another count of unread rows",
    "outside_window": "older than the window",
    "stray": "of another UIDVALIDITY",
}
"""How each kind of difference is worded; one that is not here is shown by its name."""


def _describe_folder(folder: FolderReport) -> list[str]:
    said = ", ".join(f"{count:,} {_SAY.get(kind, kind)}" for kind, count in folder.counts.items())
    incomplete = "" if folder.complete else " (its first sync is not complete)"
    lines = [f"{fit(folder.path, 60)}: {said}{incomplete}"]
    shown = folder.differences[:_SHOWN]
    lines += [f"  {_describe(difference)}" for difference in shown]
    if folder.different > len(shown):
        lines.append(f"  … and {folder.different - len(shown):,} more")
    return lines


def _describe(difference: Difference) -> str:
    where = "" if difference.uid is None else f"uid {difference.uid}: "
    if difference.server is None:
        return f"{where}{_SAY.get(difference.kind, difference.kind)}"
    if difference.mirror is None:
        return f"{where}{printable(difference.server)}"
    server, mirror = printable(difference.server), printable(difference.mirror)
    return f"{where}{difference.kind} {server} on the server, {mirror} here"


def _pause(seconds: float) -> None:
    note(f"  waiting {seconds:.0f}s (throttle: IMAP_MAX_COMMANDS_PER_MINUTE)")
