"""The errors for refusals: the table of SPEC §13 and the words of real providers."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from mailsync.errors import (
    AuthenticationFailed,
    FolderError,
    MailsyncError,
    NotConnected,
    ProtocolError,
    Throttled,
    Transient,
)
from mailsync.imap.status_responses import (
    LONGEST_QUOTE,
    StatusResponse,
    error_for,
    parse_status_response,
    requested_wait,
)
from mailsync.redaction import keep_secret, masking

A, T, S, F, P = AuthenticationFailed, Throttled, Transient, FolderError, ProtocolError
N = NotConnected


class Case(NamedTuple):
    """One row: server, command and response, and the expected error and seconds to wait."""

    server: str
    command: str
    line: str
    kind: type[MailsyncError]
    seconds: float | None = None


CASES = [
    # -- LOGIN: the password, or another setting of the account ---------------------------------------
    Case("Gmail", "LOGIN", "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", A),
    Case("Gmail", "LOGIN", "NO [ALERT] Invalid credentials (Failure)", A),
    Case("Gmail", "LOGIN", "NO [ALERT] Application-specific password required:"
         " https://support.google.com/accounts/answer/185833 (Failure)", A),
    Case("Gmail", "LOGIN", "NO [ALERT] Please log in via your web browser:"
         " https://support.google.com/mail/accounts/answer/78754 (Failure)", A),
    Case("Gmail", "LOGIN", "NO [WEBALERT https://accounts.google.com/signin/continue?sarp=1&retry=10s]"
         " Web login required.", A),
    Case("Gmail", "LOGIN", "NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail"
         " settings page and enable your account for IMAP access. (Failure)", A),
    Case("Exchange", "LOGIN", "NO LOGIN failed.", A),
    Case("Exchange", "LOGIN", "NO AUTHENTICATE failed.", A),
    Case("Yahoo", "LOGIN", "NO [AUTHENTICATIONFAILED] LOGIN Invalid credentials", A),
    Case("Yahoo", "LOGIN", "NO [AUTHORIZATIONFAILED] LOGIN Please verify your account", A),
    Case("iCloud", "LOGIN", "NO [AUTHENTICATIONFAILED] Authentication Failed", A),
    Case("Yandex", "LOGIN", "NO [AUTHENTICATIONFAILED] LOGIN invalid credentials or IMAP is disabled"
         " sc=cYXlpv732Cg1_010534_2-1e59ad28a72c", A),
    Case("Zoho", "LOGIN", "NO [ALERT] Invalid credentials(Failure)", A),
    Case("Zoho", "LOGIN", "NO [ALERT] You are yet to enable IMAP for your account. Please contact your"
         " administrator (Failure)", A),
    Case("Fastmail", "LOGIN", "NO [AUTHENTICATIONFAILED] Incorrect username, password or access token", A),
    Case("mail.ru", "LOGIN", "NO [AUTHENTICATIONFAILED] Application password is REQUIRED", A),
    Case("QQ", "LOGIN", "NO Login fail. Account is abnormal, service is not open, password is incorrect,"
         " login frequency limited, or system is busy.", A),
    Case("163", "LOGIN", "NO LOGIN Login error or password error", A),
    Case("hMailServer", "LOGIN", "NO Invalid user name or password. Please use full email address as user"
         " name.", A),
    Case("Proton Bridge", "LOGIN", "NO incorrect login credentials", A),
    Case("Proton Bridge", "LOGIN", "NO no such user", A),
    Case("Zimbra", "LOGIN", "NO LOGIN failed", A),
    Case("James", "LOGIN", "NO LOGIN failed. Invalid login/password.", A),
    Case("Courier", "LOGIN", "NO Login failed.", A),
    Case("Cyrus", "LOGIN", "NO Login failed: authentication failure", A),
    Case("Cyrus", "LOGIN", "NO Login failed: user not found", A),
    Case("Cyrus", "LOGIN", "NO Login only available under a layer", A),
    Case("Dovecot", "LOGIN", "NO [AUTHENTICATIONFAILED] Authentication failed.", A),
    Case("Dovecot", "LOGIN", "NO [AUTHORIZATIONFAILED] Account is temporarily disabled.", A),
    Case("Dovecot", "LOGIN", "NO [EXPIRED] Password expired.", A),
    Case("Dovecot", "LOGIN", "NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure"
         " (SSL/TLS) connections.", A),
    Case("older Dovecot", "LOGIN", "NO Plaintext authentication disallowed on non-secure (SSL/TLS)"
         " connections.", A),
    Case("UW", "LOGIN", "NO LOGIN disabled", A),
    Case("RFC 5530", "LOGIN", "NO [CONTACTADMIN] Your account is closed.", A),
    Case("anyone", "LOGIN", "NO Invalid user name or password. Please try again later.", A),
    Case("anyone", "LOGIN", "NO Account is locked", A),
    Case("anyone", "LOGIN", "NO SSL is required to log in on this connection", A),
    Case("anyone", "LOGIN", "NO", A),
    Case("anyone", "LOGIN", "NO [AUTHENTICATIONFAILED] Wrong password, try again in 15 minutes", A, 900),

    # -- LOGIN: slow down -----------------------------------------------------------------------------------
    Case("Gmail", "LOGIN", "NO [ALERT] Too many simultaneous connections. (Failure)", T),
    Case("Gmail", "LOGIN", "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)", T),
    Case("Gmail", "LOGIN", "NO [ALERT] Account exceeded command or bandwidth limits. (Failure)", T),
    Case("Gmail", "LOGIN", "NO [ALERT] Lockout", T),
    Case("Yahoo", "LOGIN", "NO [LIMIT] LOGIN Rate limit hit.", T),
    Case("Exchange", "LOGIN", "NO Request is throttled. Suggested Backoff Time: 5000 milliseconds", T, 5),
    Case("Proton Bridge", "LOGIN", "NO too many login attempts", T),
    Case("Dovecot", "LOGIN", "NO [LIMIT] Maximum number of connections exceeded", T),
    Case("Dovecot", "LOGIN", "NO Maximum number of connections from user+IP exceeded", T),
    Case("anyone", "LOGIN", "NO Too many login failures, try again in 15 minutes", T, 900),
    Case("anyone", "LOGIN", "NO Too many wrong passwords", T),
    Case("anyone", "LOGIN", "NO Maximum login attempts exceeded", T),
    Case("anyone", "LOGIN", "NO Your IP is blocked for 10 minutes", T, 600),
    Case("anyone", "LOGIN", "NO [UNAVAILABLE] Busy. Retry after 60 seconds", T, 60),

    # -- LOGIN: a fault of the server, whatever the password ------------------------------------------
    Case("Gmail", "LOGIN", "NO Temporary System Error (Failure)", S),
    Case("Gmail", "LOGIN", "NO System Error (Failure)", S),
    Case("Gmail", "LOGIN", "NO Lookup failed 5f9d", S),
    Case("Exchange", "LOGIN", "NO Server Unavailable. 15", S),
    Case("Exchange", "LOGIN", "BAD User is authenticated but not connected.", N),
    Case("Yahoo", "LOGIN", "NO [UNAVAILABLE] LOGIN Server error - Please try again later", S),
    Case("Yahoo", "LOGIN", "NO [SERVERBUG] LOGIN Server error - Please try again later", S),
    Case("Yandex", "LOGIN", "NO [UNAVAILABLE] LOGIN internal server error sc=f8JB0ug4Y1", S),
    Case("Dovecot", "LOGIN", "NO [UNAVAILABLE] Temporary authentication failure. [mx1:2026-03-01]", S),
    Case("Dovecot", "LOGIN", "NO [UNAVAILABLE] Internal login failure. Refer to server log.", S),
    Case("Rackspace", "LOGIN", "NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded"
         " (mail_max_userip_connections=16)", S),
    Case("older Dovecot", "LOGIN", "NO Internal login failure", S),
    Case("Courier", "LOGIN", "NO Temporary problem, please try again later", S),
    Case("Zimbra", "LOGIN", "NO account is in maintenance mode", S),
    Case("anyone", "LOGIN", "NO [INUSE] mailbox in use", S),
    Case("anyone", "LOGIN", "NO Unable to contact the authentication server", S),
    Case("anyone", "LOGIN", "NO Server busy, please try again", S),
    Case("anyone", "LOGIN", "BAD Error in IMAP command", P),

    # -- BYE: never a rejection -----------------------------------------------------------------------------
    Case("anyone", "LOGIN", "BYE", S),
    Case("Dovecot", "LOGIN", "BYE Disconnected: Inactivity during authentication.", S),
    Case("anyone", "LOGIN", "BYE [AUTHENTICATIONFAILED] Invalid credentials", S),
    Case("anyone", "LOGIN", "BYE Invalid password", S),
    Case("Exchange", "greeting", "BYE Connection is closed. 13", S),
    Case("Zimbra", "greeting", "BYE Zimbra IMAP4rev1 server terminating connection", S),
    Case("Stalwart", "greeting", "BYE Server shutting down.", S),
    Case("Cyrus", "greeting", "BYE Fatal error: can't open mailboxes file", S),
    Case("Dovecot", "FETCH", "BYE Too many invalid IMAP commands.", S),
    Case("anyone", "greeting", "BYE Too many connections", T),
    Case("mox", "greeting", "BYE too many open connections from your ip or network", T),
    Case("anyone", "greeting", "BYE [THROTTLED] wait 30s", T, 30),

    # -- opening a mailbox: this one or all -----------------------------------------------------------------
    Case("Dovecot", "EXAMINE", "NO [NONEXISTENT] Mailbox doesn't exist: Too many connections", F),
    Case("Dovecot", "EXAMINE", "NO [NOPERM] Permission denied", F),
    Case("Dovecot", "EXAMINE", "NO [CANNOT] Invalid mailbox name: unavailable", F),
    Case("Dovecot", "EXAMINE", "NO [SERVERBUG] Internal error occurred. Refer to server log.", F),
    Case("Gmail", "EXAMINE", "NO [NONEXISTENT] Unknown Mailbox: Work (Failure)", F),
    Case("Yahoo", "EXAMINE", "NO [INUSE] EXAMINE Mailbox in use", F),
    Case("Exchange", "EXAMINE", "NO Mailbox does not exist: busy later", F),
    Case("Courier", "EXAMINE", "NO Unable to open this mailbox.", F),
    Case("Cyrus", "EXAMINE", "NO System I/O error", F),
    Case("163", "EXAMINE", "NO EXAMINE Unsafe Login. Please contact kefu@188.com for help", F),
    Case("RFC 5530", "EXAMINE", "NO [CONTACTADMIN] Mailbox is damaged", F),
    Case("RFC 9051", "STATUS", "NO [NONEXISTENT] no", F),
    Case("anyone", "EXAMINE", "NO", F),
    Case("Dovecot", "EXAMINE", "NO [UNAVAILABLE] Backend is down", S),
    Case("Exchange", "EXAMINE", "NO Server Unavailable. 15", S),
    Case("Exchange", "EXAMINE", "BAD User is authenticated but not connected.", N),
    Case("RFC 5530", "EXAMINE", "NO [EXPIRED] The passphrase is no longer good", S),
    Case("Yahoo", "STATUS", "NO [LIMIT] STATUS Rate limit hit.", T),
    Case("WorkMail", "EXAMINE", "NO Request is throttled. Suggested Backoff Time: 299961 milliseconds", T,
         299.961),
    Case("anyone", "EXAMINE", "BAD no", P),

    # -- other commands -------------------------------------------------------------------------------------
    Case("Exchange", "FETCH", "BAD Request is throttled. Suggested Backoff Time: 89117 milliseconds", T,
         89.117),
    Case("Gmail", "FETCH", "NO [OVERQUOTA] Account exceeded command or bandwidth limits.", T),
    Case("Gmail", "FETCH", "NO [THROTTLED] slow", T),
    Case("Gmail", "FETCH", "NO Some messages could not be FETCHed (Failure)", P),
    Case("Gmail", "LIST", "NO System Error (Failure)", S),
    Case("Yahoo", "FETCH", "NO [LIMIT] UID FETCH Rate limit hit.", T),
    Case("Yahoo", "FETCH", "NO [UNAVAILABLE] UID FETCH Server error - Please try again later", S),
    Case("Yandex", "FETCH", "NO [UNAVAILABLE] UID FETCH Backend error sc=f8JB0ug4Y1", S),
    Case("Dovecot", "FETCH", "NO [SERVERBUG] Internal error occurred.", S),
    Case("Dovecot", "FETCH", "BAD Error in IMAP command UID FETCH: Too long argument", P),
    Case("anyone", "LIST", "NO [AUTHENTICATIONFAILED] session expired", S),
    Case("anyone", "FETCH", "BAD Too many invalid commands", P),
    Case("a command with too many messages", "FETCH", "NO [MESSAGELIMIT 1000] Too many messages", P),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.server}-{case.command}-{case.line[:60]}")
def test_each_response_raises_the_right_error(case: Case) -> None:
    response = parse_status_response(case.line.encode())
    assert response is not None
    step = {"LOGIN": "login", "greeting": "connect"}.get(case.command)
    error = error_for(response, case.command, step=step)
    assert type(error) is case.kind
    assert getattr(error, "retry_after", None) == case.seconds
    assert error.step == step
    assert str(error).startswith(case.command)


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
def test_requested_waits_are_honoured_up_to_an_hour(text: str, seconds: float | None) -> None:
    assert requested_wait(text) == seconds
    if seconds is not None:
        error = error_for(StatusResponse("NO", text.encode()), "FETCH")
        assert isinstance(error, Throttled)
        assert error.retry_after == seconds


def test_quoted_words_are_one_short_line_without_the_password() -> None:
    text = b"no hunter2-hunter2\x1b[2J\r\nat all " + b"x" * 1000
    error = error_for(StatusResponse("NO", text, masking("hunter2-hunter2")), "LOGIN", step="login")
    assert "hunter2" not in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 400


def test_quoted_words_do_not_reveal_whether_a_guess_is_another_secret() -> None:
    keep_secret("a-token-that-is-guessed")
    response = StatusResponse(
        "NO", b"is it a-token-that-is-guessed or my-own-password?", masking("my-own-password")
    )
    assert response.words == "is it a-token-that-is-guessed or ***?"


def test_the_password_is_masked_where_the_quote_is_cut() -> None:
    for length in range(LONGEST_QUOTE - 20, LONGEST_QUOTE):
        words = StatusResponse("NO", b"x" * length + b" hunter2-hunter2", masking("hunter2-hunter2")).words
        assert "h" not in words, words


def test_a_status_response_has_its_code() -> None:
    response = parse_status_response(b"OK [CAPABILITY IMAP4rev1 ID] ready")
    assert response is not None
    assert response[:2] == ("OK", b"[CAPABILITY IMAP4rev1 ID] ready")
    assert (response.code, response.argument) == ("CAPABILITY", b"IMAP4rev1 ID")
    assert parse_status_response(b"OKAY then") is None
    assert parse_status_response(b"LIST () a b") is None
