"""``status``: all accounts and workers as of now, once or again and again."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import FrameType
from typing import Any

import click

from mailsync.cli import common
from mailsync.cli.commands.list_accounts import NO_ACCOUNT, message, state
from mailsync.cli.common import emit, json_option, note, say
from mailsync.cli.terminal import cut, fit, many, moment, printable, screen, span, table
from mailsync.config import Settings
from mailsync.errors import DatabaseUnavailable, InvalidInput, LockLost
from mailsync.redaction import redact
from mailsync.store import accounts, turns
from mailsync.store.accounts import AccountStatus
from mailsync.store.db import Connection, is_broken

_INTERVAL = 2.0
_STALE_WORKER = 60.0
"""A worker beats every 15 s; after four beats missed it is taken for dead."""

_LONGEST_QUERY = 30.0
_TROUBLE = ("broken", "degraded", "initial_sync", "paused", "healthy")
_HOME, _CLEAR, _TO_LINE_END, _TO_SCREEN_END = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


@dataclass(frozen=True)
class Overview:
    """What ``status`` shows, read by three statements however many accounts there are."""

    at: datetime
    accounts: list[AccountStatus]
    workers: list[dict[str, Any]]


@click.command()
@click.option("--watch", is_flag=True, help="Show it anew every two seconds, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    metavar="SECONDS",
    help="With --watch: how often it is shown anew. Default: 2.",
)
@json_option
def status(watch: bool, interval: float | None, as_json: bool) -> None:
    """Show states, lags, backfill progress and last errors of all accounts, and the workers.

    With --watch a terminal is drawn anew; into a pipe goes a block for each look, with --json a document on a
    line of its own. A database that goes away meanwhile is waited for. Ctrl-C ends it with exit code 0.

    \b
    Example:
      mailsync status
      mailsync status --watch --interval 10
      mailsync status --watch --json | jq -c '.accounts[] | [.email, .sync_state]'
    """
    if interval is not None and not watch:
        raise InvalidInput("--interval goes with --watch")
    settings = common.settings_for("DATABASE_URL")
    if watch:
        _watch(settings, interval or _INTERVAL, as_json)
        return
    with common.database(settings) as conn:
        seen = look(conn)
    if as_json:
        emit(_document(seen))
    else:
        say("\n".join(_lines(seen)))


def look(conn: Connection) -> Overview:
    """Read all that ``status`` shows, as of now."""
    return Overview(turns.now(conn), accounts.statuses(conn), turns.list_workers(conn))


def _document(seen: Overview) -> dict[str, object]:
    workers = [worker | {"stale": _is_stale(worker)} for worker in seen.workers]
    return {"at": seen.at, "accounts": seen.accounts, "workers": workers}


# -- for people ---------------------------------------------------------------------------------------


def _lines(seen: Overview) -> list[str]:
    rows, wrong, rest = _parts(seen, seen.accounts)
    return [*rows, *wrong, *rest]


def _fitted(seen: Overview, height: int) -> list[str]:
    """The lines, at most `height`: where not all fit, those of accounts in trouble come first."""
    rows, wrong, rest = _parts(seen, sorted(seen.accounts, key=lambda a: _TROUBLE.index(a.sync_state)))
    if len(rows) + len(wrong) + len(rest) <= height:
        return _lines(seen)
    left = max(2, height - len(rest[:4]) - 1)
    most_wrong = min(len(wrong), left // 2)
    kept = [*rows[: left - most_wrong], *wrong[:most_wrong]]
    missing = len(rows) + len(wrong) - len(kept)
    more = f"… {missing:,} more lines; a higher terminal, or no --watch, shows them all"
    return [*kept, more, *rest[:4]][:height]


def _parts(seen: Overview, found: list[AccountStatus]) -> tuple[list[str], list[str], list[str]]:
    """The table, a line for each account that something is wrong with, and the sums with the workers."""
    columns, _ = screen()
    rows = [NO_ACCOUNT]
    if found:
        heads = ("ACCOUNT", "STATE", "LAG", "OVERALL", "FOLDERS", "MESSAGES", "TO-GO")
        rows = table(
            heads,
            [_row(a) for a in found],
            numbers="LAG OVERALL FOLDERS MESSAGES TO-GO",
            limits={"STATE": 20 if columns < 96 else 36},
            flexible="ACCOUNT",
            columns=columns,
        ).split("\n")
    # one line each, whatever a server said, so that a terminal that is redrawn keeps its shape
    wrong = [
        f"  {fit(a.email, 36)}: {message(a)}{_again(a, seen.at)}"
        for a in found
        if a.sync_state_message and a.sync_state != "healthy"
    ]
    summary = [_summary(found)] if len(found) > 1 else []
    return rows, wrong, [*summary, *_worker_lines(seen)]


def _row(a: AccountStatus) -> tuple[object, ...]:
    to_go = f"{a.backfill_remaining:,}" if a.backfill_remaining else "-"
    folders = f"{a.folders_complete}/{a.folders}"
    return (
        a.email, state(a), span(a.priority_sync_lag_seconds), span(a.overall_sync_lag_seconds), folders,
        a.messages, to_go,
    )  # fmt: skip


def _again(a: AccountStatus, at: datetime) -> str:
    if not a.consecutive_failures or a.backoff_until is None or a.backoff_until <= at:
        return ""
    failed = many(a.consecutive_failures, "failure")
    return f" ({failed}, tried again in {span((a.backoff_until - at).total_seconds())})"


def _summary(found: list[AccountStatus]) -> str:
    counts = Counter(a.sync_state for a in found)
    said = ", ".join(f"{counts[name]:,} {name}" for name in reversed(_TROUBLE) if counts[name])
    syncing = sum(a.currently_syncing for a in found)
    return f"{many(len(found), 'account')}: {said}" + (f"; {syncing:,} syncing now (*)" if syncing else "")


def _worker_lines(seen: Overview) -> list[str]:
    lines = []
    for worker in seen.workers:
        stale = " (stale)" if _is_stale(worker) else ""
        beat = span(worker["heartbeat_age_seconds"])
        lines.append(f"worker {printable(worker['worker'])}: heartbeat {beat} ago{stale}")
    if not seen.workers:
        lines.append("no worker is running")
    elif all(map(_is_stale, seen.workers)):
        lines.append("no worker is alive; `mailsync worker` starts one")
    return lines


def _is_stale(worker: dict[str, Any]) -> bool:
    return bool(worker["heartbeat_age_seconds"] > _STALE_WORKER)


# -- again and again ----------------------------------------------------------------------------------


def _watch(settings: Settings, interval: float, as_json: bool) -> None:
    """Show it every `interval` seconds until Ctrl-C or SIGTERM."""
    show = _show_json if as_json else _Screen().show if _is_terminal() else _show_block
    conn: Connection | None = None
    begun = False
    try:
        with _ended_by_signals():
            while True:
                next_at = time.monotonic() + interval
                try:
                    conn = conn or common.connect(settings, statement_timeout=_LONGEST_QUERY)
                    seen: Overview | str = look(conn)
                    begun = True
                except (DatabaseUnavailable, LockLost) as error:
                    if not begun:
                        raise  # what is wrong at the start is the command's own error
                    seen = f"cannot read the database: {printable(redact(str(error)))}; trying again"
                    if conn is not None and is_broken(conn):
                        conn = None
                show(seen)
                time.sleep(max(0.0, next_at - time.monotonic()))
    except KeyboardInterrupt:
        if _is_terminal():
            say("")  # behind the ^C that the terminal shows
    finally:
        if conn is not None:
            conn.close()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal interrupt as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in common.stop_signals()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _show_json(seen: Overview | str) -> None:
    if isinstance(seen, str):
        note(f"mailsync: {seen}")
    else:
        click.echo(common.as_json(_document(seen)))


def _show_block(seen: Overview | str) -> None:
    if isinstance(seen, str):
        say(seen)
    else:
        say("\n".join([moment(seen.at), *_lines(seen), ""]))


class _Screen:
    """A terminal that is drawn anew from its first line, without flicker; the last picture stays."""

    def __init__(self) -> None:
        self._before = _CLEAR
        self._last: list[str] = []

    def show(self, seen: Overview | str) -> None:
        """Draw what was seen; if nothing could be, the last picture below the line that says so."""
        columns, height = screen()
        if isinstance(seen, str):
            lines = [seen, *self._last]
        else:
            self._last = _fitted(seen, height - 2)
            lines = [moment(seen.at), *self._last]
        drawn = f"{_TO_LINE_END}\n".join(cut(line, columns) for line in lines[: height - 1])
        click.echo(f"{self._before}{_HOME}{drawn}{_TO_LINE_END}\n{_TO_SCREEN_END}", nl=False)
        self._before = ""
