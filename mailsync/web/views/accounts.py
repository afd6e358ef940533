"""Endpoints for accounts; ``mailsync.accounts`` does the work, as for the command line (SPEC §5, §19)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from flask import Blueprint

from mailsync.accounts import add, change, consent, find_server, manage
from mailsync.accounts.add import AccountRequest
from mailsync.accounts.authorize import LOCK_WAIT
from mailsync.accounts.change import Changes
from mailsync.accounts.consent import Consent
from mailsync.accounts.find_server import Found
from mailsync.auth.clients import find_client
from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.core.providers import Provider, normalise_email
from mailsync.errors import InvalidInput
from mailsync.redaction import kept_secret
from mailsync.store import account_views, db
from mailsync.store.db import Connection
from mailsync.web.http.cursors import Cursors
from mailsync.web.http.endpoint import endpoint
from mailsync.web.resources import resources
from mailsync.web.schemas.account_fields import OAuthSignIn
from mailsync.web.schemas.accounts import (
    Account,
    AccountChanges,
    AccountQuery,
    AddedAccount,
    NewAccount,
    Pause,
    Removal,
    Reset,
)
from mailsync.web.schemas.base import Page

routes = Blueprint("accounts", __name__, url_prefix="/v1/accounts")


@routes.get("")
@endpoint(Page[Account], query=AccountQuery)
def list_accounts(query: AccountQuery) -> Page[Account]:
    """The accounts, in the order in which they were added."""
    email = _address(query.email) if query.email else None
    cursors = Cursors("accounts", email, query.state)
    after = cursors.read(query.cursor)[1] if query.cursor else 0
    with resources().reading() as conn:
        rows = account_views.page(conn, after=after, limit=query.limit + 1, email=email, state=query.state)
    page, has_more = rows[: query.limit], len(rows) > query.limit
    return Page[Account](
        data=[Account.model_validate(row) for row in page],
        next_cursor=cursors.write(0, page[-1].id) if has_more else None,
    )


@routes.post("")
@endpoint(AddedAccount, status=201, body=NewAccount, problems=(409, 502))
def add_account(body: NewAccount) -> tuple[AddedAccount, dict[str, str]]:
    """Add a mailbox: connect, log in, list its folders, then store it with its password or tokens encrypted.

    If a step fails, nothing is stored, and `step` names it: dns, connect, tls, login or list. A rejected
    password or authorization is 422, because sending a password again may lock the user out; an unreachable
    server is 502 or 504. Hosts in private networks are refused. Without `imap_host`, the server of an unknown
    domain is looked for, for ten seconds at most, and `note` says how it was found. A running worker begins
    to sync at once. With `verify`, a refresh token is used once: a provider that replaces refresh tokens has
    done so even if a later step fails.
    """
    settings = resources().settings
    request = AccountRequest(
        email=body.email,
        password=body.password or "",
        client=_client(body.oauth, settings) if body.oauth else None,
        host=body.imap_host,
        port=body.imap_port,
        security=body.imap_security,
        username=body.username,
        display_name=body.display_name,
        sync_since=body.sync_since,
        sync_window_days=_window(body),
        metadata=body.metadata or {},
        verify=body.verify,
    )
    request, found = find_server.fill_in(request, settings) if body.discover else (request, None)
    with _connection(may_wait=body.verify) as conn:
        if body.oauth and request.client:
            # a request that cannot succeed does not use up the refresh token
            add.check_request(conn, request, settings)
            request = replace(request, consent=_consent(body.oauth, request.client, settings, body.verify))
        added = add.add_account(conn, request, settings)
        stored = Account.model_validate(manage.existing(conn, added.account_id))
    answer = AddedAccount(
        **dict(stored),
        verified=added.tested is not None,
        note=_note(found, None if body.oauth else added.provider),
    )
    return answer, {"Location": f"/v1/accounts/{added.account_id}"}


@routes.get("/<id:account_id>")
@endpoint(Account, problems=(404,))
def show_account(account_id: int) -> Account:
    """Show one account."""
    with resources().reading() as conn:
        return _account(conn, account_id)


@routes.patch("/<id:account_id>")
@endpoint(Account, body=AccountChanges, problems=(404, 409, 502))
def change_account(account_id: int, body: AccountChanges) -> Account:
    """Change an account's name, metadata, window, password, tokens or connection: all given fields, or none.

    A new password or refresh token is tried before it is stored, as when adding an account; that waits for
    the account's lock (503). What is stored is encrypted for its connection, so host, port, security and user
    name can only be changed together with a password or tokens. Another host or user name may mean another
    mailbox: rows stay, and everything is compared and fetched again. A wider window is filled; outside a
    narrower one, mail expires.
    """
    names = body.model_fields_set - {"verify", "oauth"}
    changes = Changes(**{name: getattr(body, name) for name in names}, verify=body.verify)
    settings = resources().settings
    wait = settings.body_lock_wait
    with _connection(may_wait=not body.model_fields_set.isdisjoint({"password", "oauth"})) as conn:
        if body.oauth:
            client = _client(body.oauth, settings)
            # a request that cannot succeed does not use up the refresh token
            change.check_changes(replace(changes, consent=_consent(body.oauth, client, settings, False)))
            manage.existing(conn, account_id)
            changes = replace(changes, consent=_consent(body.oauth, client, settings, body.verify))
            wait = max(wait, LOCK_WAIT)
        change.change_account(conn, account_id, changes, settings, started_by=db.started_by("api"), wait=wait)
        return _account(conn, account_id)


@routes.delete("/<id:account_id>")
@endpoint(Removal, status=202, problems=(404,))
def remove_account(account_id: int) -> Removal:
    """Remove an account with its password and all its rows; nothing changes on the mail server.

    Readers no longer see the account at once; a running worker deletes its rows afterwards, and this request
    waits for no lock. The address can be added again when the rows are gone.
    """
    with resources().reading() as conn:
        email, deleting_at = manage.request_removal(conn, account_id)
    return Removal(id=account_id, email=email, deleting_at=deleting_at)


@routes.post("/<id:account_id>/pause")
@endpoint(Account, body=Pause, body_required=False, problems=(404,))
def pause_account(account_id: int, body: Pause) -> Account:
    """Stop syncing an account until it is resumed; its rows stay."""
    with resources().reading() as conn:
        manage.pause(conn, account_id, body.reason)
        return _account(conn, account_id)


@routes.post("/<id:account_id>/resume")
@endpoint(Account, problems=(404,))
def resume_account(account_id: int) -> Account:
    """Resume a paused account, and sync it as soon as possible."""
    with resources().reading() as conn:
        manage.resume(conn, account_id)
        return _account(conn, account_id)


@routes.post("/<id:account_id>/reset")
@endpoint(Account, body=Reset, body_required=False, problems=(404,))
def reset_account(account_id: int, body: Reset) -> Account:
    """Clear an account's state, failures and backoff, and make it due at once; its rows stay.

    Waits for the account's lock (503).
    """
    settings = resources().settings
    with resources().turn_environment() as env:
        manage.reset(env.conn, account_id, settings, resync=body.resync, wait=settings.body_lock_wait)
        return _account(env.conn, account_id)


@routes.post("/<id:account_id>/sync")
@endpoint(Account, status=202, problems=(404, 409))
def sync_account(account_id: int) -> Account:
    """Sync an account as soon as possible: make it due at once, and wake a running worker.

    Ignores a backoff, except after a rejected password. A paused account is 409 `paused`; an account that
    needs another password, key or a reset first is 409 `broken`.
    """
    with resources().reading() as conn:
        manage.request_sync(conn, account_id)
        return _account(conn, account_id)


def _account(conn: Connection, account_id: int) -> Account:
    return Account.model_validate(manage.existing(conn, account_id))


def _client(given: OAuthSignIn, settings: Settings) -> OAuthClient:
    try:
        return find_client(settings, given.provider)
    except InvalidInput as error:
        error.field = "oauth/provider"
        raise


def _consent(given: OAuthSignIn, client: OAuthClient, settings: Settings, verify: bool) -> Consent:
    """The consent in a request; with `verify` it is tried, which uses a refresh token once."""
    with kept_secret(given.refresh_token or ""):
        if not verify:
            return consent.untried(client, given.grant, given.refresh_token)
        if given.grant == "client_credentials":
            return consent.by_client_credentials(client, settings)
        return consent.by_refresh_token(client, given.refresh_token, settings)


def _note(found: Found | None, provider: Provider | None) -> str | None:
    notes = [f"Found {found}." if found else "", provider.note if provider else ""]
    return " ".join(filter(None, notes)) or None


@contextmanager
def _own_connection() -> Iterator[Connection]:
    with resources().turn_environment() as env:
        yield env.conn


def _connection(*, may_wait: bool) -> AbstractContextManager[Connection]:
    """A pooled connection, or one of its own for a view that may wait for a lock or a mail server."""
    return _own_connection() if may_wait else resources().reading()


def _window(body: NewAccount) -> int | None:
    """The window in days: None if the field was left out, 0 (all mail) for null."""
    if "sync_window_days" not in body.model_fields_set:
        return None
    # together with sync_since, null is redundant
    return body.sync_window_days or (0 if body.sync_since is None else body.sync_window_days)


def _address(text: str) -> str:
    """The address as it is stored; text that is not an address matches no account."""
    try:
        return normalise_email(text)
    except InvalidInput:
        return text.lower()
