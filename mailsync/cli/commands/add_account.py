"""``add-account`` and ``set-password``: ask for a password or a consent, test it and seal it.

Neither is ever an argument.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime

import click

from mailsync.accounts import add, change
from mailsync.accounts.add import AccountRequest, Added
from mailsync.cli import common
from mailsync.cli.authorize import check_consent_options, consent_options, oauth_option, obtain_consent
from mailsync.cli.choose_client import choose_client
from mailsync.cli.choose_server import choose_server
from mailsync.cli.common import email_argument, emit, json_option, note, password_stdin_option, say
from mailsync.cli.terminal import many
from mailsync.config import find_environment
from mailsync.config.oauth import OAuthClient
from mailsync.core.providers import normalise_email
from mailsync.errors import InvalidInput
from mailsync.network.resolve import SECURITIES
from mailsync.redaction import keep_secret
from mailsync.store import accounts, db


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
@oauth_option
@consent_options
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
    oauth: str | None,
    paste: bool,
    client_credentials: bool,
    no_discover: bool,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Add a mailbox: connect, log in, list its folders, then store it with its password encrypted.

    For known providers the address is enough. The server of any other domain is looked for in DNS and on the
    domain's web server, unless --host names it. The password comes from a prompt, --password-stdin or
    IMAP_PASSWORD. Everything else is checked before the prompt. If the test of the connection fails (dns,
    connect, tls, login, list), nothing is stored.

    With --oauth you sign in at the provider, in a browser, and mailsync stores encrypted tokens in place of a
    password. PROVIDER is google, microsoft or one of your own; by default it is that of the address. To open
    a shared mailbox, name it with --username as well, and sign in as a user who may open it.

    \b
    Example:
      mailsync add-account you@fastmail.com
      mailsync add-account you@contoso.com --oauth microsoft
      pass mail/work | mailsync add-account me@corp.example \\
        --host imap.corp.example --password-stdin
    """
    settings = common.settings_for("DATABASE_URL", "IMAP_ENCRYPTION_KEY")
    if email is None and oauth and "@" in oauth:
        # click took the address for the provider
        email, oauth = oauth, ""
    check_consent_options(oauth is not None, paste, client_credentials)
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
    if oauth is None:
        check_password_source(password_stdin)
    else:
        if password_stdin:
            raise InvalidInput("--oauth needs no password: leave out --password-stdin")
        request = choose_client(request, oauth, settings, discover=not no_discover)
    request = choose_server(request, settings, discover=not no_discover)
    with common.database(settings) as conn:
        checked = add.check_request(conn, request, settings)
    # No connection is kept open while a person looks for the password or signs in.
    if request.client:
        user = checked.email if username is None else None
        request = replace(
            request,
            consent=obtain_consent(
                request.client,
                checked.endpoint.username,
                settings,
                user=user,
                paste=paste,
                client_credentials=client_credentials,
            ),
        )
    else:
        if checked.provider and checked.provider.note:
            note(f"{checked.provider.name}: {checked.provider.note}")
        endpoint = checked.endpoint
        password = read_password(password_stdin, f"Password of {endpoint.username} at {endpoint.host}")
        request = replace(request, password=password)
    with common.database(settings) as conn:
        added = add.add_account(conn, request, settings)
    _report(added, request.client, as_json)


def _report(added: Added, client: OAuthClient | None, as_json: bool) -> None:
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
                "auth_method": "oauth2" if client else "password",
                "oauth_provider": client.name if client else None,
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
@click.option("--replace-oauth", is_flag=True, help="Use a password from now on in place of OAuth2.")
@click.option("--no-verify", is_flag=True, help="Store without testing the connection.")
@json_option
def set_password(
    email: str, password_stdin: bool, replace_oauth: bool, no_verify: bool, as_json: bool
) -> None:
    """Store a new password for an account, after logging in with it.

    The password comes from a prompt, --password-stdin or IMAP_PASSWORD. An account that stopped because
    its password was rejected resumes. If another process keeps the account busy, set-password ends with exit
    code 3.

    \b
    Example:
      mailsync set-password you@fastmail.com
    """
    with common.account(email, "IMAP_ENCRYPTION_KEY") as (conn, settings, account_id):
        status = accounts.statuses(conn, account_id)
        if status and status[0].auth_method == "oauth2" and not replace_oauth:
            raise InvalidInput(
                f"{status[0].email} signs in by OAuth2 ({status[0].oauth_provider}): to authorize it again,"
                f" run `mailsync reauthorize {shlex.quote(status[0].email)}`; to use a password from now on,"
                " add --replace-oauth"
            )
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
