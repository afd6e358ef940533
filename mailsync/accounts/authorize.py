"""Consent in a browser: begin an authorization, and end it when the browser comes back (SPEC §23.5).

The browser carries only the state and a code. Whoever has a state can use it once, within ten minutes, and
learns no token.
"""

from __future__ import annotations

import logging
import re
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from mailsync.accounts import manage
from mailsync.accounts.add import AccountRequest, add_account
from mailsync.accounts.change import Changes, change_account
from mailsync.accounts.consent import Consent, consent_of
from mailsync.accounts.find_server import fill_in
from mailsync.auth import grants
from mailsync.auth.authorization import read_query
from mailsync.auth.clients import client_of, find_client
from mailsync.config import Settings
from mailsync.core.providers import normalise_email
from mailsync.credentials import TokenOwner
from mailsync.errors import AuthenticationFailed, InvalidInput, MailsyncError, NotPossible
from mailsync.redaction import kept_secret, redact
from mailsync.store import account_views, authorizations
from mailsync.store.authorizations import TOO_LATE, Begun, Claimed, NewAuthorization, Outcome
from mailsync.store.db import Connection

log = logging.getLogger(__name__)

SECONDS = 600.0
"""How long a browser may take to come back."""

LOCK_WAIT = 30.0
"""How many seconds to wait for an account's lock: otherwise the person would have to consent again."""

_STATE = re.compile(r"[\w-]{20,100}", re.ASCII)
# what a provider may send a browser back with (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6)
_PROVIDER_ERRORS = frozenset({
    "access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope",
    "server_error", "temporarily_unavailable", "interaction_required", "login_required", "consent_required",
    "account_selection_required",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """Whom to ask for consent: ``account_id`` is an account to authorize again.

    ``return_url`` is where the browser goes afterwards; it has been checked.
    """

    provider: str
    email: str | None = None
    account_id: int | None = None
    return_url: str | None = None


@dataclass(frozen=True, slots=True)
class BegunConsent:
    """An authorization that waits for a browser, which has to open ``authorize_url``."""

    id: str
    authorize_url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class EndedConsent:
    """How an authorization ended, and where the browser goes."""

    outcome: Outcome
    return_url: str | None


def begin_consent(conn: Connection, request: ConsentRequest, settings: Settings) -> BegunConsent:
    """Store an authorization, and return the address at which a person gives consent.

    Raises InvalidInput for a provider without a client, NotFound for the account, NotPossible without
    OAUTH_CALLBACK_URL, and ClientRejected for a client that cannot ask in a browser.
    """
    client = find_client(settings, request.provider)
    if settings.oauth_callback_url is None:
        raise NotPossible("OAUTH_CALLBACK_URL is not set: no browser could come back to this service")
    email = normalise_email(request.email) if request.email else None
    if request.account_id is not None:
        email = manage.existing(conn, request.account_id).email
    state, verifier = grants.new_state(), grants.new_verifier()
    url = grants.authorize_url(client, settings.oauth_callback_url, state, verifier, login_hint=email)
    new = NewAuthorization(
        owner=TokenOwner(client.name, client.client_id),
        email=email,
        account_id=request.account_id,
        return_url=request.return_url,
        state=state,
        verifier=verifier,
    )
    begun: Begun = authorizations.begin(conn, new, settings.encryption_keys(), seconds=SECONDS)
    return BegunConsent(begun.id, url, begun.expires_at)


def state_of(query: str) -> str | None:
    """Return the state in the query that a browser came back with; None if there is none of ours."""
    state = read_query(query).get("state", "")
    return state if _STATE.fullmatch(state) else None


def waits(conn: Connection, state: str) -> bool:
    """Whether an authorization waits for this state; uses nothing up."""
    return authorizations.is_pending(conn, state)


def end_consent(
    conn: Connection, state: str, query: str, settings: Settings, *, started_by: str
) -> EndedConsent:
    """Exchange the code in `query`, and create the account or authorize it again.

    The state is used up whatever happens. After an error nothing is stored but the outcome. Raises
    InvalidInput for a state that no authorization waits for, and DatabaseUnavailable.
    """
    claimed = authorizations.claim(conn, state)
    if claimed is None:
        raise InvalidInput("no authorization waits for this answer: it was used before, or it is not ours")
    if claimed.is_late:
        return EndedConsent(Outcome(error_code="expired", error_message=TOO_LATE), claimed.return_url)
    try:
        outcome = _exchange(conn, claimed, state, query, settings, started_by)
    except MailsyncError as error:
        outcome = Outcome(error_code=_code_of(error, query), error_message=str(error))
        # the person's own affair, or something that the operator has to see
        is_theirs = isinstance(error, AuthenticationFailed | InvalidInput)
        log.log(
            logging.INFO if is_theirs else logging.WARNING,
            "A consent failed",
            extra={"action": "oauth", "error": redact(str(error)), "provider": claimed.provider},
        )
    authorizations.finish(conn, claimed.id, outcome)
    return EndedConsent(outcome, claimed.return_url)


def _exchange(
    conn: Connection, claimed: Claimed, state: str, query: str, settings: Settings, started_by: str
) -> Outcome:
    client = client_of(settings, claimed.owner)
    code = grants.read_redirection(client, query, state)
    verifier = claimed.open_verifier(settings.encryption_keys(), state)
    with ExitStack() as secrets:
        for secret in (state, code, verifier):
            secrets.enter_context(kept_secret(secret))
        asked_at = datetime.now(UTC)
        callback = settings.oauth_callback_url or ""
        issued = grants.exchange_code(client, code, verifier, callback, settings)
        return _save(conn, claimed, consent_of(client, issued, asked_at), settings, started_by)


def _save(
    conn: Connection, claimed: Claimed, consent: Consent, settings: Settings, started_by: str
) -> Outcome:
    addresses = [claimed.email] if claimed.email else _addresses_in(consent.names)
    if not addresses:
        raise InvalidInput(
            f"{consent.client.name} does not tell whose tokens these are; begin again with the address",
            field="email",
        )
    email, account_id = addresses[0], claimed.account_id
    if account_id is None:
        # a person may be known by several addresses, and have an account under any of them
        known = [row for address in addresses for row in account_views.page(conn, limit=1, email=address)]
        email, account_id = (known[0].email, known[0].id) if known else (email, None)
    if account_id is None:
        request, _ = fill_in(AccountRequest(email, client=consent.client, consent=consent), settings)
        account_id = add_account(conn, request, settings).account_id
    else:
        changes = Changes(consent=consent)
        change_account(conn, account_id, changes, settings, started_by=started_by, wait=LOCK_WAIT)
    return Outcome(account_id, email)


def _addresses_in(names: tuple[str, ...]) -> list[str]:
    """The names that are addresses of mailboxes; some providers also send names of other kinds."""
    addresses = []
    for name in names:
        with suppress(InvalidInput):
            addresses.append(normalise_email(name))
    return addresses


def _code_of(error: MailsyncError, query: str) -> str:
    """Return the provider's own code if it sent the browser back with one, else that of the error."""
    given = read_query(query).get("error")
    if given is None:
        return error.code
    return given if given in _PROVIDER_ERRORS else "server_error"
