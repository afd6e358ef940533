"""The step that helps an account, by the reason of its state (SPEC §12): one sentence for each reason."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

_WAITS = "Nothing now: it is tried again by itself"
_LOOKS = "Nothing now: it ends by itself; if it lasts, look at `mailsync check-account {email}`"

ACTIONS: Mapping[str, str] = {
    "auth_failed": "Give the password that its server accepts: `mailsync set-password {email}`",
    "key_mismatch": (
        "Put the key that sealed its password back into IMAP_ENCRYPTION_KEY,"
        " or give the password again: `mailsync set-password {email}`"
    ),
    "uidvalidity_reset_limit": (
        "When its server no longer renumbers folders, resume syncing: `mailsync reset-account {email}`"
    ),
    "stuck": (
        "Look for the error in `mailsync check-account {email}`; when its cause is gone,"
        " `mailsync reset-account {email}`"
    ),
    "throttled": f"{_WAITS}, when its server allows",
    "unreachable": f"{_WAITS}; if it lasts, check the host and the network of its mail server",
    "tls": "Have its server's certificate renewed; trust a private authority with IMAP_CA_FILE",
    "poisonous_server": (
        "See the stack in the log of the process that ended: it shows the code that reads the answer;"
        " `mailsync pause-account {email}` leaves the server alone, `mailsync sync {email}` tries it now"
    ),
    "protocol": f"{_WAITS}; if it lasts, look for the answer in `mailsync check-account {{email}}`",
    "error": f"{_WAITS}; the log of the worker has the traceback",
    "rows_refused": f"{_WAITS}; the log of the worker has the error",
    "schema": "Bring the schema up to date: `mailsync migrate`; `mailsync preflight` names what is missing",
    "database_slow": (
        f"{_WAITS}; pg_stat_activity shows what else Postgres does,"
        " pg_stat_user_tables when its tables were analysed"
    ),
    "unreadable_messages": (
        "See which messages have no content in `mailsync verify {email}`; they are asked for again"
    ),
    "folder_error": (
        "See which folder is refused in `mailsync list-folders {email}`;"
        " grant the right to read it, or leave it out with `mailsync untrack-folder`"
    ),
    "priority_lag": "See whether workers keep up in `mailsync status`; start another one if they do not",
    "overall_lag": "See whether workers keep up in `mailsync status`; start another one if they do not",
    "too_many_folders": "Raise FOLDER_MAX_COUNT, or leave folders out with `mailsync untrack-folder`",
    "folder_backfill": _LOOKS,
    "unreconciled": _LOOKS,
    "folder_missing": (
        "If the folder was deleted on purpose, nothing: its messages leave when FOLDER_MISSING_GRACE is over"
    ),
    "lock_held": (
        "See which session holds its lock in `mailsync check-account {email}`; when you know what it is for,"
        " end it with the statement shown there"
    ),
    "stale": "Start a worker, or see why it stands still: `mailsync status` shows them",
}
"""Reason → the step that helps; ``{email}`` is replaced by the account's address."""

_OTHERWISE = "Look at `mailsync check-account {email}`"


def action_for(reason: str | None, email: str) -> str:
    """Return the step that helps an account whose state has this reason; an unknown reason has one too.

    A command in it can be pasted into a shell.
    """
    return ACTIONS.get(reason or "", _OTHERWISE).replace("{email}", shlex.quote(email))
