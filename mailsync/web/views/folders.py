"""Endpoints for the folders of an account: their state, and whether to mirror them (SPEC §6, §19)."""

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
from mailsync.web.resources import resources
from mailsync.web.schemas.base import Answer, Body, Page, Paged, Timestamp

routes = Blueprint("folders", __name__, url_prefix="/v1/accounts/<id:account_id>/folders")

_MAX_PRIORITY = 2**31 - 1


class Folder(Answer):
    """A folder, as of its last comparison with the server."""

    id: int
    account_id: int
    path: str
    delimiter: str | None
    role: str | None = Field(description="inbox, sent, drafts, junk, trash, archive, all or flagged.")
    sync_priority: int = Field(description="Folders below 100 are checked in every tick.")
    tracked: bool = Field(description="Whether the folder is mirrored.")
    tracked_by_user: bool | None = Field(description="A person's choice, which overrides the rules.")
    excluded_reason: str | None = Field(description="Why the rules exclude the folder.")
    status: Literal["pending", "initial", "active", "missing"]
    percent: int | None = Field(description="Progress of the first sync; null if the folder is not mirrored.")
    live_count: int = Field(description="Messages in the mirror.")
    live_unseen: int = Field(description="Unread messages in the mirror.")
    server_messages: int | None = Field(description="Messages on the server, as of the last comparison.")
    server_unseen: int | None = Field(description="Unread messages on the server.")
    uidvalidity: int
    last_uid: int
    initial_remaining: int | None
    initial_done_at: Timestamp | None
    last_synced_at: Timestamp | None = Field(description="When a change was last mirrored.")
    last_reconciled_at: Timestamp | None
    last_reconcile_clean: bool | None
    missing_since: Timestamp | None = Field(description="Since when the server no longer lists it.")
    limitation: str | None = Field(
        description="partial_view or uids_not_sticky: what keeps the folder from being mirrored as a whole."
    )
    limitation_message: str | None
    last_error: Annotated[str, AfterValidator(mask_credentials)] | None
    retry_at: Timestamp | None


class FolderChoice(Body):
    """Whether to mirror a folder, regardless of the rules."""

    tracked: bool


@routes.get("")
@endpoint(Page[Folder], query=Paged, problems=(404,))
def list_folders(account_id: int, query: Paged) -> Page[Folder]:
    """List the folders of an account by priority, inbox first, including those that are not mirrored."""
    cursors = Cursors("folders", account_id)
    priority, last = cursors.read(query.cursor) if query.cursor else (0, 0)
    after = (max(-_MAX_PRIORITY, min(priority, _MAX_PRIORITY)), last) if query.cursor else None
    with resources().reading() as conn:
        pages.require_account(conn, account_id)
        rows = folders.page(conn, account_id, after, query.limit + 1)
    page, has_more = rows[: query.limit], len(rows) > query.limit
    return Page[Folder](
        data=[_answer(folder) for folder in page],
        next_cursor=cursors.write(page[-1].sync_priority, page[-1].id) if has_more else None,
    )


@routes.patch("/<id:folder_id>")
@endpoint(Folder, body=FolderChoice, problems=(404, 409))
def choose_folder(account_id: int, folder_id: int, body: FolderChoice) -> Folder:
    """Choose whether to mirror a folder; the choice overrides the rules permanently.

    It takes effect in the account's next tick, which a running worker begins at once: the folder's messages
    are fetched, or its rows become tombstones. INBOX is always mirrored, and a folder that cannot hold
    messages never is (409).
    """
    with resources().reading() as conn:
        pages.require_account(conn, account_id)
        manage.choose_folder(conn, _find(conn, account_id, folder_id), tracked=body.tracked)
        return _answer(_find(conn, account_id, folder_id))


def _find(conn: Connection, account_id: int, folder_id: int) -> FolderState:
    rows = folders.load(conn, account_id, folder_id)
    if not rows:
        raise NotFound(f"account {account_id} has no folder {folder_id}")
    return rows[0]


def _answer(folder: FolderState) -> Folder:
    progress = percent(folder) if folder.tracked else None
    values = {name: getattr(folder, name) for name in Folder.model_fields if name != "percent"}
    return Folder(**values, percent=progress)
