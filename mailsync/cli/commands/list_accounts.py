"""``list-accounts``, and the wording of an account's state for all commands."""

from __future__ import annotations

import click

from mailsync.cli import common
from mailsync.cli.common import emit, json_option, say
from mailsync.cli.terminal import printable, screen, table
from mailsync.core.advice import action_for
from mailsync.ops.preflight import NO_ACCOUNT
from mailsync.redaction import redact
from mailsync.store import accounts
from mailsync.store.accounts import AccountStatus


@click.command("list-accounts")
@json_option
def list_accounts(as_json: bool) -> None:
    """List the accounts with their states and sizes. A * marks an account that is syncing now.

    \b
    Example:
      mailsync list-accounts
      mailsync list-accounts --json | jq -r '.accounts[].email'
    """
    with common.database(common.settings_for("DATABASE_URL")) as conn:
        statuses = accounts.statuses(conn)
    if as_json:
        emit({"accounts": statuses})
    elif statuses:
        say(
            table(
                ("ID", "ACCOUNT", "PROVIDER", "STATE", "FOLDERS", "MESSAGES", "UNREAD"),
                [
                    (str(a.account_id), a.email, a.provider, state(a), a.folders, a.messages, a.unseen)
                    for a in statuses
                ],
                numbers="ID FOLDERS MESSAGES UNREAD",
                flexible="ACCOUNT STATE",
                drop="PROVIDER FOLDERS ID UNREAD MESSAGES",
                columns=screen()[0],
            )
        )
    else:
        say(NO_ACCOUNT)


def state(a: AccountStatus) -> str:
    """``degraded (throttled)``; a star marks an account that is syncing now."""
    why = f" ({printable(a.sync_state_reason)})" if a.sync_state_reason else ""
    return f"{a.sync_state}{why}{' *' if a.currently_syncing else ''}"


def message(a: AccountStatus) -> str:
    """The problem, followed for a broken account by what a person can do, if that is not yet said."""
    problem = printable(redact(a.sync_state_message or ""))
    if a.sync_state != "broken":
        return problem
    action = action_for(a.sync_state_reason, a.email, a.auth_method)
    commands = action.split("`")[1::2]
    if any(f"`{command}`" in problem for command in commands):
        return problem
    return f"{problem.rstrip('.')}. {action}"
