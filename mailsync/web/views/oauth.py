"""Endpoints for consents in a browser; ``mailsync.accounts.authorize`` does the work (SPEC §23.5)."""

from __future__ import annotations

import logging
import re

from flask import Blueprint, Response, request

from mailsync.accounts.authorize import (
    ConsentRequest,
    EndedConsent,
    begin_consent,
    end_consent,
    state_of,
    waits,
)
from mailsync.config import Settings, fields
from mailsync.errors import InvalidInput, MailsyncError, NotFound
from mailsync.redaction import redact
from mailsync.store import authorizations, db
from mailsync.web.http.endpoint import endpoint
from mailsync.web.http.pages import page, redirect
from mailsync.web.http.return_urls import check_return_url, with_parameters
from mailsync.web.resources import resources
from mailsync.web.schemas.oauth import Authorization, BegunAuthorization, NewAuthorization

log = logging.getLogger(__name__)

routes = Blueprint("oauth", __name__)

_ID = re.compile(r"[0-9a-f]{32}")

_REASONS = {
    "access_denied": "You did not give access to the mailbox.",
    "expired": "The answer came too late.",
    "other_user": "You signed in as another user than the owner of the mailbox.",
}
_AGAIN = "Go back to the application that sent you here, and begin again."


@routes.post("/v1/oauth/authorizations")
@endpoint(BegunAuthorization, status=201, body=NewAuthorization, problems=(404, 409, 502))
def begin_authorization(body: NewAuthorization) -> tuple[BegunAuthorization, dict[str, str]]:
    """Begin to ask a person for consent: send their browser to `authorize_url` within ten minutes.

    The provider sends the browser back to this service, which adds the account, or authorizes it again if it
    exists. 409 `not_possible` if the service has no OAUTH_CALLBACK_URL.
    """
    settings = resources().settings
    if body.model_fields_set >= {"email", "account_id"}:
        raise InvalidInput("give either email or account_id, not both", field="email")
    if body.return_url is not None:
        check_return_url(body.return_url, _listed(settings))
    with resources().reading() as conn:
        begun = begin_consent(
            conn,
            ConsentRequest(body.provider, body.email, body.account_id, body.return_url),
            settings,
        )
    return BegunAuthorization.model_validate(begun), {"Location": f"/v1/oauth/authorizations/{begun.id}"}


@routes.get("/v1/oauth/authorizations/<authorization_id>")
@endpoint(Authorization, problems=(404,))
def show_authorization(authorization_id: str) -> Authorization:
    """Show how an authorization went; it is kept for a week."""
    record = None
    if _ID.fullmatch(authorization_id):
        with resources().reading() as conn:
            record = authorizations.load(conn, authorization_id)
    if record is None:
        raise NotFound("there is no such authorization; it is kept for a week")
    return Authorization(
        id=record.id,
        provider=record.provider,
        status=record.status,  # type: ignore[arg-type]
        account_id=record.account_id,
        email=record.email,
        error=record.error_code,
        message=record.error_message,
        created_at=record.created_at,
        expires_at=record.expires_at,
        finished_at=record.finished_at,
    )


# not an operation of the API: browsers come here, without a token
@routes.get("/oauth/callback")
def callback() -> Response:
    """Take the answer that a browser brings from the provider."""
    query = request.query_string.decode("latin-1")
    state = state_of(query)
    if request.method == "HEAD":
        # programs that look at links must not use up the state
        return page(200, "Connecting a mailbox", _AGAIN)
    useless = page(400, "This address is of no use", f"It was opened before, or it is incomplete. {_AGAIN}")
    if state is None:
        return useless
    try:
        with resources().reading() as conn:
            if not waits(conn, state):
                return useless
        with resources().turn_environment() as env:
            ended = end_consent(env.conn, state, query, env.settings, started_by=db.started_by("api"))
    except InvalidInput:
        # another request with the same state was faster
        return useless
    except MailsyncError as error:
        log.warning("A callback failed", extra={"action": "oauth", "error": redact(str(error))})
        return page(503, "Please reload this page", "The service is busy, or its database is not available.")
    return _leave(ended, resources().settings)


def _leave(ended: EndedConsent, settings: Settings) -> Response:
    """Send the browser where the application wants it, or show how it went."""
    outcome = ended.outcome
    if ended.return_url is not None and _may_return(ended.return_url, settings):
        result = (
            {"error": outcome.error_code} if outcome.error_code else {"account_id": str(outcome.account_id)}
        )
        return redirect(with_parameters(ended.return_url, **result))
    if outcome.error_code is None:
        return page(200, "Mailbox connected", f"{outcome.email} is connected. You can close this page.")
    reason = _REASONS.get(
        outcome.error_code, "Something went wrong; the operator of the service can see what."
    )
    return page(400, "Mailbox not connected", f"{reason} {_AGAIN}")


def _may_return(url: str, settings: Settings) -> bool:
    """Whether the address is still listed: the settings may have changed since it was checked."""
    try:
        check_return_url(url, _listed(settings))
    except InvalidInput:
        return False
    return True


def _listed(settings: Settings) -> tuple[str, ...]:
    return tuple(fields.split(settings.oauth_return_urls)) if settings.oauth_return_urls else ()
