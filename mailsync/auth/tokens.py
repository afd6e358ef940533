"""The access token that a turn signs in with, and its renewal (SPEC §23.3).

Renewals happen under the account's lock. The new tokens are stored before the access token is used, because
the authorization server may accept the old refresh token no longer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mailsync.auth import grants
from mailsync.auth.clients import client_of
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.credentials import BearerToken, Credential, TokenOwner, TokenSet
from mailsync.errors import (
    DatabaseUnavailable,
    GrantRejected,
    LockLost,
    MailsyncError,
    Throttled,
    Transient,
    TurnOver,
)
from mailsync.model import Account
from mailsync.store import credentials
from mailsync.store.credentials import SealedCredential
from mailsync.store.db import Connection

log = logging.getLogger(__name__)

_LATEST_USE = timedelta(seconds=15)

RENEW_BEFORE = timedelta(minutes=5)
"""How long before its end an access token is renewed, if it lives for at least twice as long."""


@dataclass(frozen=True, slots=True)
class Renewing:
    """The process that holds an account's lock, for a renewal.

    ``now`` is the database's clock. ``on_wait`` is called at least once a second while the authorization
    server is waited for. ``on_renewal`` is called with the provider and whether the token was renewed.
    """

    conn: Connection
    now: Callable[[], datetime]
    on_wait: Callable[[], None] = lambda: None
    on_renewal: Callable[[str, bool], None] = lambda provider, is_renewed: None


@dataclass(frozen=True, slots=True)
class SignIn:
    """The credential; ``is_new`` if it was renewed just now. ``ends_at`` is None for a password."""

    credential: Credential
    is_new: bool = False
    ends_at: datetime | None = None


class Tokens:
    """The tokens of a process's accounts; several threads may share it, but no two use the same account."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # account → the tokens that were renewed, and the result, while the database cannot store it
        self._unsaved: dict[int, tuple[TokenSet, TokenSet]] = {}

    def sign_in(self, account: Account, sealed: SealedCredential, renewing: Renewing) -> SignIn:
        """Return the account's password, or an access token that is valid for some minutes.

        `sealed` is what was stored when the turn began. Raises KeyMismatch; GrantRejected if a person must
        authorize again; ClientRejected, Throttled or Transient from the authorization server, unless the
        stored token is still valid; and what storing raises.
        """
        stored = self._open(account, sealed)
        if isinstance(stored, str):
            return SignIn(stored)
        if account.id not in self._unsaved and is_fresh(stored, renewing.now()):
            return self._use(stored)
        try:
            return self._renew(account, renewing, rejected=None)
        except (Transient, Throttled):
            # an outage that is shorter than RENEW_BEFORE ends no turn; the next sign-in asks again
            if account.id in self._unsaved or not is_valid(stored, renewing.now()):
                raise
            return self._use(stored)

    def after_rejection(self, account: Account, rejected: SignIn, renewing: Renewing) -> SignIn | None:
        """Return another token after the mail server rejected one; None if there is none to try.

        A token that was renewed just now is not renewed again. Raises as :meth:`sign_in`.
        """
        if rejected.is_new or not isinstance(rejected.credential, BearerToken):
            return None
        return self._renew(account, renewing, rejected=rejected.credential.text)

    def _renew(self, account: Account, renewing: Renewing, *, rejected: str | None) -> SignIn:
        """Use the stored token if another turn has renewed it, else renew it and store the result."""
        stored = self._stored(account, renewing.conn)
        if isinstance(stored, str):
            return SignIn(stored)
        if stored.access_token != rejected and is_fresh(stored, renewing.now()):
            return self._use(stored)
        try:
            renewed = self._ask(account, stored, renewing)
        except GrantRejected as error:
            again = self._stored(account, renewing.conn)
            if again == stored or isinstance(again, str):
                message = f"{error}; run `mailsync reauthorize {account.email}`"
                raise GrantRejected(message, step=error.step) from error
            # another process has renewed with the token that is now refused
            return self._use(again)
        self._save(account, renewing.conn, stored, renewed)
        return replace(self._use(renewed), is_new=True)

    def _ask(self, account: Account, stored: TokenSet, renewing: Renewing) -> TokenSet:
        provider, asked_at = stored.owner.provider, renewing.now()
        try:
            client = client_of(self._settings, stored.owner)
            issued = (
                grants.client_credentials(client, self._settings, on_wait=renewing.on_wait)
                if stored.grant == "client_credentials"
                else grants.refresh(
                    client, stored.refresh_token or "", self._settings, on_wait=renewing.on_wait
                )
            )
        except MailsyncError as error:
            error.step = error.step or "login"
            if not isinstance(error, LockLost | DatabaseUnavailable):
                renewing.on_renewal(provider, False)
                credentials.note_refusal(renewing.conn, account.id, str(error))
            raise
        renewing.on_renewal(provider, True)
        return token_set(client, issued, asked_at, grant=stored.grant, before=stored)

    def _save(self, account: Account, conn: Connection, before: TokenSet, renewed: TokenSet) -> None:
        # kept until it is stored, because only this process has it
        self._unsaved[account.id] = before, renewed
        keys = self._settings.encryption_keys()
        credentials.save_renewed(conn, account.id, account.endpoint, renewed, keys)
        del self._unsaved[account.id]

    def _stored(self, account: Account, conn: Connection) -> str | TokenSet:
        """Read what is stored, after storing what an earlier renewal could not."""
        sealed = credentials.load(conn, account.id)
        if not sealed:
            raise TurnOver("the account is being removed")
        stored = self._open(account, sealed[0])
        if account.id in self._unsaved:
            before, renewed = self._unsaved[account.id]
            if stored == before:
                self._save(account, conn, before, renewed)
                return renewed
            # whatever is stored is newer
            del self._unsaved[account.id]
        return stored

    def _open(self, account: Account, sealed: SealedCredential) -> str | TokenSet:
        return sealed.open(self._settings.encryption_keys(), account.id, account.endpoint)

    def _use(self, tokens: TokenSet) -> SignIn:
        client = client_of(self._settings, tokens.owner)
        return SignIn(bearer(client, tokens), ends_at=tokens.expires_at)


def bearer(client: OAuthClient, tokens: TokenSet) -> BearerToken:
    """Return the access token as a mail server gets it."""
    return BearerToken(tokens.access_token or "", client.mechanism)


def is_fresh(tokens: TokenSet, now: datetime) -> bool:
    """Whether the access token need not be renewed yet: it is valid for 5 min, or half of a short life."""
    margin = min(RENEW_BEFORE, timedelta(seconds=tokens.lifetime / 2))
    return _ends_between(tokens, now, margin)


def is_valid(tokens: TokenSet, now: datetime) -> bool:
    """Whether the mail server should still accept the access token."""
    return _ends_between(tokens, now, _LATEST_USE)


def _ends_between(tokens: TokenSet, now: datetime, margin: timedelta) -> bool:
    if not tokens.access_token or tokens.expires_at is None:
        return False
    # a clock that was ahead when the token was issued claims an end that is too late
    latest = now + timedelta(seconds=tokens.lifetime)
    return now + margin < tokens.expires_at <= latest + RENEW_BEFORE


def token_set(
    client: OAuthClient,
    issued: grants.Tokens,
    asked_at: datetime,
    *,
    grant: str = "refresh_token",
    before: TokenSet | None = None,
) -> TokenSet:
    """Return the tokens to store of an answer to a request that was sent at `asked_at`.

    A server that does not rotate refresh tokens sends none: that of `before` stays (RFC 6749 §6).
    """
    return TokenSet(
        TokenOwner(client.name, client.client_id),
        grant,
        issued.refresh_token or (before.refresh_token if before else None),
        issued.access_token,
        asked_at + timedelta(seconds=issued.expires_in),
        issued.expires_in,
        before.user if before else issued.user,
    )
