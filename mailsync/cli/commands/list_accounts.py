"""``list-accounts``, and how an account's state is worded wherever it is shown."""

from __future__ import annotations

import click

from mailsync.cli import common
from mailsync.cli.common import emit, json_option, say
from mailsync.cli.terminal import printable, screen, table
from mailsync.redaction import redact
from mailsync.store import accounts
from mailsync.store.accounts import AccountStatus

NO_ACCOUNT = "There is no account; add one with `mailsync add-account`"


@click.command("list-accounts")
@json_option
def list_accounts(as_json: bool) -> None:
    """List the accounts with their states and sizes; * marks those that are being synced now.

    \b
    Example:
      mailsync list-accounts
      mailsync list-accounts --json | jq -r '.accounts[].email'
    """
    with common.database(common.settings_for("DATABASE_URL")) as conn:
        found = accounts.statuses(conn)
    if as_json:
        emit({"accounts": found})
    elif found:
        rows = [
            (str(a.account_id), a.email, a.provider, state(a), a.folders, a.messages, a.unseen) for a in found
        ]
        heads = ("ID", "ACCOUNT", "PROVIDER", "STATE", "FOLDERS", "MESSAGES", "UNREAD")
        numbers = "ID FOLDERS MESSAGES UNREAD"
        say(
            table(heads, rows, numbers=numbers, limits={"STATE": 34}, flexible="ACCOUNT", columns=screen()[0])
        )
    else:
        say(NO_ACCOUNT)


def state(a: AccountStatus) -> str:
    """``degraded (throttled)``; a star says that the account is being synced now."""
    why = f" ({printable(a.sync_state_reason)})" if a.sync_state_reason else ""
    return f"{a.sync_state}{why}{' *' if a.currently_syncing else ''}"


_HELPS = {
    "auth_failed": "`mailsync set-password` gives it another one",
    "key_mismatch": "give its key in IMAP_ENCRYPTION_KEY, or `mailsync set-password`",
}


def message(a: AccountStatus) -> str:
    """What is wrong, and for a broken account the command that helps."""
    said = printable(redact(a.sync_state_message or ""))
    if a.sync_state != "broken":
        return said
    helps = _HELPS.get(a.sync_state_reason or "", "`mailsync reset-account` lets it go on")
    return f"{said} ({helps})"
