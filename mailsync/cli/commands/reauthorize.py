"""``reauthorize``: authorize an account again, or have one with a password sign in by OAuth2 from now on."""

from __future__ import annotations

import shlex

import click

from mailsync.accounts import change
from mailsync.accounts.change import Changes
from mailsync.auth.clients import find_client
from mailsync.cli import common
from mailsync.cli.authorize import check_consent_options, consent_options, oauth_option, obtain_consent
from mailsync.cli.choose_client import named_client
from mailsync.cli.common import email_argument, emit, json_option, say
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.credentials import TokenSet
from mailsync.errors import InvalidInput, KeyMismatch
from mailsync.store import credentials, db
from mailsync.store.credentials import SealedAccount


@click.command("reauthorize")
@email_argument
@oauth_option
@consent_options
@click.option("--username", metavar="U", help="The mailbox to open, if it is not that of the user.")
@click.option("--no-verify", is_flag=True, help="Store without testing the connection.")
@json_option
def reauthorize(
    email: str,
    oauth: str | None,
    paste: bool,
    client_credentials: bool,
    username: str | None,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Authorize an account at its provider again, for example after the authorization was revoked.

    Rows stay, and keep their ids. An account that stopped because its authorization was revoked resumes. With
    --oauth PROVIDER an account with a password signs in by OAuth2 from now on. If another process keeps the
    account busy, reauthorize ends with exit code 3.

    \b
    Example:
      mailsync reauthorize you@contoso.com
      mailsync reauthorize you@gmail.com --oauth google
    """
    with common.account(email, "IMAP_ENCRYPTION_KEY") as (conn, settings, account_id):
        (stored,) = credentials.load(conn, account_id)
    # No connection is kept open while a person signs in.
    by_client = client_credentials or (oauth is None and stored.oauth_grant == "client_credentials")
    check_consent_options(True, paste, by_client)
    client = _client(stored, oauth, settings)
    endpoint = stored.endpoint
    consent = obtain_consent(
        client,
        username or endpoint.username,
        settings,
        user=None if username else _consented_by(stored, settings) or stored.email,
        paste=paste,
        client_credentials=by_client,
    )
    changes = Changes(consent=consent, username=username, verify=not no_verify)
    with common.database(settings) as conn:
        tested = change.change_account(
            conn, account_id, changes, settings, started_by=db.started_by("cli"), wait=common.LOCK_WAIT
        )
    if as_json:
        emit(
            {
                "account_id": account_id,
                "email": stored.email,
                "oauth_provider": client.name,
                "token_expires_at": consent.tokens.expires_at,
                "verified": tested is not None,
            }
        )
    else:
        result = "works and is stored" if tested else "is stored, but was not tested"
        say(f"✓ The authorization of {stored.email} at {client.name} {result}")


def _consented_by(stored: SealedAccount, settings: Settings) -> str | None:
    """The user who has consented; None if that is not known."""
    try:
        secret = stored.open(settings.encryption_keys(), stored.id, stored.endpoint)
    except KeyMismatch:
        # what is stored is replaced
        return None
    return secret.user if isinstance(secret, TokenSet) else None


def _client(stored: SealedAccount, oauth: str | None, settings: Settings) -> OAuthClient:
    """The client that the account has, or that `oauth` names. Raises InvalidInput if there is none."""
    if oauth:
        return named_client(oauth, settings)
    if stored.oauth_provider is not None:
        return find_client(settings, stored.oauth_provider)
    names = " or ".join(f"--oauth {client.name}" for client in settings.oauth_clients)
    email = shlex.quote(stored.email)
    raise InvalidInput(
        f"{stored.email} signs in with a password: to change it, run `mailsync set-password {email}`; to sign"
        f" in by OAuth2 from now on, add {names or '--oauth PROVIDER'}"
    )
