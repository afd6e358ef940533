"""``pause-account``, ``resume-account``, ``reset-account`` and ``remove-account``."""

from __future__ import annotations

import sys

import click

from mailsync.accounts import manage
from mailsync.cli import common
from mailsync.cli.common import email_argument, emit, json_option, note, say
from mailsync.cli.terminal import many, moment
from mailsync.core.providers import normalise_email
from mailsync.errors import Busy, InvalidInput
from mailsync.store import accounts
from mailsync.store.db import Connection


@click.command("pause-account")
@email_argument
@click.option("--reason", metavar="R", help="Why, for people who look at the account later.")
@json_option
def pause_account(email: str, reason: str | None, as_json: bool) -> None:
    """Stop syncing an account until you resume it. Its rows stay as they are.

    To change the reason, pause the account again with another --reason.

    \b
    Example:
      mailsync pause-account you@fastmail.com --reason "moving away"
    """
    with common.account(email) as (conn, _, account_id):
        before = accounts.statuses(conn, account_id)
        manage.pause(conn, account_id, reason)
        text = f"✓ Paused {normalise_email(email)}"
        if before and before[0].paused_at:
            text = f"✓ {normalise_email(email)} is paused already, since {moment(before[0].paused_at)}"
        _report(conn, account_id, text, as_json)


@click.command("resume-account")
@email_argument
@json_option
def resume_account(email: str, as_json: bool) -> None:
    """Resume a paused account. A running worker syncs it at once.

    \b
    Example:
      mailsync resume-account you@fastmail.com
    """
    with common.account(email) as (conn, _, account_id):
        before = accounts.statuses(conn, account_id)
        manage.resume(conn, account_id)
        text = f"✓ Resumed {normalise_email(email)}"
        if before and not before[0].paused_at:
            text = f"✓ {normalise_email(email)} was not paused; it is due now"
        _report(conn, account_id, text, as_json)


@click.command("reset-account")
@email_argument
@click.option("--resync", is_flag=True, help="Also fetch all messages of all folders again.")
@json_option
def reset_account(email: str, resync: bool, as_json: bool) -> None:
    """Clear an account's failures, backoff and state, and make it due now.

    Rows stay, and keep their ids; --resync updates them as it fetches all messages again. Ends with exit code
    3 if another process keeps the account busy.

    \b
    Example:
      mailsync reset-account you@fastmail.com
    """
    with common.account(email) as (conn, settings, account_id):
        manage.reset(conn, account_id, settings, resync=resync, wait=common.LOCK_WAIT)
        effect = "; all messages are fetched again" if resync else ""
        _report(conn, account_id, f"✓ Reset {normalise_email(email)}{effect}", as_json)


@click.command("remove-account")
@email_argument
@click.option("--yes", is_flag=True, help="Delete without asking.")
@json_option
def remove_account(email: str, yes: bool, as_json: bool) -> int:
    """Delete an account, its password and all its rows. The mail server keeps its messages.

    \b
    Example:
      mailsync remove-account you@fastmail.com
    """
    settings = common.settings_for("DATABASE_URL")
    address = normalise_email(email)
    with common.database(settings) as conn:
        account_id = accounts.find_to_remove(conn, address)
        status = accounts.statuses(conn, account_id)
        rows = many(status[0].messages if status else 0, "mirrored message")
        if not yes:
            if not sys.stdin.isatty():
                raise InvalidInput(f"{address} and {rows} would be deleted; add --yes to delete them")
            if not click.confirm(f"Delete {address} and {rows}?", err=True):
                note("mailsync: nothing was deleted")
                return 1
        try:
            manage.remove(conn, account_id, settings, wait=common.LOCK_WAIT)
        except Busy as busy:
            raise Busy(
                f"{address} is no longer synced, but its rows are still there: {busy};"
                f" then run `mailsync remove-account {address}` again"
            ) from busy
    if as_json:
        emit({"account_id": account_id, "email": address, "removed": True})
    else:
        say(f"✓ Removed {address} and {rows}")
    return 0


def _report(conn: Connection, account_id: int, text: str, as_json: bool) -> None:
    if as_json:
        emit(accounts.statuses(conn, account_id)[0])
    else:
        say(text)
