"""``check-account``: what is wrong with an account, since when, and what to do; --verbose adds details."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import click

from mailsync.cli import common
from mailsync.cli.commands.folder_checks import folder_check, folder_checks
from mailsync.cli.commands.folders import NO_FOLDER, numerous, remarks
from mailsync.cli.commands.list_accounts import state
from mailsync.cli.commands.server_lines import offers, sign_in
from mailsync.cli.common import email_argument, emit, json_option, say
from mailsync.cli.terminal import ago, due, fit, many, moment, printable, screen, span, table, wrap
from mailsync.config import Settings
from mailsync.core.advice import ACTIONS, action_for
from mailsync.errors import NotFound
from mailsync.model import FolderState
from mailsync.redaction import redact
from mailsync.store import accounts, folders
from mailsync.store.account_views import AccountDetails, details, last_failure
from mailsync.store.accounts import AccountStatus, LockHolder

_RUNS = 5
_HOURLY_TRIES = timedelta(days=7)
_TRIED_HOURLY = ("stuck", "not_connected")
_REPORTED = {
    "notify": "changes in all folders (NOTIFY)",
    "idle": "changes in the inbox (IDLE); the next sync finds the others",
    "none": "nothing; the next sync finds what changed",
}
_LABEL = 10


@click.command("check-account")
@email_argument
@click.option("--verbose", is_flag=True, help="Also show server, lags, lock, every folder and the last runs.")
@json_option
def check_account(email: str, verbose: bool, as_json: bool) -> None:
    """Show what is wrong with an account, since when, and what to do; then what is mirrored and what is next.

    --verbose adds the server, the lags, the lock, the last runs, and for each folder the messages on the
    server and in the mirror, the last comparison and the next one. The mail server is not asked; to compare
    with it, use `mailsync verify`.

    \b
    Example:
      mailsync check-account you@fastmail.com
      mailsync check-account you@fastmail.com --verbose
      mailsync check-account you@fastmail.com --json | jq '.folders[].path'
    """
    with common.account(email) as (conn, settings, account_id):
        holder = accounts.lock_holder(conn, account_id)
        listed = folders.load(conn, account_id)
        runs = accounts.recent_runs(conn, account_id, _RUNS)
        failed = last_failure(conn, account_id)
        more = details(conn, account_id)
        statuses = accounts.statuses(conn, account_id)
    if not statuses:
        raise NotFound(f"{email} was removed just now")
    status = statuses[0]
    if as_json:
        emit(
            {
                "account": _document(status, more),
                "lock": _lock_document(holder, status, more) if holder else None,
                "folders": [folder_check(folder, more, settings) for folder in listed],
                "runs": runs,
                "last_failure": failed,
            }
        )
        return
    parts = ["\n".join(_summary(status, more, holder, listed, failed, settings))]
    if verbose:
        parts.append("\n".join(_details(status, more, holder)))
        parts.append(folder_checks(listed, more, settings) if listed else NO_FOLDER)
        if runs:
            parts.append(_run_table(runs, failed, more.now))
    else:
        parts.append(f"Details: mailsync check-account {shlex.quote(status.email)} --verbose")
    say("\n\n".join(parts))


def _document(status: AccountStatus, more: AccountDetails) -> dict[str, object]:
    extra = asdict(more)
    now = extra.pop("now")
    shown = {"checked_at": now, "next_try_at": next_try(status), "action": _action(status)}
    return asdict(status) | extra | shown


def _action(status: AccountStatus) -> str | None:
    """The remedy that a person can apply; None unless the account is broken or degraded."""
    if status.sync_state not in ("broken", "degraded"):
        return None
    return action_for(status.sync_state_reason, status.email, status.auth_method)


def _lock_document(holder: LockHolder, status: AccountStatus, more: AccountDetails) -> dict[str, object]:
    held_seconds = _held_seconds(status, more)
    return {
        "pid": holder.pid,
        "role": holder.role,
        "application_name": holder.application_name,
        "connected_at": holder.connected_at,
        "is_mailsync": holder.is_mailsync,
        "started_by": holder.started_by if holder.is_mailsync else None,
        "heartbeat_age_seconds": holder.heartbeat_age if holder.is_mailsync else None,
        "held_seconds": held_seconds if holder.is_mailsync else None,
        "waiters": more.lock_waiters,
    }


def next_try(status: AccountStatus) -> datetime | None:
    """When the account is synced next; None if a person has to act first."""
    if status.paused_at:
        return None
    if status.sync_state == "broken":
        if status.sync_state_reason not in _TRIED_HOURLY:
            return None
        ends = status.sync_state_since + _HOURLY_TRIES
        if max(status.next_sync_at, status.backoff_until or status.next_sync_at) > ends:
            return None
    return max(status.next_sync_at, status.backoff_until or status.next_sync_at)


def _summary(
    a: AccountStatus,
    more: AccountDetails,
    holder: LockHolder | None,
    listed: list[FolderState],
    failed: dict[str, Any] | None,
    settings: Settings,
) -> list[str]:
    """The problem, since when, and its remedy; then the next turn, the mirrored mail, folders in trouble."""
    now, is_wrong = more.now, a.sync_state in ("broken", "degraded")
    mark = "✗" if is_wrong else "✓" if a.sync_state == "healthy" else "–"
    duration = span((now - a.sync_state_since).total_seconds())
    since = f"{moment(a.sync_state_since)} ({duration})"
    columns, _ = screen()
    headline = f"{mark} {a.email} is {state(a).removesuffix(' *')} since {since}"
    first, *rest = wrap(headline, columns - 2, "")
    lines = [first, *(f"  {line}" for line in rest)]
    if a.sync_state_message:
        lines += _line("problem" if is_wrong else "reason", printable(redact(a.sync_state_message)))
    # The advice for other reasons is to run this command.
    if a.sync_state_reason in ACTIONS and (action := _action(a)):
        lines += _line("to do", action)
    if is_wrong and failed and failed["error_message"] not in (None, a.sync_state_message):
        lines += _line("error", _failure(failed, now))
    if more.healthy_until and a.sync_state == "healthy":
        lines += _line("verified", _promise(more.healthy_until, now))
    for label, text in zip(("sign-in", ""), sign_in(a, now), strict=False):
        lines += _line(label, text)
    lines += _line("next", _next(a, more))
    if a.sync_state not in ("broken", "paused"):
        lines += _line("reported", _REPORTED[a.push])
    if holder and not holder.is_mailsync:
        lines += _line("lock", _lock(a, more, holder))
    lines += _line("mirrored", _mirrored(a, listed))
    if more.unreadable_messages:
        lines += _line("", f"{many(more.unreadable_messages, 'message')} without content")
    label = "folders"
    for folder in listed:
        is_limited = folder.tracked and folder.limitation
        if folder.last_error or folder.missing_since or folder.suspect_deletion_at or is_limited:
            for remark in remarks(folder, now, settings):
                lines += _line(label, f"{fit(folder.path, 40)}: {remark}")
                label = ""
    return lines + numerous(listed, settings)


def _details(a: AccountStatus, more: AccountDetails, holder: LockHolder | None) -> list[str]:
    now = more.now
    name = f", {printable(a.display_name)}" if a.display_name else ""
    host = f"{printable(more.imap_host)}:{more.imap_port}"
    lines = _line("account", f"{a.email} (id {a.account_id}{', ' + a.provider if a.provider else ''}{name})")
    lines += _line("server", f"{printable(more.username)} at {host} ({more.imap_security})")
    lines += _line("", offers(more))
    lines += _line(
        "lag",
        f"priority folders {span(a.priority_sync_lag_seconds)}, all folders"
        f" {span(a.overall_sync_lag_seconds)}; last success {ago(a.last_success_at, now)}",
    )
    lines += _line("failures", _failures(a, now))
    if holder is None or holder.is_mailsync:
        lines += _line("lock", _lock(a, more, holder))
    if more.sync_since or more.sync_window_days:
        since = f"since {more.sync_since:%Y-%m-%d}" if more.sync_since else f"of {more.sync_window_days} days"
        lines += _line("window", f"only mail {since} is mirrored; the server's counts include all mail")
    return lines


def _line(label: str, text: str) -> list[str]:
    columns, _ = screen()
    blank = " " * _LABEL
    first, *rest = wrap(text, columns, blank) or [blank]
    return [label.ljust(_LABEL) + first[_LABEL:], *rest]


def _promise(until: datetime, now: datetime) -> str:
    left = span((until - now).total_seconds())
    return f"equal to the server; valid until {moment(until)} (in {left}), renewed at every sync"


def _failures(a: AccountStatus, now: datetime) -> str:
    text = f"{a.consecutive_failures} in a row" if a.consecutive_failures else "none"
    if a.backoff_until and a.backoff_until > now:
        text += f"; waits until {moment(a.backoff_until)} ({due(a.backoff_until, now)})"
    return text


def _next(a: AccountStatus, more: AccountDetails) -> str:
    when = next_try(a)
    if when is None:
        credential = "reauthorize" if a.auth_method == "oauth2" else "set-password"
        command = credential if a.sync_state_reason == "auth_failed" else "reset-account"
        return f"nothing until you run `mailsync {'resume-account' if a.paused_at else command} {a.email}`"
    text = f"sync {due(when, more.now)}"
    if a.sync_state_reason == "stale":
        text += "; is a worker running? see `mailsync status`"
    return f"{text}; folder list {due(more.next_discovery_at, more.now)}"


def _lock(a: AccountStatus, more: AccountDetails, holder: LockHolder | None) -> str:
    if holder is None:
        return "free"
    if holder.is_mailsync:
        seconds, beat = _held_seconds(a, more), holder.heartbeat_age
        text = f"held by {printable(holder.started_by or holder.application_name)}"
        text += f" for {span(seconds)}" if seconds is not None else ""
        text += f", heartbeat {span(beat)} ago" if beat is not None else ""
    else:
        since = f", connected {ago(holder.connected_at, more.now)}" if holder.connected_at else ""
        text = f"held by {printable(holder.session)}{since}, which is not a mailsync process;"
        text += f" to end it: select pg_terminate_backend({holder.pid})"
    return text + (f"; {more.lock_waiters} waiting for it" if more.lock_waiters else "")


def _held_seconds(a: AccountStatus, more: AccountDetails) -> float | None:
    """Seconds since the lock holder's turn began; None if the holder runs no turn."""
    if not more.marked_syncing or a.last_sync_started_at is None:
        return None
    return max(0.0, (more.now - a.last_sync_started_at).total_seconds())


def _mirrored(a: AccountStatus, listed: list[FolderState]) -> str:
    # The view counts a folder that is gone from the server as complete until its grace is over.
    tracked = [folder for folder in listed if folder.tracked]
    present = [folder for folder in tracked if not folder.missing_since and folder.status != "missing"]
    complete = sum(folder.status == "active" for folder in present)
    text = f"{many(a.messages, 'message')} ({a.unseen:,} unread), {complete:,} of"
    text += f" {many(len(present), 'folder')} complete"
    if gone := len(tracked) - len(present):
        text += f", {gone:,} gone from server"
    if a.backfill_remaining:
        percent = 100 * a.messages // (a.messages + a.backfill_remaining)
        text += f"; first sync {min(99, percent)}%, {a.backfill_remaining:,} to go"
    return text


def _run_table(runs: list[dict[str, Any]], failed: dict[str, Any] | None, now: datetime) -> str:
    """The last runs, and below them their errors with the last one before them."""
    columns, _ = screen()
    rows = []
    for run in runs:
        seconds = ((run["finished_at"] or now) - run["started_at"]).total_seconds()
        counts = (run["messages_new"], run["flags_changed"], run["messages_deleted"], run["imap_commands"])
        rows.append((ago(run["started_at"], now), run["trigger"], run["status"], f"{seconds:.1f}s", *counts))
    lines = [
        table(
            ("LAST RUNS", "BY", "STATUS", "TOOK", "NEW", "FLAGS", "DELETED", "COMMANDS"),
            rows,
            numbers="TOOK NEW FLAGS DELETED COMMANDS",
            drop="COMMANDS BY FLAGS",
            columns=columns,
        )
    ]
    failures = [run for run in runs if run["error_message"]]
    if failed and failed["error_message"] and failed["started_at"] not in [run["started_at"] for run in runs]:
        failures.append(failed)
    for run in failures:
        lines += wrap(_failure(run, now), columns, "  ")
    return "\n".join(lines)


def _failure(run: dict[str, Any], now: datetime) -> str:
    reason = f"{run['error_code'] or run['status']}: {printable(redact(run['error_message']))}"
    return f"{ago(run['started_at'], now)}, {reason}"
