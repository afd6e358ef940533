"""``check-account``: how far one account's mirror may be trusted, and what comes next."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import click

from mailsync.cli import common
from mailsync.cli.commands.folder_checks import folder_check, folder_checks
from mailsync.cli.commands.list_accounts import state
from mailsync.cli.common import email_argument, emit, json_option, say
from mailsync.cli.terminal import ago, due, many, moment, printable, screen, span, table, wrap
from mailsync.core.advice import action_for
from mailsync.errors import NotFound
from mailsync.model import FolderState
from mailsync.redaction import redact
from mailsync.store import accounts, folders
from mailsync.store.account_views import AccountDetails, details, last_failure
from mailsync.store.accounts import AccountStatus, LockHolder

_RUNS = 5
_STUCK_TRIES = timedelta(days=7)
_MATTERS = ("LIST-STATUS", "CONDSTORE", "QRESYNC", "ESEARCH", "SPECIAL-USE", "OBJECTID", "X-GM-EXT-1")
_LABEL = 10


@click.command("check-account")
@email_argument
@json_option
def check_account(email: str, as_json: bool) -> None:
    """Show an account's sync state, its folders, who holds its lock, and its last runs with their errors.

    Of each folder: what the server and the mirror count, when they were last compared, and what is due when.
    Nothing is asked of the mail server; `mailsync verify` does that.

    \b
    Example:
      mailsync check-account you@fastmail.com
      mailsync check-account you@fastmail.com --json | jq '.folders[].path'
    """
    with common.account(email) as (conn, settings, account_id):
        holder = accounts.lock_holder(conn, account_id)
        found = folders.load(conn, account_id)
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
                "folders": [folder_check(folder, more, settings) for folder in found],
                "runs": runs,
                "last_failure": failed,
            }
        )
        return
    parts = ["\n".join(_account_lines(status, more, holder, found))]
    if found:
        parts.append(folder_checks(found, more, settings))
    else:
        parts.append("No folder is known yet; the first sync lists them")
    if runs:
        parts.append(_run_table(runs, failed, more.now))
    say("\n\n".join(parts))


def _document(status: AccountStatus, more: AccountDetails) -> dict[str, object]:
    extra = asdict(more)
    now = extra.pop("now")
    shown = {"checked_at": now, "next_try_at": next_try(status), "action": _action(status)}
    return asdict(status) | extra | shown


def _action(status: AccountStatus) -> str | None:
    """The step that helps; None unless the account is broken or degraded."""
    if status.sync_state not in ("broken", "degraded"):
        return None
    return action_for(status.sync_state_reason, status.email)


def _lock_document(holder: LockHolder, status: AccountStatus, more: AccountDetails) -> dict[str, object]:
    held = _held_for(status, more)
    return {
        "pid": holder.pid,
        "role": holder.role,
        "application_name": holder.application_name,
        "connected_at": holder.connected_at,
        "is_mailsync": holder.is_mailsync,
        "started_by": holder.started_by if holder.is_mailsync else None,
        "heartbeat_age_seconds": holder.heartbeat_age if holder.is_mailsync else None,
        "held_seconds": held if holder.is_mailsync else None,
        "waiters": more.lock_waiters,
    }


def next_try(status: AccountStatus) -> datetime | None:
    """When the account is synced next; None while only a person can let it go on."""
    if status.paused_at:
        return None
    if status.sync_state == "broken":
        if status.sync_state_reason != "stuck":
            return None
        ends = status.sync_state_since + _STUCK_TRIES
        if max(status.next_sync_at, status.backoff_until or status.next_sync_at) > ends:
            return None
    return max(status.next_sync_at, status.backoff_until or status.next_sync_at)


def _account_lines(
    a: AccountStatus, more: AccountDetails, holder: LockHolder | None, found: list[FolderState]
) -> list[str]:
    now = more.now
    named = f", {printable(a.display_name)}" if a.display_name else ""
    host = f"{printable(more.imap_host)}:{more.imap_port}"
    lines = _line("account", f"{a.email} (id {a.account_id}{', ' + a.provider if a.provider else ''}{named})")
    lines += _line("server", f"{printable(more.username)} at {host} ({more.imap_security})")
    lines += _line("", _offers(more))
    held = span((now - a.sync_state_since).total_seconds())
    lines += _line("state", f"{state(a).removesuffix(' *')} since {moment(a.sync_state_since)} ({held})")
    if a.sync_state_message:
        lines += _line("", printable(redact(a.sync_state_message)))
    if action := _action(a):
        lines += _line("to do", action)
    if more.healthy_until:
        lines += _line("", _promise(more.healthy_until, now))
    lines += _line(
        "lag",
        f"priority folders {span(a.priority_sync_lag_seconds)}, all folders"
        f" {span(a.overall_sync_lag_seconds)}; last success {ago(a.last_success_at, now)}",
    )
    lines += _line("failures", _failures(a, now))
    lines += _line("next", _next(a, more))
    lines += _line("lock", _lock(a, more, holder))
    lines += _line("mirrored", _mirrored(a, found))
    if more.unreadable_messages:
        lines += _line("", f"{many(more.unreadable_messages, 'message')} without content")
    if more.sync_since or more.sync_window_days:
        since = f"since {more.sync_since:%Y-%m-%d}" if more.sync_since else f"of {more.sync_window_days} days"
        lines += _line("window", f"only mail {since} has rows; the server counts all")
    return lines


def _line(label: str, text: str) -> list[str]:
    columns, _ = screen()
    blank = " " * _LABEL
    first, *rest = wrap(text, columns, blank) or [blank]
    return [label.ljust(_LABEL) + first[_LABEL:], *rest]


def _promise(until: datetime, now: datetime) -> str:
    left = span((until - now).total_seconds())
    return (
        f"✓ compared with the server and equal; valid until {moment(until)} (in {left}),"
        " renewed with every tick"
    )


def _offers(more: AccountDetails) -> str:
    if not more.capabilities:
        return "what it offers is known after the first sync"
    has = [name for name in _MATTERS if name in more.capabilities]
    lacks = [name for name in _MATTERS if name not in more.capabilities and not name.startswith("X-")]
    said = f"offers {', '.join(has)}" if has else "offers no extension that matters"
    if lacks:
        said += f"; lacks {', '.join(lacks)}"
    if "LIST-STATUS" in lacks:
        said += " (so folders beyond the priority ones are compared in turn, a few a tick)"
    return said


def _failures(a: AccountStatus, now: datetime) -> str:
    if not a.consecutive_failures and not a.backoff_until:
        return "none"
    said = f"{a.consecutive_failures} in a row" if a.consecutive_failures else "none"
    if a.backoff_until and a.backoff_until > now:
        said += f"; held back until {moment(a.backoff_until)} ({due(a.backoff_until, now)})"
    return said


def _next(a: AccountStatus, more: AccountDetails) -> str:
    at = next_try(a)
    if at is None:
        if a.paused_at:
            return "nothing until `mailsync resume-account`"
        command = "set-password" if a.sync_state_reason == "auth_failed" else "reset-account"
        return f"nothing until a person acts (`mailsync {command}`)"
    said = f"sync {due(at, more.now)}"
    if a.sync_state_reason == "stale":
        said += "; is a worker running? `mailsync status` shows them"
    return f"{said}; folder list {due(more.next_discovery_at, more.now)}"


def _lock(a: AccountStatus, more: AccountDetails, holder: LockHolder | None) -> str:
    if holder is None:
        return "free"
    if holder.is_mailsync:
        held = _held_for(a, more)
        said = f"held by {printable(holder.started_by or holder.application_name)}"
        said += f" for {span(held)}" if held is not None else ""
        said += f", heartbeat {span(holder.heartbeat_age)} ago" if holder.heartbeat_age is not None else ""
    else:
        since = f", connected {ago(holder.connected_at, more.now)}" if holder.connected_at else ""
        said = f"held by {printable(holder.session)}{since}, which is not a mailsync process;"
        said += f" end it with: select pg_terminate_backend({holder.pid})"
    return said + (f"; {more.lock_waiters} waiting for it" if more.lock_waiters else "")


def _held_for(a: AccountStatus, more: AccountDetails) -> float | None:
    """Seconds since the holder's turn began; None where the holder is no turn."""
    if not more.marked_syncing or a.last_sync_started_at is None:
        return None
    return max(0.0, (more.now - a.last_sync_started_at).total_seconds())


def _mirrored(a: AccountStatus, found: list[FolderState]) -> str:
    # the view counts a folder that is gone until its grace is over; below it is not called complete
    tracked = [folder for folder in found if folder.tracked]
    there = [folder for folder in tracked if not folder.missing_since and folder.status != "missing"]
    complete = sum(folder.status == "active" for folder in there)
    said = f"{many(a.messages, 'message')} ({a.unseen:,} unread), {complete} of"
    said += f" {many(len(there), 'folder')} complete"
    if gone := len(tracked) - len(there):
        said += f", {gone:,} gone from server"
    if a.backfill_remaining:
        done = 100 * a.messages // (a.messages + a.backfill_remaining)
        said += f"; first sync {min(99, done)}%, {a.backfill_remaining:,} to go"
    return said


def _run_table(runs: list[dict[str, Any]], failed: dict[str, Any] | None, now: datetime) -> str:
    rows = []
    for one in runs:
        took = ((one["finished_at"] or now) - one["started_at"]).total_seconds()
        rows.append(
            (
                ago(one["started_at"], now),
                one["trigger"],
                one["status"],
                f"{took:.1f}s",
                one["messages_new"],
                one["flags_changed"],
                one["messages_deleted"],
                one["imap_commands"],
            )
        )
    heads = ("LAST RUNS", "BY", "STATUS", "TOOK", "NEW", "FLAGS", "DELETED", "COMMANDS")
    lines = [table(heads, rows, numbers="TOOK NEW FLAGS DELETED COMMANDS")]
    columns, _ = screen()
    shown = [one for one in runs if one["error_message"]]
    if failed and failed["error_message"] and failed["started_at"] not in [one["started_at"] for one in runs]:
        shown.append(failed)
    for one in shown:
        said = f"{ago(one['started_at'], now)}, {one['error_code'] or one['status']}: "
        lines += wrap(said + printable(redact(one["error_message"])), columns, "  ")
    return "\n".join(lines)
