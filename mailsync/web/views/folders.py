"""The folders of an account: what is mirrored, how far, and a person's choice (SPEC §6, §19)."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Blueprint
from pydantic import AfterValidator, Field

from mailsync.accounts import manage
from mailsync.core.folder_roles import percent
from mailsync.errors import NotFound
from mailsync.model import FolderState
from mailsync.redaction import mask_credentials
from mailsync.store import folders, pages
from mailsync.store.db import Connection
from mailsync.web.http.cursors import Cursors
from mailsync.web.http.endpoint import endpoint
from mailsync.web.resources import services
from mailsync.web.schemas.base import Answer, Body, Page, Paged, Timestamp

routes = Blueprint("folders", __name__, url_prefix="/v1/accounts/<id:account_id>/folders")

_MOST = 2**31 - 1


class Folder(Answer):
    """A folder as of the last look at the server."""

    id: int
    account_id: int
    path: str
    delimiter: str | None
    role: str | None = Field(description="inbox, sent, drafts, junk, trash, archive, all or flagged.")
    sync_priority: int = Field(description="Below 100 it is looked at in every tick.")
    tracked: bool = Field(description="Whether it is mirrored.")
    tracked_by_user: bool | None = Field(description="A person's choice, which wins over the rules.")
    excluded_reason: str | None = Field(description="Why the rules leave it out.")
    status: Literal["pending", "initial", "active", "missing"]
    percent: int | None = Field(description="How much of its first sync is done; null if it is left out.")
    live_count: int = Field(description="Messages here.")
    live_unseen: int
    server_messages: int | None = Field(description="Messages there, as last compared.")
    server_unseen: int | None
    uidvalidity: int
    last_uid: int
    initial_remaining: int | None
    initial_done_at: Timestamp | None
    last_synced_at: Timestamp | None = Field(description="When something new was last found and taken over.")
    last_reconciled_at: Timestamp | None
    last_reconcile_clean: bool | None
    missing_since: Timestamp | None = Field(description="Since when the server does not list it.")
    last_error: Annotated[str, AfterValidator(mask_credentials)] | None
    retry_at: Timestamp | None


class FolderChoice(Body):
    """Whether a folder is mirrored, whatever the rules say."""

    tracked: bool


@routes.get("")
@endpoint(Page[Folder], query=Paged, problems=(404,))
def list_folders(account_id: int, query: Paged) -> Page[Folder]:
    """The folders of an account, the inbox first, those that are left out too."""
    cursors = Cursors("folders", account_id)
    priority, last = cursors.read(query.cursor) if query.cursor else (0, 0)
    after = (max(-_MOST, min(priority, _MOST)), last) if query.cursor else None
    with services().reading() as conn:
        pages.require_account(conn, account_id)
        found = folders.page(conn, account_id, after, query.limit + 1)
    shown, more = found[: query.limit], len(found) > query.limit
    return Page[Folder](
        data=[_answer(folder) for folder in shown],
        next_cursor=cursors.write(shown[-1].sync_priority, shown[-1].id) if more else None,
    )


@routes.patch("/<id:folder_id>")
@endpoint(Folder, body=FolderChoice, problems=(404, 409))
def choose_folder(account_id: int, folder_id: int, body: FolderChoice) -> Folder:
    """Mirror a folder, or leave it out; the choice outlasts any rule.

    It takes effect with the account's next tick, which a running worker begins at once: all of its messages
    are fetched then, or its rows become tombstones. INBOX cannot be left out, and what holds no messages
    cannot be mirrored (409).
    """
    with services().reading() as conn:
        pages.require_account(conn, account_id)
        manage.choose_folder(conn, _find(conn, account_id, folder_id), tracked=body.tracked)
        return _answer(_find(conn, account_id, folder_id))


def _find(conn: Connection, account_id: int, folder_id: int) -> FolderState:
    found = folders.load(conn, account_id, folder_id)
    if not found:
        raise NotFound(f"account {account_id} has no folder {folder_id}")
    return found[0]


def _answer(folder: FolderState) -> Folder:
    done = percent(folder) if folder.tracked else None
    values = {name: getattr(folder, name) for name in Folder.model_fields if name != "percent"}
    return Folder(**values, percent=done)
