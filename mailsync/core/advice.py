"""Remedies for accounts: one sentence for each reason of a state (SPEC §12)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

_RETRIES = "Wait: mailsync retries automatically"
_CATCHES_UP = "Wait: mailsync catches up by itself; if it does not, see `mailsync check-account {email}`"

ACTIONS: Mapping[str, str] = {
    "auth_failed": "Enter a password that the server accepts: `mailsync set-password {email}`",
    "not_connected": (
        "Check in the provider's settings that the user may open this mailbox, that IMAP is switched on for"
        " it, and that it has a licence. mailsync tries again hourly; to try now:"
        " `mailsync reset-account {email}`"
    ),
    "oauth_client": (
        "Correct the variables OAUTH_… of the provider: the error names what it refuses; mailsync retries"
        " automatically"
    ),
    "key_mismatch": (
        "Add the key that sealed the password to IMAP_ENCRYPTION_KEY again,"
        " or enter the password again: `mailsync set-password {email}`"
    ),
    "uidvalidity_reset_limit": (
        "When the mail server no longer renumbers its folders, resume: `mailsync reset-account {email}`"
    ),
    "stuck": (
        "Find the error with `mailsync check-account {email}`; when its cause is gone, resume:"
        " `mailsync reset-account {email}`"
    ),
    "throttled": f"{_RETRIES} when the mail server allows it",
    "unreachable": f"{_RETRIES}; if that does not help, check the mail server's host name and network",
    "tls": "Have the mail server's certificate renewed; to trust a private authority, set IMAP_CA_FILE",
    "poisonous_server": (
        "Find the stack in the log of the process that died: it shows the code that read the response."
        " To stop syncing: `mailsync pause-account {email}`; to try now: `mailsync sync {email}`"
    ),
    "forbidden_host": "To allow servers at private addresses, set IMAP_ALLOW_PRIVATE_HOSTS=true",
    "protocol": f"{_RETRIES}; `mailsync check-account {{email}}` shows the server's response",
    "error": f"{_RETRIES}; the worker's log has the traceback",
    "rows_refused": f"{_RETRIES}; the worker's log has the error",
    "schema": "Update the schema: `mailsync migrate`; `mailsync preflight` lists what is missing",
    "database_slow": (
        f"{_RETRIES}; pg_stat_activity shows what else Postgres is doing,"
        " pg_stat_user_tables when tables were last analysed"
    ),
    "unreadable_messages": (
        "Wait: mailsync fetches the messages again; `mailsync verify {email}` lists them,"
        " `mailsync sync {email} --full` fetches them now"
    ),
    "folder_error": (
        "See in `mailsync list-folders {email}` what the server refuses: messages are requested again"
        " automatically; for a whole folder, grant the right to read it, or exclude it with"
        " `mailsync untrack-folder`"
    ),
    "priority_lag": "Check in `mailsync status` whether the workers keep up; if not, start another one",
    "overall_lag": "Check in `mailsync status` whether the workers keep up; if not, start another one",
    "too_many_folders": "Raise FOLDER_MAX_COUNT, or exclude folders with `mailsync untrack-folder`",
    "partial_view": (
        "Move older messages into other folders, or ask the mail server's operator to show whole folders over"
        " IMAP; messages that the server does not show cannot be mirrored"
    ),
    "uids_not_sticky": (
        "Ask the mail server's operator for persistent UIDs (RFC 4315); to fetch such folders again now:"
        " `mailsync sync {email} --full`"
    ),
    "folder_backfill": _CATCHES_UP,
    "unreconciled": _CATCHES_UP,
    "folder_missing": (
        "Nothing, if the folder was deleted on purpose: its messages are removed after FOLDER_MISSING_GRACE"
    ),
    "lock_held": (
        "Find the session that holds the account's lock with `mailsync check-account {email}`; once you know"
        " what it does, end it with the statement shown there"
    ),
    "stale": "Check in `mailsync status` whether a worker is running; if not, start one: `mailsync worker`",
}
"""Reason → what to do; ``{email}`` is replaced by the account's address."""

CLOSED_MAILBOX = (
    "the server accepts the login and opens no mailbox: it may be the mailbox of another user, IMAP may be"
    " switched off for it, or its licence may be missing"
)
"""The explanation of :class:`mailsync.errors.NotConnected`."""

OAUTH_ACTIONS: Mapping[str, str] = {
    "auth_failed": "Authorize the account at its provider again: `mailsync reauthorize {email}`",
    "key_mismatch": (
        "Add the key that sealed the tokens to IMAP_ENCRYPTION_KEY again,"
        " or authorize the account again: `mailsync reauthorize {email}`"
    ),
}
"""Reason → the other advice for an account that signs in by OAuth2."""

_UNKNOWN_REASON = "See `mailsync check-account {email}`"


def action_for(reason: str | None, email: str, auth_method: str = "password") -> str:
    """Return what to do for an account whose state has this reason, known or not.

    `auth_method` is ``password`` or ``oauth2``. The commands can be pasted into a shell.
    """
    actions = {**ACTIONS, **OAUTH_ACTIONS} if auth_method == "oauth2" else ACTIONS
    return actions.get(reason or "", _UNKNOWN_REASON).replace("{email}", shlex.quote(email))
