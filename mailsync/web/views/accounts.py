"""Accounts, with the rules and the code of the command line (SPEC §5, §19)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from flask import Blueprint

from mailsync.accounts import add, change, manage
from mailsync.accounts.add import AccountRequest
from mailsync.accounts.change import Changes
from mailsync.core.providers import normalise_email
from mailsync.errors import InvalidInput
from mailsync.store import account_views, db
from mailsync.store.db import Connection
from mailsync.web.http.cursors import Cursors
from mailsync.web.http.endpoint import endpoint
from mailsync.web.resources import services
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
    with services().reading() as conn:
        found = account_views.page(conn, after=after, limit=query.limit + 1, email=email, state=query.state)
    shown, more = found[: query.limit], len(found) > query.limit
    return Page[Account](
        data=[Account.model_validate(row) for row in shown],
        next_cursor=cursors.write(0, shown[-1].id) if more else None,
    )


@routes.post("")
@endpoint(AddedAccount, status=201, body=NewAccount, problems=(409, 502))
def add_account(body: NewAccount) -> tuple[AddedAccount, dict[str, str]]:
    """Add a mailbox: connect, log in, list its folders, then store it with its password encrypted.

    If a step of that fails nothing is stored, and `step` names it: dns, connect, tls, login or list. A
    rejected password is 422, since the same again can only make it worse; a server that cannot be reached
    is 502 or 504. Hosts in private networks are refused. A running worker begins at once.
    """
    request = AccountRequest(
        email=body.email,
        password=body.password,
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
    with _connection(waits=body.verify) as conn:
        added = add.add_account(conn, request, services().settings)
        stored = Account.model_validate(manage.existing(conn, added.account_id))
    answer = AddedAccount(
        **dict(stored),
        verified=added.tested is not None,
        note=added.provider.note or None if added.provider else None,
    )
    return answer, {"Location": f"/v1/accounts/{added.account_id}"}


@routes.get("/<id:account_id>")
@endpoint(Account, problems=(404,))
def show_account(account_id: int) -> Account:
    """One account, as of now."""
    with services().reading() as conn:
        return _shown(conn, account_id)


@routes.patch("/<id:account_id>")
@endpoint(Account, body=AccountChanges, problems=(404, 409, 502))
def change_account(account_id: int, body: AccountChanges) -> Account:
    """Change name, metadata, window, password or connection of an account; all that is given, or nothing.

    A password is tried before it is stored, as in adding an account, and waits for the account's lock (503).
    The stored one is sealed for where it is sent: host, port, security and user name are changed only
    together with a password. Another host or user name may be another mailbox: rows stay, and all is
    compared and fetched anew. A wider window is filled, from a narrower one mail expires.
    """
    said = body.model_fields_set - {"verify"}
    changes = Changes(**{name: getattr(body, name) for name in said}, verify=body.verify)
    settings = services().settings
    with _connection(waits=changes.password is not None) as conn:
        change.change_account(
            conn,
            account_id,
            changes,
            settings,
            started_by=db.started_by("api"),
            wait=settings.body_lock_wait,
        )
        return _shown(conn, account_id)


@routes.delete("/<id:account_id>")
@endpoint(Removal, status=202, problems=(404,))
def remove_account(account_id: int) -> Removal:
    """Remove an account with its password and all its rows; nothing changes on the mail server.

    It is gone for whoever reads at once, and a running worker deletes its rows, without a lock to wait for
    here. Its address can be added again when they are gone.
    """
    with services().reading() as conn:
        email, deleting_at = manage.request_removal(conn, account_id)
    return Removal(id=account_id, email=email, deleting_at=deleting_at)


@routes.post("/<id:account_id>/pause")
@endpoint(Account, body=Pause, body_required=False, problems=(404,))
def pause_account(account_id: int, body: Pause) -> Account:
    """Stop syncing an account until it is resumed; its rows stay as they are."""
    with services().reading() as conn:
        manage.pause(conn, account_id, body.reason)
        return _shown(conn, account_id)


@routes.post("/<id:account_id>/resume")
@endpoint(Account, problems=(404,))
def resume_account(account_id: int) -> Account:
    """Go on with a paused account, now."""
    with services().reading() as conn:
        manage.resume(conn, account_id)
        return _shown(conn, account_id)


@routes.post("/<id:account_id>/reset")
@endpoint(Account, body=Reset, body_required=False, problems=(404,))
def reset_account(account_id: int, body: Reset) -> Account:
    """Clear an account's state, failures and backoff, and make it due now; rows stay.

    Waits for the account's lock (503).
    """
    settings = services().settings
    with services().env() as asking:
        manage.reset(asking.conn, account_id, settings, resync=body.resync, wait=settings.body_lock_wait)
        return _shown(asking.conn, account_id)


@routes.post("/<id:account_id>/sync")
@endpoint(Account, status=202, problems=(404, 409))
def sync_account(account_id: int) -> Account:
    """Sync an account as soon as a worker can: it is due now, and a running worker is woken.

    Ignores a backoff, but for that of a rejected password. A paused account is 409 `paused`; one that only
    another password, key or reset lets go on is 409 `broken`.
    """
    with services().reading() as conn:
        manage.request_sync(conn, account_id)
        return _shown(conn, account_id)


def _shown(conn: Connection, account_id: int) -> Account:
    return Account.model_validate(manage.existing(conn, account_id))


@contextmanager
def _own_connection() -> Iterator[Connection]:
    with services().env() as asking:
        yield asking.conn


def _connection(*, waits: bool) -> AbstractContextManager[Connection]:
    """One of the pool's, unless the view waits for a lock or a mail server with it."""
    return _own_connection() if waits else services().reading()


def _window(body: NewAccount) -> int | None:
    """The window of days; None where it was not said, and 0 for null."""
    if "sync_window_days" not in body.model_fields_set:
        return None
    # null beside sync_since says nothing more
    return body.sync_window_days or (0 if body.sync_since is None else body.sync_window_days)


def _address(text: str) -> str:
    """The address as it is stored; what is none is no account's."""
    try:
        return normalise_email(text)
    except InvalidInput:
        return text.lower()
