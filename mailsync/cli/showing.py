"""``list-accounts``, ``check-account`` and ``status``: what there is, as of now."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from mailsync.cli import ground
from mailsync.cli.folders import document, folder_table
from mailsync.cli.ground import email_argument, emit, json_option, say
from mailsync.cli.texts import fit, many, moment, printable, span, table
from mailsync.errors import InvalidInput
from mailsync.logs import redact
from mailsync.store import accounts, folders, turns
from mailsync.store.accounts import AccountStatus
from mailsync.store.db import Connection

_WATCH = 2.0
_RUNS = 5


@click.command("list-accounts")
@json_option
def list_accounts(as_json: bool) -> None:
    """List the accounts with their states and sizes.

    \b
    Example:
      mailsync list-accounts --json | jq -r '.accounts[].email'
    """
    with ground.database(ground.settings_for("DATABASE_URL")) as conn:
        found = accounts.statuses(conn)
    if as_json:
        emit({"accounts": found})
    elif found:
        rows = [
            (str(a.account_id), a.email, a.provider, _state(a), a.folders, a.messages, a.unseen)
            for a in found
        ]
        heads = ("ID", "ACCOUNT", "PROVIDER", "STATE", "FOLDERS", "MESSAGES", "UNREAD")
        say(table(heads, rows, numbers="ID FOLDERS MESSAGES UNREAD", limits={"ACCOUNT": 40}))
    else:
        say("There is no account; add one with `mailsync add-account`")


@click.command("check-account")
@email_argument
@json_option
def check_account(email: str, as_json: bool) -> None:
    """Show an account's sync state, its folders, who holds its lock, and its last runs with their errors.

    \b
    Example:
      mailsync check-account you@fastmail.com
    """
    with ground.account(email) as (conn, _, account_id):
        status = accounts.statuses(conn, account_id)[0]
        runs = accounts.recent_runs(conn, account_id, _RUNS)
        holder = accounts.lock_holder(conn, account_id)
        found = folders.load(conn, account_id)
        if as_json:
            lock = None
            if holder:
                lock = {
                    "pid": holder[0],
                    "application_name": holder[1],
                    "started_by": holder[2],
                    "heartbeat_age_seconds": holder[3],
                }
            emit({"account": status, "lock": lock, "folders": [document(f) for f in found], "runs": runs})
            return
        say(_account_lines(status))
        if holder:
            say(f"lock      held by {holder[2] or holder[1]}, heartbeat {span(holder[3])} ago")
        else:
            say("lock      free")
        if found:
            say(f"\n{folder_table(conn, found)}")
        if runs:
            say(f"\n{_run_table(conn, runs)}")


@click.command()
@click.option("--watch", is_flag=True, help="Show it anew every two seconds, until Ctrl-C.")
@json_option
def status(watch: bool, as_json: bool) -> None:
    """Show states, lags, backfill progress and last errors of all accounts, and the workers.

    \b
    Example:
      mailsync status --watch
    """
    if watch and as_json:
        raise InvalidInput("--watch and --json exclude each other")
    with ground.database(ground.settings_for("DATABASE_URL")) as conn:
        if as_json:
            emit({"accounts": accounts.statuses(conn), "workers": turns.list_workers(conn)})
            return
        if not watch:
            say(_overview(conn))
            return
        try:
            while True:
                text = _overview(conn)
                # clears the terminal only where there is one
                click.clear() if sys.stdout.isatty() else None
                say(f"{moment(turns.now(conn))}\n{text}")
                time.sleep(_WATCH)
        except KeyboardInterrupt:
            return


def _overview(conn: Connection) -> str:
    found = accounts.statuses(conn)
    rows = [
        (
            a.email,
            _state(a),
            span(a.priority_sync_lag_seconds),
            span(a.overall_sync_lag_seconds),
            f"{a.folders_complete}/{a.folders}",
            a.messages,
            f"{a.backfill_remaining:,}" if a.backfill_remaining else "-",
        )
        for a in found
    ]
    heads = ("ACCOUNT", "STATE", "LAG", "OVERALL", "FOLDERS", "MESSAGES", "TO-GO")
    lines = [
        table(heads, rows, numbers="LAG OVERALL FOLDERS MESSAGES TO-GO", limits={"ACCOUNT": 36, "STATE": 24})
    ]
    if not found:
        lines = ["There is no account; add one with `mailsync add-account`"]
    for a in found:
        if a.sync_state_message and a.sync_state != "healthy":
            lines.append(f"  {fit(a.email, 36)}: {_message(a)}")
    workers = turns.list_workers(conn)
    for worker in workers:
        lines.append(f"worker {worker['worker']}: heartbeat {span(worker['heartbeat_age_seconds'])} ago")
    if not workers:
        lines.append("no worker is running")
    return "\n".join(lines)


def _state(a: AccountStatus) -> str:
    why = f" ({printable(a.sync_state_reason)})" if a.sync_state_reason else ""
    return f"{a.sync_state}{why}{' *' if a.currently_syncing else ''}"


def _message(a: AccountStatus) -> str:
    """What is wrong, and for a broken account the command that helps."""
    said = printable(redact(a.sync_state_message or ""))
    if a.sync_state != "broken":
        return said
    command = "set-password" if a.sync_state_reason == "auth_failed" else "reset-account"
    return f"{said} (`mailsync {command}` tries it again)"


def _account_lines(a: AccountStatus) -> str:
    lines = [
        f"account   {a.email}  (id {a.account_id}{', ' + a.provider if a.provider else ''})",
        f"state     {_state(a).removesuffix(' *')} since {moment(a.sync_state_since)}",
    ]
    if a.sync_state_message:
        lines.append(f"          {_message(a)}")
    lines += [
        f"syncing   {'now, by ' + (a.sync_started_by or 'somebody') if a.currently_syncing else 'no'}",
        f"lag       priority folders {span(a.priority_sync_lag_seconds)},"
        f" all folders {span(a.overall_sync_lag_seconds)}",
        f"success   {moment(a.last_success_at)}",
        f"next      {moment(a.next_sync_at)}"
        + (f", held back until {moment(a.backoff_until)}" if a.backoff_until else ""),
        f"failures  {a.consecutive_failures} in a row",
        f"mirrored  {many(a.messages, 'message')} ({a.unseen:,} unread), {a.folders_complete} of"
        f" {many(a.folders, 'folder')} complete"
        + (f", {a.backfill_remaining:,} messages to go" if a.backfill_remaining else ""),
    ]
    return "\n".join(lines)


def _run_table(conn: Connection, runs: list[dict[str, Any]]) -> str:
    rows = []
    for one in runs:
        ended = one["finished_at"] or turns.now(conn)
        took = (ended - one["started_at"]).total_seconds()
        rows.append(
            (
                moment(one["started_at"]),
                one["trigger"],
                one["status"],
                f"{took:.1f}s",
                one["messages_new"],
                one["flags_changed"],
                one["messages_deleted"],
                one["imap_commands"],
            )
        )
    heads = ("RUN", "BY", "STATUS", "TOOK", "NEW", "FLAGS", "DELETED", "COMMANDS")
    lines = [table(heads, rows, numbers="TOOK NEW FLAGS DELETED COMMANDS")]
    for one in runs:
        if one["error_message"]:
            error = printable(redact(one["error_message"]))
            lines.append(f"  {moment(one['started_at'])} {one['error_code']}: {error}")
    return "\n".join(lines)
