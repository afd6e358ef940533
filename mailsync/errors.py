"""The errors that mailsync raises, classed by what the engine does next.

``code`` appears in ``sync_runs.error_code`` and in the API's problem documents. ``exit_code`` is the exit
code of a command that fails with the error. The message is for people: one line that names what is wrong,
without secrets (see :func:`mailsync.redaction.redact`).
"""

from __future__ import annotations

from typing import ClassVar


class MailsyncError(Exception):
    """Root of all errors that mailsync raises itself.

    ``step`` names the part of a connection test that failed: ``dns``, ``connect``, ``tls``, ``login``
    or ``list``. ``retry_after`` is in how many seconds to try again, None if that is not known.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, retry_after: float | None = None, step: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.step = step


# -- wrong input: nothing was done ---------------------------------------------------------------------


class ConfigError(MailsyncError):
    """A setting is missing or wrong: the program does not start."""

    code = "config"
    exit_code = 2


class InvalidInput(MailsyncError):
    """An argument or a field is wrong, and nothing was stored. ``field`` is its name over HTTP."""

    code = "invalid"
    exit_code = 2

    def __init__(self, message: str, *, field: str | None = None, step: str | None = None) -> None:
        super().__init__(message, step=step)
        self.field = field


class OtherUser(InvalidInput):
    """The tokens belong to another user than the owner of the mailbox, and nothing was stored."""

    code = "other_user"


class NotPossible(InvalidInput):
    """The request is valid but impossible for this folder: INBOX, for example, cannot be excluded."""

    code = "not_possible"


class ForbiddenHost(InvalidInput):
    """mailsync may not connect to the address that the host resolves to, or to the port."""

    code = "forbidden_host"
    exit_code = 1


class NotFound(MailsyncError):
    """There is no such account, folder or message."""

    code = "not_found"


class Conflict(MailsyncError):
    """The account to be created already exists."""

    code = "conflict"


class LimitReached(MailsyncError):
    """There are ``SYNC_MAX_ACCOUNTS`` accounts already."""

    code = "account_limit"


class Gone(MailsyncError):
    """The message is no longer on the server, and its body was never fetched."""

    code = "gone"


class UidValidityMoved(MailsyncError):
    """The folder has a new UIDVALIDITY, so the row's UID is no longer valid (RFC 9051 §2.3.1.1)."""

    code = "uidvalidity_moved"


class Paused(MailsyncError):
    """A person has paused the account: mailsync does not connect to its server."""

    code = "paused"


class Broken(MailsyncError):
    """The account is broken and only a person can repair it."""

    code = "broken"


class Busy(MailsyncError):
    """Another process holds the account's lock, or a limit is reached: try again later."""

    code = "busy"
    exit_code = 3
    retry_after: float

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message, retry_after=retry_after)


class LeftAlone(Busy):
    """A wake is not for this worker: another one listens to the account, or its server asked to wait."""


class LockHeld(Busy):
    """A database session of another program holds the account's lock: a person must end it."""


# -- from a mail server --------------------------------------------------------------------------------


class Throttled(MailsyncError):
    """The server asks us to slow down: back off as it asks. Not a failure of the account."""

    code = "throttled"


class PoisonousServer(MailsyncError):
    """The process died in several turns of the account in a row; ``turns`` is their number. Back off."""

    code = "poisonous_server"

    def __init__(self, message: str, *, turns: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, retry_after=retry_after)
        self.turns = turns


class Transient(MailsyncError):
    """Timeouts, resets, BYE, overload: close the connection and reconnect after a backoff."""

    code = "unreachable"


class TimedOut(Transient):
    """The server did not respond, or did not finish, in time."""


class CertificateRejected(Transient):
    """The server's certificate cannot be verified, or the TLS handshake failed."""

    code = "tls"


class AuthenticationFailed(MailsyncError):
    """The server rejected the user name or password; the third time in a row breaks the account."""

    code = "auth_failed"
    exit_code = 4


class PasswordRejected(AuthenticationFailed):
    """The server rejected the password that a person has just entered; nothing was stored."""


class GrantRejected(AuthenticationFailed):
    """The authorization server no longer accepts the refresh token: a person must authorize again."""


class ClientRejected(Transient):
    """The authorization server refuses our client: the operator must correct ``OAUTH_…``, and no account."""

    code = "oauth_client"


class NotConnected(Transient):
    """The server accepts the token but opens no mailbox: at first it may pass, after an hour it is broken."""

    code = "not_connected"


class FolderError(MailsyncError):
    """The server refuses this folder (NONEXISTENT, NO to EXAMINE): skip it and rediscover folders.

    ``temporary`` is True if the server says that the refusal may pass (INUSE, SERVERBUG).
    """

    code = "folder_error"

    def __init__(self, message: str, *, temporary: bool = False, step: str | None = None) -> None:
        super().__init__(message, step=step)
        self.temporary = temporary


class ProtocolError(MailsyncError):
    """A response of the server that cannot be parsed, or that does not fit the command.

    If the session cannot continue after the response, it is closed already.
    """

    code = "protocol"


class SentTooMuch(ProtocolError):
    """The server sends far more than the command asked for; the session is closed."""


class ResetLimit(MailsyncError):
    """A folder's UIDVALIDITY changed too often in 24 hours: a person must look into it."""

    code = "uidvalidity_reset_limit"


class KeyMismatch(MailsyncError):
    """No configured key opens the account's password."""

    code = "key_mismatch"


# -- from Postgres -------------------------------------------------------------------------------------


class LockLost(MailsyncError):
    """The connection that held the account's lock is gone: stop and write nothing more."""

    code = "lock_lost"


class DatabaseUnavailable(MailsyncError):
    """Postgres cannot be reached or does not accept writes: reconnect with backoff."""

    code = "database_unavailable"


class DatabaseSlow(DatabaseUnavailable):
    """A statement took longer than ``STATEMENT_TIMEOUT``, or an administrator cancelled it.

    The statement is rolled back; the connection and the account's lock are kept. Only this account's turn
    ends.
    """

    code = "database_slow"


class RowsLocked(DatabaseSlow):
    """A statement waited longer than ``lock_timeout`` for rows that another transaction has locked."""


class RowsRefused(MailsyncError):
    """Postgres refuses a value of these rows: halve the batch, then store the bad row without content."""

    code = "rows_refused"


class SchemaError(MailsyncError):
    """The schema is missing, older or newer than this program, or a migration file was edited."""

    code = "schema"


class SchemaDegraded(SchemaError):
    """An index, privilege or policy differs: the mirror is correct, but slower or less protected."""


# -- from mailsync itself, to end a turn early ---------------------------------------------------------


class TurnOver(MailsyncError):
    """mailsync ends the turn here: all work so far is committed, and the rest follows in a later turn."""

    code = "turn_over"


class MessagesDeferred(TurnOver):
    """Messages of one folder are left to the next turn, which follows at once; other folders continue."""


class OutOfTokens(TurnOver):
    """The account's command budget is used up; after ``retry_after`` seconds it suffices for a turn."""

    code = "throttle"
    retry_after: float

    def __init__(self, retry_after: float) -> None:
        super().__init__("the account's command budget is used up for now", retry_after=retry_after)


class Stopped(TurnOver):
    """The process was asked to stop, and the current batch did not finish in time."""

    code = "stopped"
