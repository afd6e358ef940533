"""What a server's words mean: the table of SPEC §13 and what providers really say."""

from __future__ import annotations

import pytest

from mailsync.errors import (
    AuthenticationFailed,
    FolderError,
    MailsyncError,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.imap.replies import Completion, error_for, hint, parse_completion
from mailsync.logs import keep_secret

LOGIN, EXAMINE, FETCH = ("LOGIN", "login"), ("EXAMINE", None), ("FETCH", None)


@pytest.mark.parametrize(
    ("command", "line", "kind"),
    [
        (LOGIN, "NO [AUTHENTICATIONFAILED] Authentication failed.", AuthenticationFailed),
        (LOGIN, "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", AuthenticationFailed),
        (LOGIN, "NO [AUTHORIZATIONFAILED] no", AuthenticationFailed),
        (LOGIN, "NO [EXPIRED] password expired", AuthenticationFailed),
        (LOGIN, "NO [ALERT] Application-specific password required", AuthenticationFailed),
        (LOGIN, "NO LOGIN failed.", AuthenticationFailed),
        (LOGIN, "NO", AuthenticationFailed),
        (LOGIN, "NO Lookup failed 5f9d", AuthenticationFailed),
        (LOGIN, "NO [AUTHENTICATIONFAILED] Login failed, account locked", AuthenticationFailed),
        (LOGIN, "NO Account is locked", AuthenticationFailed),
        (LOGIN, "NO Invalid user name or password. Please try again later.", AuthenticationFailed),
        (LOGIN, "NO Authentication failed. Please try again", AuthenticationFailed),
        (LOGIN, "NO Too many login failures, try again in 5 minutes", Throttled),
        (LOGIN, "NO [UNAVAILABLE] Temporary authentication failure", Transient),
        (LOGIN, "NO [INUSE] mailbox in use", Transient),
        (LOGIN, "NO [SERVERBUG] Internal error occurred", Transient),
        (LOGIN, "NO [ALERT] Too many simultaneous connections. (Failure)", Throttled),
        (LOGIN, "NO [LIMIT] Maximum number of connections exceeded", Throttled),
        (LOGIN, "NO Maximum number of connections from user+IP exceeded", Throttled),
        (LOGIN, "NO [THROTTLED] Account exceeded command or bandwidth limits", Throttled),
        (LOGIN, "NO [OVERQUOTA] quota", Throttled),
        (LOGIN, "NO Server busy, please try again", Transient),
        (LOGIN, "NO Service temporarily unavailable", Transient),
        (LOGIN, "NO Request is throttled. Suggested Backoff Time: 5000 milliseconds", Throttled),
        (LOGIN, "BAD User is authenticated but not connected.", Transient),
        (LOGIN, "BAD Error in IMAP command", ProtocolError),
        (LOGIN, "BYE Too many connections", Throttled),
        (LOGIN, "BYE Disconnected for inactivity.", Transient),
        (LOGIN, "BYE", Transient),
        (EXAMINE, "NO [NONEXISTENT] Mailbox doesn't exist: connections", FolderError),
        (EXAMINE, "NO Mailbox does not exist", FolderError),
        (EXAMINE, "NO [NOPERM] Permission denied", FolderError),
        (EXAMINE, "NO [UNAVAILABLE] backend", Transient),
        (EXAMINE, "NO [INUSE] Mailbox is locked", Transient),
        (EXAMINE, "BAD no", ProtocolError),
        (FETCH, "NO Some messages could not be FETCHed (Failure)", ProtocolError),
        (FETCH, "NO [SERVERBUG] oops", Transient),
        (FETCH, "BAD Too long argument", ProtocolError),
        (FETCH, "NO [LIMIT] rate", Throttled),
    ],
)
def test_each_reply_is_classed_by_what_to_do_next(
    command: tuple[str, str | None], line: str, kind: type[MailsyncError]
) -> None:
    reply = parse_completion(line.encode())
    assert reply is not None
    error = error_for(reply, command[0], step=command[1])
    assert type(error) is kind
    assert error.step == command[1]
    assert str(error).startswith(command[0])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Suggested Backoff Time: 5000 milliseconds", 5.0),
        ("try again in 30 seconds", 30.0),
        ("Please wait 2 minutes", 120.0),
        ("retry after 90", 90.0),
        ("Try again in 1 hour", 3600.0),
        ("backoff 999999999 hours", 86400.0),
        ("too many connections", None),
        ("error 5000", None),
    ],
)
def test_hints_in_words_are_honoured(text: str, seconds: float | None) -> None:
    assert hint(text) == seconds
    if seconds is not None:
        error = error_for(Completion("NO", text.encode()), "FETCH")
        assert isinstance(error, Throttled)
        assert error.retry_after == seconds


def test_quoted_words_are_one_short_line_without_secrets() -> None:
    keep_secret("hunter2-hunter2")
    error = error_for(
        Completion("NO", b"no hunter2-hunter2\x1b[2J\r\nat all " + b"x" * 1000), "LOGIN", step="login"
    )
    assert "hunter2" not in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 400


def test_a_completion_knows_its_code() -> None:
    reply = parse_completion(b"OK [CAPABILITY IMAP4rev1 ID] ready")
    assert reply == ("OK", b"[CAPABILITY IMAP4rev1 ID] ready")
    assert reply is not None
    assert (reply.code, reply.argument) == ("CAPABILITY", b"IMAP4rev1 ID")
    assert parse_completion(b"OKAY then") is None
    assert parse_completion(b"LIST () a b") is None
