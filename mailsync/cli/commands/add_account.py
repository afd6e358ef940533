"""``add-account`` and ``set-password``: a password is asked for, tried and sealed; never taken from argv."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime

import click

from mailsync.accounts import add, change
from mailsync.accounts.add import AccountRequest, Added
from mailsync.cli import common
from mailsync.cli.common import email_argument, emit, json_option, note, password_stdin_option, say
from mailsync.cli.terminal import many
from mailsync.core.providers import normalise_email
from mailsync.errors import InvalidInput
from mailsync.imap.network.resolve import SECURITIES
from mailsync.redaction import keep_secret
from mailsync.store import db


@click.command("add-account")
@click.argument("email", metavar="[EMAIL]", required=False)
@click.option("--host", metavar="H", help="IMAP server; known providers need none.")
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), help="993 for tls, 143 for starttls.")
@click.option(
    "--security", type=click.Choice(SECURITIES), help="How the connection is secured; tls by default."
)
@click.option("--username", metavar="U", help="Login name, where it is not the address.")
@click.option("--name", metavar="N", help="Name to show for the account.")
@click.option(
    "--sync-since",
    metavar="DATE|DAYSd",
    help="Mirror mail from this day on (2025-01-31), or of so many days (90d).",
)
@password_stdin_option
@click.option("--no-verify", is_flag=True, help="Store without a connection test.")
@json_option
def add_account(
    email: str | None,
    host: str | None,
    port: int | None,
    security: str | None,
    username: str | None,
    name: str | None,
    sync_since: str | None,
    password_stdin: bool,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Add a mailbox: connect, log in, list its folders, then store it with its password encrypted.

    Host and port of known providers follow from the address. The password comes from a prompt,
    --password-stdin or IMAP_PASSWORD. If a step of the test fails (dns, connect, tls, login, list), nothing
    is stored. What is missing is asked for on a terminal.

    \b
    Examples:
      mailsync add-account you@fastmail.com
      pass mail/work | mailsync add-account me@corp.example \\
        --host imap.corp.example --password-stdin
    """
    settings = common.settings_for("DATABASE_URL", "IMAP_ENCRYPTION_KEY")
    since, days = parse_since(sync_since) if sync_since else (None, None)
    address = normalise_email(email if email else _ask("E-mail address", "EMAIL"))
    host = _host(address, host)
    endpoint = add.endpoint_for(address, host=host, port=port, security=security, username=username)
    provider = add.find_provider(address, endpoint.host)
    if provider and provider.note:
        note(f"{provider.name}: {provider.note}")
    request = AccountRequest(
        email=address,
        password=read_password(password_stdin, f"Password of {endpoint.username} at {endpoint.host}"),
        host=host,
        port=port,
        security=security,
        username=username,
        display_name=name,
        sync_since=since,
        sync_window_days=days,
        verify=not no_verify,
    )
    with common.database(settings) as conn:
        added = add.add_account(conn, request, settings)
    _report(added, as_json)


def _report(added: Added, as_json: bool) -> None:
    if as_json:
        emit(
            {
                "account_id": added.account_id,
                "email": added.email,
                "provider": added.provider.name if added.provider else None,
                "host": added.endpoint.host,
                "port": added.endpoint.port,
                "security": added.endpoint.security,
                "username": added.endpoint.username,
                "verified": added.tested is not None,
                "folders": added.tested.folders if added.tested else None,
            }
        )
        return
    endpoint = added.endpoint
    if added.tested:
        where = f"{endpoint.host}:{endpoint.port} ({endpoint.security})"
        say(f"✓ Logged in at {where}, {many(added.tested.folders, 'folder')}")
    say(f"✓ Added {added.email}")
    say(f"  A running worker begins at once; to sync it here and now: mailsync sync {added.email}")


@click.command("set-password")
@email_argument
@password_stdin_option
@click.option("--no-verify", is_flag=True, help="Store without a connection test.")
@json_option
def set_password(email: str, password_stdin: bool, no_verify: bool, as_json: bool) -> None:
    """Store a new password for an account, after logging in with it.

    It comes from a prompt, --password-stdin or IMAP_PASSWORD. An account that was stopped by rejected
    passwords goes on. Exit code 3 if the account stays busy.

    \b
    Example:
      mailsync set-password you@fastmail.com
    """
    with common.account(email, "IMAP_ENCRYPTION_KEY") as (conn, settings, account_id):
        tested = change.set_password(
            conn,
            account_id,
            read_password(password_stdin, f"New password of {email}"),
            settings,
            started_by=db.started_by("cli"),
            verify=not no_verify,
            wait=common.LOCK_WAIT,
        )
    if as_json:
        emit({"account_id": account_id, "email": normalise_email(email), "verified": tested is not None})
    else:
        said = "works and is stored" if tested else "is stored, not tried"
        say(f"✓ The password of {normalise_email(email)} {said}")


def read_password(from_stdin: bool, prompt: str) -> str:
    """The password from stdin, IMAP_PASSWORD or a prompt without echo; InvalidInput if there is none.

    It is never shown from then on.
    """
    if from_stdin:
        given = sys.stdin.readline().rstrip("\r\n")
    elif not (given := common.environment().get("IMAP_PASSWORD", "")):
        if not sys.stdin.isatty():
            raise InvalidInput("no password: give --password-stdin, set IMAP_PASSWORD, or use a terminal")
        given = click.prompt(prompt, hide_input=True, err=True)
    keep_secret(given)
    return given


def parse_since(text: str) -> tuple[datetime | None, int | None]:
    """Read ``2025-01-31`` as (midnight UTC, None) and ``90d`` as (None, 90); raises InvalidInput."""
    if days := re.fullmatch(r"(\d{1,5})d", text.strip()):
        return None, int(days[1])
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC), None
    except ValueError:
        raise InvalidInput(
            f"--sync-since: {text[:40]!a} is not accepted; give a day (2025-01-31) or a number of days (90d)"
        ) from None


def _host(address: str, host: str | None) -> str | None:
    """The given host; asked for on a terminal where no provider is known."""
    if host or add.find_provider(address) or not sys.stdin.isatty():
        return host
    return _ask(f"IMAP server of {address.rpartition('@')[2]}", "--host")


def _ask(what: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise InvalidInput(f"{option} is missing")
    answer: str = click.prompt(what, err=True)
    return answer.strip()
