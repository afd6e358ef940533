"""What can go wrong, classed by what the engine does next.

Each class says in ``code`` what stands in ``sync_runs.error_code`` and in the API's problem documents,
and in ``exit_code`` how a command that fails with it ends. The text of an error is meant for a person:
one line that names the thing, without secrets (see :func:`mailsync.redaction.redact`).
"""

from __future__ import annotations

from typing import ClassVar


class MailsyncError(Exception):
    """Root of all errors that mailsync raises on purpose.

    ``step`` names the part of a connection test that failed: ``dns``, ``connect``, ``tls``, ``login``
    or ``list``.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, step: str | None = None) -> None:
        super().__init__(message)
        self.step = step


# -- said by a person's input: nothing was done, say what is accepted ----------------------------------


class ConfigError(MailsyncError):
    """A setting is missing or wrong; the program does not start."""

    code = "config"
    exit_code = 2


class InvalidInput(MailsyncError):
    """An argument or a field does not fit; nothing was stored. ``field`` is its name over HTTP."""

    code = "invalid"
    exit_code = 2

    def __init__(self, message: str, *, field: str | None = None, step: str | None = None) -> None:
        super().__init__(message, step=step)
        self.field = field


class NotPossible(InvalidInput):
    """What is asked for is well said, and does not go with this folder: INBOX cannot be left out."""

    code = "not_possible"


class ForbiddenHost(InvalidInput):
    """The host resolves to an address, or the port is one, that mailsync may not connect to."""

    code = "forbidden_host"
    exit_code = 1


class NotFound(MailsyncError):
    """No account, folder or message of that name."""

    code = "not_found"


class Conflict(MailsyncError):
    """What should be created exists already."""

    code = "conflict"


class LimitReached(MailsyncError):
    """``SYNC_MAX_ACCOUNTS`` accounts exist."""

    code = "account_limit"


class Gone(MailsyncError):
    """The message is no longer on the server, and its body was never fetched."""

    code = "gone"


class UidValidityMoved(MailsyncError):
    """The folder was made anew on the server: the row's UID names nothing there (RFC 9051 §2.3.1.1)."""

    code = "uidvalidity_moved"


class Paused(MailsyncError):
    """A person has paused the account: nothing is asked of its server."""

    code = "paused"


class Broken(MailsyncError):
    """The account is broken so that only what a person changes lets it go on."""

    code = "broken"


class Busy(MailsyncError):
    """Another process holds the account's lock, or its command budget is used up; try again later."""

    code = "busy"
    exit_code = 3

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class LockHeld(Busy):
    """A session of another program holds the account's lock; a person has to end it."""


# -- said by a server ----------------------------------------------------------------------------------


class Throttled(MailsyncError):
    """The server asks us to slow down: back off as hinted; not a failure of the account.

    ``retry_after`` is the server's hint in seconds, or None.
    """

    code = "throttled"

    def __init__(self, message: str, *, retry_after: float | None = None, step: str | None = None) -> None:
        super().__init__(message, step=step)
        self.retry_after = retry_after


class PoisonousServer(MailsyncError):
    """Several turns of the account in a row ended with their process, so it is backed off.

    ``turns`` is their number; ``retry_after`` is the seconds until the next try, None if that is not known
    yet.
    """

    code = "poisonous_server"

    def __init__(self, message: str, *, turns: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.turns = turns
        self.retry_after = retry_after


class Transient(MailsyncError):
    """Timeouts, resets, BYE, overload: the connection is closed and tried again after a backoff."""

    code = "unreachable"


class TimedOut(Transient):
    """The server was silent for too long, or did not finish in time."""


class CertificateRejected(Transient):
    """The server's certificate does not verify, or the TLS handshake failed."""

    code = "tls"


class AuthenticationFailed(MailsyncError):
    """The server rejected the user name or password; the third time in a row breaks the account.

    ``retry_after`` is the server's hint in seconds, or None.
    """

    code = "auth_failed"
    exit_code = 4

    def __init__(self, message: str, *, retry_after: float | None = None, step: str | None = None) -> None:
        super().__init__(message, step=step)
        self.retry_after = retry_after


class PasswordRejected(AuthenticationFailed):
    """The server rejected what a person has just given; nothing was stored."""


class FolderError(MailsyncError):
    """The server refuses this folder (NONEXISTENT, NO on EXAMINE): skip it and rediscover.

    ``temporary`` tells that the server says itself that this may pass (INUSE, SERVERBUG).
    """

    code = "folder_error"

    def __init__(self, message: str, *, temporary: bool = False, step: str | None = None) -> None:
        super().__init__(message, step=step)
        self.temporary = temporary


class ProtocolError(MailsyncError):
    """An answer that cannot be understood.

    The session closes itself first if it is out of step with the server.
    """

    code = "protocol"


class SentTooMuch(ProtocolError):
    """The server sends far more than was asked for; the session is closed."""


class ResetLimit(MailsyncError):
    """A folder's UIDVALIDITY changed too often in 24 hours; a person must look."""

    code = "uidvalidity_reset_limit"


class KeyMismatch(MailsyncError):
    """No configured key opens the account's credentials."""

    code = "key_mismatch"


# -- said by Postgres ----------------------------------------------------------------------------------


class LockLost(MailsyncError):
    """The connection that held the account's lock is gone: stop, write nothing more."""

    code = "lock_lost"


class DatabaseUnavailable(MailsyncError):
    """Postgres cannot be reached or does not accept writes: reconnect with backoff."""

    code = "database_unavailable"


class DatabaseSlow(DatabaseUnavailable):
    """A statement took longer than it may (``STATEMENT_TIMEOUT``), or was cancelled by an administrator.

    The statement is rolled back; the connection and the account's lock are kept. The account loses its turn,
    and no other account loses anything.
    """

    code = "database_slow"


class RowsLocked(DatabaseSlow):
    """A statement waited too long (``lock_timeout``) for what another transaction has locked."""


class RowsRefused(MailsyncError):
    """Postgres does not take a value of these rows: halve the batch, then store the one bad row bare."""

    code = "rows_refused"


class SchemaError(MailsyncError):
    """The schema is missing, older or newer than this program, or a migration was edited."""

    code = "schema"


class SchemaDegraded(SchemaError):
    """An index, a right or row level security differs: the mirror is true, but slower or less protected."""


# -- said by ourselves, to end a turn early ------------------------------------------------------------


class TurnOver(MailsyncError):
    """The turn ends here by choice; all that was done is committed and the rest follows later."""

    code = "turn_over"


class OutOfTokens(TurnOver):
    """The account's command budget for now is used up; ``retry_after`` seconds bring enough for a turn."""

    code = "throttle"

    def __init__(self, retry_after: float) -> None:
        super().__init__("the account's command budget for now is used up")
        self.retry_after = retry_after


class Stopped(TurnOver):
    """The process was asked to stop and the time to finish the batch in hand is over."""

    code = "stopped"
