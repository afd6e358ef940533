"""What a server's words mean: the table of SPEC §13 and what providers really say."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from mailsync.errors import (
    AuthenticationFailed,
    FolderError,
    MailsyncError,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.imap.status_responses import (
    LONGEST_QUOTE,
    StatusResponse,
    error_for,
    hint,
    parse_status_response,
)
from mailsync.redaction import keep_secret, masking

A, T, S, F, P = AuthenticationFailed, Throttled, Transient, FolderError, ProtocolError


class Said(NamedTuple):
    """One row: who says it, to which command, what, and so which class, and how many seconds to wait."""

    server: str
    command: str
    line: str
    kind: type[MailsyncError]
    seconds: float | None = None


SAID = [
    # -- LOGIN: the password, or what a person has to change ------------------------------------------------
    Said("Gmail", "LOGIN", "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", A),
    Said("Gmail", "LOGIN", "NO [ALERT] Invalid credentials (Failure)", A),
    Said("Gmail", "LOGIN", "NO [ALERT] Application-specific password required:"
         " https://support.google.com/accounts/answer/185833 (Failure)", A),
    Said("Gmail", "LOGIN", "NO [ALERT] Please log in via your web browser:"
         " https://support.google.com/mail/accounts/answer/78754 (Failure)", A),
    Said("Gmail", "LOGIN", "NO [WEBALERT https://accounts.google.com/signin/continue?sarp=1&retry=10s]"
         " Web login required.", A),
    Said("Gmail", "LOGIN", "NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail"
         " settings page and enable your account for IMAP access. (Failure)", A),
    Said("Exchange", "LOGIN", "NO LOGIN failed.", A),
    Said("Exchange", "LOGIN", "NO AUTHENTICATE failed.", A),
    Said("Yahoo", "LOGIN", "NO [AUTHENTICATIONFAILED] LOGIN Invalid credentials", A),
    Said("Yahoo", "LOGIN", "NO [AUTHORIZATIONFAILED] LOGIN Please verify your account", A),
    Said("iCloud", "LOGIN", "NO [AUTHENTICATIONFAILED] Authentication Failed", A),
    Said("Yandex", "LOGIN", "NO [AUTHENTICATIONFAILED] LOGIN invalid credentials or IMAP is disabled"
         " sc=cYXlpv732Cg1_010534_2-1e59ad28a72c", A),
    Said("Zoho", "LOGIN", "NO [ALERT] Invalid credentials(Failure)", A),
    Said("Zoho", "LOGIN", "NO [ALERT] You are yet to enable IMAP for your account. Please contact your"
         " administrator (Failure)", A),
    Said("Fastmail", "LOGIN", "NO [AUTHENTICATIONFAILED] Incorrect username, password or access token", A),
    Said("mail.ru", "LOGIN", "NO [AUTHENTICATIONFAILED] Application password is REQUIRED", A),
    Said("QQ", "LOGIN", "NO Login fail. Account is abnormal, service is not open, password is incorrect,"
         " login frequency limited, or system is busy.", A),
    Said("163", "LOGIN", "NO LOGIN Login error or password error", A),
    Said("hMailServer", "LOGIN", "NO Invalid user name or password. Please use full email address as user"
         " name.", A),
    Said("Proton Bridge", "LOGIN", "NO incorrect login credentials", A),
    Said("Proton Bridge", "LOGIN", "NO no such user", A),
    Said("Zimbra", "LOGIN", "NO LOGIN failed", A),
    Said("James", "LOGIN", "NO LOGIN failed. Invalid login/password.", A),
    Said("Courier", "LOGIN", "NO Login failed.", A),
    Said("Cyrus", "LOGIN", "NO Login failed: authentication failure", A),
    Said("Cyrus", "LOGIN", "NO Login failed: user not found", A),
    Said("Cyrus", "LOGIN", "NO Login only available under a layer", A),
    Said("Dovecot", "LOGIN", "NO [AUTHENTICATIONFAILED] Authentication failed.", A),
    Said("Dovecot", "LOGIN", "NO [AUTHORIZATIONFAILED] Account is temporarily disabled.", A),
    Said("Dovecot", "LOGIN", "NO [EXPIRED] Password expired.", A),
    Said("Dovecot", "LOGIN", "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure"
         " (SSL/TLS) connections.", A),
    Said("older Dovecot", "LOGIN", "NO Plaintext authentication disallowed on non-secure (SSL/TLS)"
         " connections.", A),
    Said("UW", "LOGIN", "NO LOGIN disabled", A),
    Said("RFC 5530", "LOGIN", "NO [CONTACTADMIN] Your account is closed.", A),
    Said("anyone", "LOGIN", "NO Invalid user name or password. Please try again later.", A),
    Said("anyone", "LOGIN", "NO Account is locked", A),
    Said("anyone", "LOGIN", "NO SSL is required to log in on this connection", A),
    Said("anyone", "LOGIN", "NO", A),
    Said("anyone", "LOGIN", "NO [AUTHENTICATIONFAILED] Wrong password, try again in 15 minutes", A, 900),

    # -- LOGIN: slow down -----------------------------------------------------------------------------------
    Said("Gmail", "LOGIN", "NO [ALERT] Too many simultaneous connections. (Failure)", T),
    Said("Gmail", "LOGIN", "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", T),
    Said("Gmail", "LOGIN", "NO [ALERT] Account exceeded command or bandwidth limits. (Failure)", T),
    Said("Gmail", "LOGIN", "NO [ALERT] Lockout", T),
    Said("Yahoo", "LOGIN", "NO [LIMIT] LOGIN Rate limit hit.", T),
    Said("Exchange", "LOGIN", "NO Request is throttled. Suggested Backoff Time: 5000 milliseconds", T, 5),
    Said("Proton Bridge", "LOGIN", "NO too many login attempts", T),
    Said("Dovecot", "LOGIN", "NO [LIMIT] Maximum number of connections exceeded", T),
    Said("Dovecot", "LOGIN", "NO Maximum number of connections from user+IP exceeded", T),
    Said("anyone", "LOGIN", "NO Too many login failures, try again in 15 minutes", T, 900),
    Said("anyone", "LOGIN", "NO Too many wrong passwords", T),
    Said("anyone", "LOGIN", "NO Maximum login attempts exceeded", T),
    Said("anyone", "LOGIN", "NO Your IP is blocked for 10 minutes", T, 600),
    Said("anyone", "LOGIN", "NO [UNAVAILABLE] Busy. Retry after 60 seconds", T, 60),

    # -- LOGIN: the server is out of order, which says nothing of the password ------------------------------
    Said("Gmail", "LOGIN", "NO Temporary System Error (Failure)", S),
    Said("Gmail", "LOGIN", "NO System Error (Failure)", S),
    Said("Gmail", "LOGIN", "NO Lookup failed 5f9d", S),
    Said("Exchange", "LOGIN", "NO Server Unavailable. 15", S),
    Said("Exchange", "LOGIN", "BAD User is authenticated but not connected.", S),
    Said("Yahoo", "LOGIN", "NO [UNAVAILABLE] LOGIN Server error - Please try again later", S),
    Said("Yahoo", "LOGIN", "NO [SERVERBUG] LOGIN Server error - Please try again later", S),
    Said("Yandex", "LOGIN", "NO [UNAVAILABLE] LOGIN internal server error sc=f8JB0ug4Y1", S),
    Said("Dovecot", "LOGIN", "NO [UNAVAILABLE] Temporary authentication failure. [mx1:2026-03-01]", S),
    Said("Dovecot", "LOGIN", "NO [UNAVAILABLE] Internal login failure. Refer to server log.", S),
    Said("Rackspace", "LOGIN", "NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded"
         " (mail_max_userip_connections=16)", S),
    Said("older Dovecot", "LOGIN", "NO Internal login failure", S),
    Said("Courier", "LOGIN", "NO Temporary problem, please try again later", S),
    Said("Zimbra", "LOGIN", "NO account is in maintenance mode", S),
    Said("anyone", "LOGIN", "NO [INUSE] mailbox in use", S),
    Said("anyone", "LOGIN", "NO Unable to contact the authentication server", S),
    Said("anyone", "LOGIN", "NO Server busy, please try again", S),
    Said("anyone", "LOGIN", "BAD Error in IMAP command", P),

    # -- BYE: never a rejection -----------------------------------------------------------------------------
    Said("anyone", "LOGIN", "BYE", S),
    Said("Dovecot", "LOGIN", "BYE Disconnected: Inactivity during authentication.", S),
    Said("anyone", "LOGIN", "BYE [AUTHENTICATIONFAILED] Invalid credentials", S),
    Said("anyone", "LOGIN", "BYE Invalid password", S),
    Said("Exchange", "greeting", "BYE Connection is closed. 13", S),
    Said("Zimbra", "greeting", "BYE Zimbra IMAP4rev1 server terminating connection", S),
    Said("Stalwart", "greeting", "BYE Server shutting down.", S),
    Said("Cyrus", "greeting", "BYE Fatal error: can't open mailboxes file", S),
    Said("Dovecot", "FETCH", "BYE Too many invalid IMAP commands.", S),
    Said("anyone", "greeting", "BYE Too many connections", T),
    Said("mox", "greeting", "BYE too many open connections from your ip or network", T),
    Said("anyone", "greeting", "BYE [THROTTLED] wait 30s", T, 30),

    # -- opening a mailbox: this one, or all ----------------------------------------------------------------
    Said("Dovecot", "EXAMINE", "NO [NONEXISTENT] Mailbox doesn't exist: Too many connections", F),
    Said("Dovecot", "EXAMINE", "NO [NOPERM] Permission denied", F),
    Said("Dovecot", "EXAMINE", "NO [CANNOT] Invalid mailbox name: unavailable", F),
    Said("Dovecot", "EXAMINE", "NO [SERVERBUG] Internal error occurred. Refer to server log.", F),
    Said("Gmail", "EXAMINE", "NO [NONEXISTENT] Unknown Mailbox: Work (Failure)", F),
    Said("Yahoo", "EXAMINE", "NO [INUSE] EXAMINE Mailbox in use", F),
    Said("Exchange", "EXAMINE", "NO Mailbox does not exist: busy later", F),
    Said("Courier", "EXAMINE", "NO Unable to open this mailbox.", F),
    Said("Cyrus", "EXAMINE", "NO System I/O error", F),
    Said("163", "EXAMINE", "NO EXAMINE Unsafe Login. Please contact kefu@188.com for help", F),
    Said("RFC 5530", "EXAMINE", "NO [CONTACTADMIN] Mailbox is damaged", F),
    Said("RFC 9051", "STATUS", "NO [NONEXISTENT] no", F),
    Said("anyone", "EXAMINE", "NO", F),
    Said("Dovecot", "EXAMINE", "NO [UNAVAILABLE] Backend is down", S),
    Said("Exchange", "EXAMINE", "NO Server Unavailable. 15", S),
    Said("Exchange", "EXAMINE", "BAD User is authenticated but not connected.", S),
    Said("RFC 5530", "EXAMINE", "NO [EXPIRED] The passphrase is no longer good", S),
    Said("Yahoo", "STATUS", "NO [LIMIT] STATUS Rate limit hit.", T),
    Said("WorkMail", "EXAMINE", "NO Request is throttled. Suggested Backoff Time: 299961 milliseconds", T,
         299.961),
    Said("anyone", "EXAMINE", "BAD no", P),

    # -- other commands -------------------------------------------------------------------------------------
    Said("Exchange", "FETCH", "BAD Request is throttled. Suggested Backoff Time: 89117 milliseconds", T,
         89.117),
    Said("Gmail", "FETCH", "NO [OVERQUOTA] Account exceeded command or bandwidth limits.", T),
    Said("Gmail", "FETCH", "NO [THROTTLED] slow", T),
    Said("Gmail", "FETCH", "NO Some messages could not be FETCHed (Failure)", P),
    Said("Gmail", "LIST", "NO System Error (Failure)", S),
    Said("Yahoo", "FETCH", "NO [LIMIT] UID FETCH Rate limit hit.", T),
    Said("Yahoo", "FETCH", "NO [UNAVAILABLE] UID FETCH Server error - Please try again later", S),
    Said("Yandex", "FETCH", "NO [UNAVAILABLE] UID FETCH Backend error sc=f8JB0ug4Y1", S),
    Said("Dovecot", "FETCH", "NO [SERVERBUG] Internal error occurred.", S),
    Said("Dovecot", "FETCH", "BAD Error in IMAP command UID FETCH: Too long argument", P),
    Said("anyone", "LIST", "NO [AUTHENTICATIONFAILED] session expired", S),
    Said("anyone", "FETCH", "BAD Too many invalid commands", P),
]  # fmt: skip


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.server}-{said.command}-{said.line[:60]}")
def test_each_reply_is_classed_by_what_to_do_next(said: Said) -> None:
    reply = parse_status_response(said.line.encode())
    assert reply is not None
    step = {"LOGIN": "login", "greeting": "connect"}.get(said.command)
    error = error_for(reply, said.command, step=step)
    assert type(error) is said.kind
    assert getattr(error, "retry_after", None) == said.seconds
    assert error.step == step
    assert str(error).startswith(said.command)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Suggested Backoff Time: 5000 milliseconds", 5.0),
        ("Suggested Backoff Time: 5000", 3600.0),
        ("try again in 30 seconds", 30.0),
        ("Try again after 2 min.", 120.0),
        ("Please wait 2 minutes", 120.0),
        ("wait 30s", 30.0),
        ("wait 250ms", 0.25),
        ("Retry after 60 seconds", 60.0),
        ("retry-after: 90", 90.0),
        ("retry after 90", 90.0),
        ("Try again in 1 hour", 3600.0),
        ("locked out for 15 minutes", 900.0),
        ("try again in 24 hours", 3600.0),
        ("backoff 999999999 hours", 3600.0),
        ("too many connections", None),
        ("please retry. Error 5002", None),
        ("try again in a few minutes", None),
        ("error 5000", None),
    ],
)
def test_hints_in_words_are_honoured_up_to_an_hour(text: str, seconds: float | None) -> None:
    assert hint(text) == seconds
    if seconds is not None:
        error = error_for(StatusResponse("NO", text.encode()), "FETCH")
        assert isinstance(error, Throttled)
        assert error.retry_after == seconds


def test_quoted_words_are_one_short_line_without_the_password_in_hand() -> None:
    text = b"no hunter2-hunter2\x1b[2J\r\nat all " + b"x" * 1000
    error = error_for(StatusResponse("NO", text, masking("hunter2-hunter2")), "LOGIN", step="login")
    assert "hunter2" not in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 400


def test_quoted_words_tell_nothing_of_secrets_that_a_server_can_only_guess() -> None:
    keep_secret("a-token-that-is-guessed")
    reply = StatusResponse(
        "NO", b"is it a-token-that-is-guessed or my-own-password?", masking("my-own-password")
    )
    assert reply.words == "is it a-token-that-is-guessed or ***?"


def test_the_password_in_hand_is_masked_where_the_quote_is_cut_too() -> None:
    for length in range(LONGEST_QUOTE - 20, LONGEST_QUOTE):
        words = StatusResponse("NO", b"x" * length + b" hunter2-hunter2", masking("hunter2-hunter2")).words
        assert "h" not in words, words


def test_a_completion_knows_its_code() -> None:
    reply = parse_status_response(b"OK [CAPABILITY IMAP4rev1 ID] ready")
    assert reply is not None
    assert reply[:2] == ("OK", b"[CAPABILITY IMAP4rev1 ID] ready")
    assert (reply.code, reply.argument) == ("CAPABILITY", b"IMAP4rev1 ID")
    assert parse_status_response(b"OKAY then") is None
    assert parse_status_response(b"LIST () a b") is None
