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
@click.option("--reason", metavar="R", help="Why, for those who look at the account later.")
@json_option
def pause_account(email: str, reason: str | None, as_json: bool) -> None:
    """Stop syncing an account until it is resumed. Its rows stay as they are.

    Said again with another reason, that one is kept instead; said again without any, the first one stays.

    \b
    Example:
      mailsync pause-account you@fastmail.com --reason "moving away"
    """
    with common.account(email) as (conn, _, account_id):
        before = accounts.statuses(conn, account_id)
        manage.pause(conn, account_id, reason)
        said = f"✓ Paused {normalise_email(email)}"
        if before and before[0].paused_at:
            said = f"✓ {normalise_email(email)} is paused already, since {moment(before[0].paused_at)}"
        _report(conn, account_id, said, as_json)


@click.command("resume-account")
@email_argument
@json_option
def resume_account(email: str, as_json: bool) -> None:
    """Go on with a paused account, now.

    \b
    Example:
      mailsync resume-account you@fastmail.com
    """
    with common.account(email) as (conn, _, account_id):
        before = accounts.statuses(conn, account_id)
        manage.resume(conn, account_id)
        said = f"✓ Resumed {normalise_email(email)}"
        if before and not before[0].paused_at:
            said = f"✓ {normalise_email(email)} was not paused; it is due now"
        _report(conn, account_id, said, as_json)


@click.command("reset-account")
@email_argument
@click.option(
    "--resync", is_flag=True, help="Also forget how far each folder is mirrored: all is fetched anew."
)
@json_option
def reset_account(email: str, resync: bool, as_json: bool) -> None:
    """Clear an account's state, failures, backoff and a stuck "currently syncing", and make it due now.

    Rows stay; with --resync they are brought up to date as all messages are fetched again. Exit code 3 if the
    account stays busy.

    \b
    Example:
      mailsync reset-account you@fastmail.com
    """
    with common.account(email) as (conn, settings, account_id):
        manage.reset(conn, account_id, settings, resync=resync, wait=common.LOCK_WAIT)
        more = "; all messages are fetched again" if resync else ""
        _report(conn, account_id, f"✓ Reset {normalise_email(email)}{more}", as_json)


@click.command("remove-account")
@email_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def remove_account(email: str, yes: bool, as_json: bool) -> int:
    """Delete an account with its password and all its rows. Nothing changes on the mail server.

    \b
    Example:
      mailsync remove-account you@fastmail.com
    """
    settings = common.settings_for("DATABASE_URL")
    address = normalise_email(email)
    with common.database(settings) as conn:
        account_id = accounts.find_to_remove(conn, address)
        status = accounts.statuses(conn, account_id)
        held = many(status[0].messages if status else 0, "mirrored message")
        if not yes:
            if not sys.stdin.isatty():
                raise InvalidInput(f"{address} and {held} would be deleted; give --yes to do it")
            if not click.confirm(f"Delete {address} and {held}?", err=True):
                note("mailsync: nothing was deleted")
                return 1
        try:
            manage.remove(conn, account_id, settings, wait=common.LOCK_WAIT)
        except Busy as busy:
            raise Busy(f"{address} is no longer synced, but {busy}, and remove it again") from busy
    if as_json:
        emit({"account_id": account_id, "email": address, "removed": True})
    else:
        say(f"✓ Removed {address} and {held}")
    return 0


def _report(conn: Connection, account_id: int, text: str, as_json: bool) -> None:
    if as_json:
        emit(accounts.statuses(conn, account_id)[0])
    else:
        say(text)
