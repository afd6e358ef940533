"""``add-account`` and ``set-password``: ask for a password, test it and seal it; it is never an argument."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime

import click

from mailsync.accounts import add, change
from mailsync.accounts.add import AccountRequest, Added
from mailsync.cli import common
from mailsync.cli.choose_server import choose_server
from mailsync.cli.common import email_argument, emit, json_option, note, password_stdin_option, say
from mailsync.cli.terminal import many
from mailsync.config import find_environment
from mailsync.core.providers import normalise_email
from mailsync.errors import InvalidInput
from mailsync.network.resolve import SECURITIES
from mailsync.redaction import keep_secret
from mailsync.store import db


@click.command("add-account")
@click.argument("email", metavar="[EMAIL]", required=False)
@click.option("--host", metavar="H", help="IMAP server; by default it is looked for.")
@click.option(
    "--port", metavar="N", type=click.IntRange(1, 65535), help="Default: 993 for tls, 143 for starttls."
)
@click.option("--security", type=click.Choice(SECURITIES), help="Encryption of the connection; default: tls.")
@click.option("--username", metavar="U", help="Login name, if it is not the address.")
@click.option("--name", metavar="N", help="Display name of the account.")
@click.option(
    "--sync-since",
    metavar="DATE|DAYSd",
    help="Mirror only mail since a day (2025-01-31) or of the last days (90d).",
)
@password_stdin_option
@click.option("--no-discover", is_flag=True, help="Do not look for the server of an unknown domain.")
@click.option("--no-verify", is_flag=True, help="Store without testing the connection.")
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
    no_discover: bool,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Add a mailbox: connect, log in, list its folders, then store it with its password encrypted.

    For known providers the address is enough. The server of any other domain is looked for in DNS and on the
    domain's web server, unless --host names it. The password comes from a prompt, --password-stdin or
    IMAP_PASSWORD. Everything else is checked before the prompt. If the test of the connection fails (dns,
    connect, tls, login, list), nothing is stored.

    \b
    Example:
      mailsync add-account you@fastmail.com
      pass mail/work | mailsync add-account me@corp.example \\
        --host imap.corp.example --password-stdin
    """
    settings = common.settings_for("DATABASE_URL", "IMAP_ENCRYPTION_KEY")
    since, days = parse_since(sync_since) if sync_since else (None, None)
    address = normalise_email(email if email else _ask("E-mail address", "EMAIL"))
    request = AccountRequest(
        email=address,
        host=host,
        port=port,
        security=security,
        username=username,
        display_name=name,
        sync_since=since,
        sync_window_days=days,
        verify=not no_verify,
    )
    check_password_source(password_stdin)
    request = choose_server(request, settings, discover=not no_discover)
    with common.database(settings) as conn:
        checked = add.check_request(conn, request, settings)
    # No connection is kept open while a person looks for the password.
    if checked.provider and checked.provider.note:
        note(f"{checked.provider.name}: {checked.provider.note}")
    endpoint = checked.endpoint
    password = read_password(password_stdin, f"Password of {endpoint.username} at {endpoint.host}")
    with common.database(settings) as conn:
        added = add.add_account(conn, replace(request, password=password), settings)
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
    say(f"  A running worker begins to sync it at once. To sync it here: mailsync sync {added.email}")


@click.command("set-password")
@email_argument
@password_stdin_option
@click.option("--no-verify", is_flag=True, help="Store without testing the connection.")
@json_option
def set_password(email: str, password_stdin: bool, no_verify: bool, as_json: bool) -> None:
    """Store a new password for an account, after logging in with it.

    The password comes from a prompt, --password-stdin or IMAP_PASSWORD. An account that stopped because
    its password was rejected resumes. If another process keeps the account busy, set-password ends with exit
    code 3.

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
        result = "works and is stored" if tested else "is stored, but was not tested"
        say(f"✓ The password of {normalise_email(email)} {result}")


def check_password_source(from_stdin: bool) -> None:
    """Raise InvalidInput if there is nowhere to read a password from."""
    if not from_stdin and not find_environment().get("IMAP_PASSWORD") and not sys.stdin.isatty():
        raise InvalidInput("no password: use --password-stdin, set IMAP_PASSWORD, or run it on a terminal")


def read_password(from_stdin: bool, prompt: str) -> str:
    """The password from stdin, IMAP_PASSWORD or a prompt without echo, hidden in all output from then on.

    Raises InvalidInput if there is none.
    """
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not (password := find_environment().get("IMAP_PASSWORD", "")):
        if not sys.stdin.isatty():
            raise InvalidInput(
                "no password: use --password-stdin, set IMAP_PASSWORD, or run it on a terminal"
            )
        password = click.prompt(prompt, hide_input=True, err=True)
    keep_secret(password)
    return password


def parse_since(text: str) -> tuple[datetime | None, int | None]:
    """Read ``2025-01-31`` as (midnight UTC, None) and ``90d`` as (None, 90); raises InvalidInput."""
    if days := re.fullmatch(r"(\d{1,5})d", text.strip()):
        return None, int(days[1])
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC), None
    except ValueError:
        raise InvalidInput(
            f"--sync-since: expected a day (2025-01-31) or a number of days (90d), not {text[:40]!a}"
        ) from None


def _ask(prompt: str, option: str) -> str:
    if not sys.stdin.isatty():
        raise InvalidInput(f"{option} is missing; without it, add-account needs a terminal to ask for it")
    answer: str = click.prompt(prompt, err=True)
    return answer.strip()
