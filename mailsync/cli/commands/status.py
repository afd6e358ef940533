"""``status``: all accounts and workers as of now, once or repeatedly."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from mailsync.cli import common
from mailsync.cli.commands.list_accounts import message, state
from mailsync.cli.common import emit, json_option, note, say
from mailsync.cli.terminal import cut, fit, many, moment, printable, screen, span, table
from mailsync.config import Settings
from mailsync.core.health import STALE_WORKER
from mailsync.errors import DatabaseUnavailable, InvalidInput, LockLost
from mailsync.ops.preflight import NO_ACCOUNT
from mailsync.redaction import redact
from mailsync.store import accounts, turns
from mailsync.store.accounts import AccountStatus
from mailsync.store.db import Connection, is_broken

_INTERVAL = 2.0

_LONGEST_QUERY = 30.0
_TROUBLE = ("broken", "degraded", "initial_sync", "paused", "healthy")
_HOME, _CLEAR, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


@dataclass(frozen=True)
class Overview:
    """The content of ``status``. Three statements read it, however many accounts there are."""

    at: datetime
    accounts: list[AccountStatus]
    workers: list[dict[str, Any]]


@click.command()
@click.option("--watch", is_flag=True, help="Refresh every two seconds, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    metavar="SECONDS",
    help="With --watch: seconds between two refreshes. Default: 2.",
)
@json_option
def status(watch: bool, interval: float | None, as_json: bool) -> None:
    """Show the states, lags, progress and last errors of all accounts, and the workers.

    PUSH shows where the server reports changes at once: notify (all folders), idle (the inbox), - (nowhere).

    --watch redraws the terminal. In a pipe it prints a block for each refresh, and with --json a document on
    one line. If the database goes away, --watch waits for it. Ctrl-C ends it with exit code 0.

    \b
    Example:
      mailsync status
      mailsync status --watch --interval 10
      mailsync status --watch --json | jq -c '.accounts[] | [.email, .sync_state]'
    """
    if interval is not None and not watch:
        raise InvalidInput("--interval needs --watch")
    settings = common.settings_for("DATABASE_URL")
    if watch:
        _watch(settings, interval or _INTERVAL, as_json)
        return
    with common.database(settings) as conn:
        overview = read_overview(conn)
    if as_json:
        emit(_document(overview))
    else:
        say("\n".join(_lines(overview)))


def read_overview(conn: Connection) -> Overview:
    """Read all accounts and workers as of now."""
    return Overview(turns.now(conn), accounts.statuses(conn), turns.list_workers(conn))


def _document(overview: Overview) -> dict[str, object]:
    workers = [worker | {"stale": _is_stale(worker)} for worker in overview.workers]
    return {"at": overview.at, "accounts": overview.accounts, "workers": workers}


# -- for people ---------------------------------------------------------------------------------------


def _lines(overview: Overview) -> list[str]:
    rows, wrong, rest = _parts(overview, overview.accounts)
    return [*rows, *wrong, *rest]


def _fitted(overview: Overview, height: int) -> list[str]:
    """At most `height` lines; if not all fit, accounts in trouble come first."""
    by_trouble = sorted(overview.accounts, key=lambda a: _TROUBLE.index(a.sync_state))
    rows, wrong, rest = _parts(overview, by_trouble)
    if len(rows) + len(wrong) + len(rest) <= height:
        return _lines(overview)
    left = max(2, height - len(rest[:4]) - 1)
    most_wrong = min(len(wrong), left // 2)
    kept = [*rows[: left - most_wrong], *wrong[:most_wrong]]
    missing = len(rows) + len(wrong) - len(kept)
    more = f"… {missing:,} more lines: enlarge the terminal, or leave out --watch"
    return [*kept, more, *rest[:4]][:height]


def _parts(overview: Overview, statuses: list[AccountStatus]) -> tuple[list[str], list[str], list[str]]:
    """The table, a line for each account in trouble, and the totals with the workers."""
    columns, _ = screen()
    rows = [NO_ACCOUNT]
    if statuses:
        heads = ("ACCOUNT", "STATE", "LAG", "OVERALL", "PUSH", "FOLDERS", "MESSAGES", "TO-GO")
        rows = table(
            heads,
            [_row(a) for a in statuses],
            numbers="LAG OVERALL FOLDERS MESSAGES TO-GO",
            flexible="ACCOUNT STATE",
            drop="PUSH FOLDERS OVERALL TO-GO MESSAGES",
            columns=columns,
        ).split("\n")
    # One line for each, however long the server's message is, so that a redrawn terminal keeps its layout.
    wrong = [
        f"  {fit(a.email, 36)}: {message(a)}{_again(a, overview.at)}"
        for a in statuses
        if a.sync_state_message and a.sync_state != "healthy"
    ]
    summary = [_summary(statuses)] if len(statuses) > 1 else []
    return rows, wrong, [*summary, *_worker_lines(overview)]


def _row(a: AccountStatus) -> tuple[object, ...]:
    to_go = f"{a.backfill_remaining:,}" if a.backfill_remaining else "-"
    folders = f"{a.folders_complete}/{a.folders}"
    push = "-" if a.push == "none" else a.push
    return (
        a.email, state(a), span(a.priority_sync_lag_seconds), span(a.overall_sync_lag_seconds), push,
        folders, a.messages, to_go,
    )  # fmt: skip


def _again(a: AccountStatus, at: datetime) -> str:
    if not a.consecutive_failures or a.backoff_until is None or a.backoff_until <= at:
        return ""
    failed = many(a.consecutive_failures, "failure")
    return f" ({failed}, tried again in {span((a.backoff_until - at).total_seconds())})"


def _summary(statuses: list[AccountStatus]) -> str:
    counts = Counter(a.sync_state for a in statuses)
    states = ", ".join(f"{counts[name]:,} {name}" for name in reversed(_TROUBLE) if counts[name])
    syncing = sum(a.currently_syncing for a in statuses)
    marked = f"; {syncing:,} syncing now (*)" if syncing else ""
    return f"{many(len(statuses), 'account')}: {states}{marked}"


def _worker_lines(overview: Overview) -> list[str]:
    lines = []
    for worker in overview.workers:
        stale = " (stale)" if _is_stale(worker) else ""
        beat = span(worker["heartbeat_age_seconds"])
        lines.append(f"worker {printable(worker['worker'])}: heartbeat {beat} ago{stale}")
    if not overview.workers:
        lines.append("no worker is running; start one with `mailsync worker`")
    elif all(map(_is_stale, overview.workers)):
        lines.append("no worker is alive; start one with `mailsync worker`")
    return lines


def _is_stale(worker: dict[str, Any]) -> bool:
    return bool(worker["heartbeat_age_seconds"] > STALE_WORKER)


# -- repeatedly ---------------------------------------------------------------------------------------


def _watch(settings: Settings, interval: float, as_json: bool) -> None:
    """Refresh every `interval` seconds until Ctrl-C or SIGTERM."""
    show = _show_json if as_json else _Screen().show if _is_terminal() else _show_block
    conn: Connection | None = None
    begun = False
    try:
        with common.interruptible():
            while True:
                next_at = time.monotonic() + interval
                try:
                    conn = conn or common.connect(settings, statement_timeout=_LONGEST_QUERY)
                    overview: Overview | str = read_overview(conn)
                    begun = True
                except (DatabaseUnavailable, LockLost) as error:
                    if not begun:
                        raise  # an error of the first look is the command's error
                    overview = f"cannot read the database: {printable(redact(str(error)))}; trying again"
                    if conn is not None and is_broken(conn):
                        conn = None
                show(overview)
                time.sleep(max(0.0, next_at - time.monotonic()))
    except KeyboardInterrupt:
        if _is_terminal():
            say("")  # end the line in which the terminal shows ^C
    finally:
        if conn is not None:
            conn.close()


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _show_json(overview: Overview | str) -> None:
    if isinstance(overview, str):
        note(f"mailsync: {overview}")
    else:
        click.echo(common.as_json(_document(overview)))


def _show_block(overview: Overview | str) -> None:
    if isinstance(overview, str):
        say(overview)
    else:
        say("\n".join([moment(overview.at), *_lines(overview), ""]))


class _Screen:
    """A terminal redrawn from its first line, without flicker; the last picture stays at the end."""

    def __init__(self) -> None:
        self._before = _CLEAR
        self._last: list[str] = []

    def show(self, overview: Overview | str) -> None:
        """Draw the overview, or an error above the last picture."""
        columns, height = screen()
        if isinstance(overview, str):
            lines = [overview, *self._last]
        else:
            self._last = _fitted(overview, height - 2)
            lines = [moment(overview.at), *self._last]
        drawn = f"{_TO_LINE_END}\n".join(cut(line, columns) for line in lines[: height - 1])
        click.echo(f"{self._before}{_HOME}{drawn}{_TO_LINE_END}\n{_TO_SCREEN_END}", nl=False)
        self._before = ""
