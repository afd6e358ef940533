"""The new credential of an account: a password that was entered, or tokens that someone consented to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from mailsync.auth import grants
from mailsync.auth.tokens import bearer, token_set
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.credentials import BearerToken, TokenOwner, TokenSet
from mailsync.errors import InvalidInput, OtherUser
from mailsync.network.resolve import bare_host


@dataclass(frozen=True, slots=True)
class Password:
    """A password that a person has entered."""

    text: str = field(repr=False)

    @property
    def sign_in(self) -> str:
        """The password as a mail server gets it."""
        return self.text

    @property
    def stored(self) -> str:
        """The password to store."""
        return self.text

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no log and no error may show."""
        return (self.text,)


@dataclass(frozen=True, slots=True)
class Consent:
    """Tokens that a client was given. ``names`` are the addresses of the user; none if nobody told."""

    client: OAuthClient
    tokens: TokenSet
    names: tuple[str, ...] = ()

    @property
    def sign_in(self) -> BearerToken:
        """The access token as a mail server gets it."""
        return bearer(self.client, self.tokens)

    @property
    def stored(self) -> TokenSet:
        """The tokens to store."""
        return self.tokens

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no log and no error may show."""
        return tuple(filter(None, (self.tokens.access_token, self.tokens.refresh_token)))


NewCredential = Password | Consent


def consent_of(client: OAuthClient, issued: grants.Tokens, asked_at: datetime) -> Consent:
    """Return the consent of a person from the answer to a request that was sent at `asked_at`."""
    return Consent(client, token_set(client, issued, asked_at), issued.names)


def by_refresh_token(client: OAuthClient, refresh_token: str, settings: Settings) -> Consent:
    """Return the consent that another program has collected with the same client.

    The refresh token is used once; a server that rotates refresh tokens accepts it no longer. Raises
    GrantRejected, ClientRejected, Throttled and Transient.
    """
    asked_at = datetime.now(UTC)
    issued = grants.refresh(client, refresh_token, settings)
    tokens = token_set(client, issued, asked_at)
    if tokens.refresh_token is None:
        tokens = replace(tokens, refresh_token=refresh_token)
    return Consent(client, tokens, issued.names)


def by_client_credentials(client: OAuthClient, settings: Settings) -> Consent:
    """Return the consent of an administrator: the client signs in to mailboxes by itself.

    Raises InvalidInput for a client without ``imap_host``, ClientRejected, Throttled and Transient.
    """
    _check_daemon(client)
    asked_at = datetime.now(UTC)
    issued = grants.client_credentials(client, settings)
    return Consent(client, token_set(client, issued, asked_at, grant="client_credentials"))


def untried(client: OAuthClient, grant: str, refresh_token: str | None) -> Consent:
    """Return a consent that is used at the first sign-in, and by nothing before.

    Raises InvalidInput for client credentials of a client without ``imap_host``.
    """
    if grant == "client_credentials":
        _check_daemon(client)
    owner = TokenOwner(client.name, client.client_id)
    return Consent(client, TokenSet(owner, grant, refresh_token))


def check_host_for(client: OAuthClient, host: str) -> None:
    """Raise InvalidInput for a server that may not get the client's tokens.

    A token opens a mailbox wherever it is shown, so that whoever may add accounts could have it sent to a
    server of their own.
    """
    if client.imap_host and bare_host(host).lower().rstrip(".") != client.imap_host.lower().rstrip("."):
        raise InvalidInput(
            f"host: the tokens of {client.name} are for {client.imap_host} only, not for {host};"
            f" {client.variable}_IMAP_HOST names another server",
            field="imap_host",
            step="connect",
        )


def _check_daemon(client: OAuthClient) -> None:
    """Raise InvalidInput unless the client's own tokens, which open many mailboxes, are for one server."""
    if client.imap_host is None:
        raise InvalidInput(
            f"client credentials need {client.variable}_IMAP_HOST: these tokens open many mailboxes, and go"
            " to no other server",
            field="oauth",
        )


def refuse_other_user(consent: Consent, *mailboxes: str | None) -> None:
    """Raise OtherUser if the provider says that the tokens belong to none of `mailboxes`.

    The mail server decides in the end; this tells a person sooner, and in clearer words.
    """
    accepted = [mailbox.lower() for mailbox in mailboxes if mailbox]
    if consent.names and not set(accepted) & set(consent.names):
        raise OtherUser(
            f"the tokens belong to {consent.names[0]}, not to {accepted[0]}: sign in as {accepted[0]}, or"
            f" name the mailbox if it is shared: --username {accepted[0]} (over HTTP: username)",
            field="oauth",
        )
