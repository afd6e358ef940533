"""Endpoints for the messages of an account (SPEC §19)."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import Field

from mailsync.store import pages
from mailsync.web.http.cursors import Cursors
from mailsync.web.http.endpoint import endpoint
from mailsync.web.resources import resources
from mailsync.web.schemas.base import Answer, Flag, Page, Paged, Text, Timestamp, When
from mailsync.web.views.bodies import BodyAttachment, account_of

routes = Blueprint("messages", __name__, url_prefix="/v1")

Address = Annotated[Text, Field(min_length=1, max_length=1000)]


class MessageQuery(Paged):
    """Filters for messages; a message must match all that are given."""

    folder: Annotated[Text, Field(min_length=1, max_length=4000)] | None = Field(
        default=None, description="A folder's id or path. Digits are an id; the case of INBOX is ignored."
    )
    since: When | None = Field(default=None, description="Received at this time or later.")
    until: When | None = Field(default=None, description="Received before this time.")
    from_: Address | None = Field(default=None, alias="from", description="The whole address of an author.")
    to: Address | None = Field(default=None, description="A whole address in To, Cc or Bcc.")
    subject: Annotated[Text, Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Part of the subject; case is ignored."
    )
    unread: Flag | None = Field(
        default=None, description="true: only unread messages (without \\Seen); false: only read ones."
    )
    flagged: Flag | None = Field(
        default=None, description="true: only messages with \\Flagged; false: only those without."
    )
    has_attachments: Flag | None = Field(
        default=None, description="true: only messages with attachments; false: only those without."
    )
    include_deleted: Flag = Field(default=False, description="Include tombstones, whose `deleted_at` is set.")


class MessageItem(Answer):
    """A message in a list."""

    id: int
    account_id: int
    folder_id: int
    folder: str = Field(description="The folder's path.")
    uidvalidity: int
    uid: int
    message_id: str | None = Field(description="Message-ID without <>. Not unique.")
    in_reply_to: str | None
    references_header: str | None
    reference_ids: list[str]
    provider_message_id: str | None
    provider_thread_id: str | None
    labels: list[str] | None
    internal_date: Timestamp = Field(description="When the server received it.")
    sent_at: Timestamp | None
    size_bytes: int | None
    subject: str | None
    from_email: str | None
    from_name: str | None
    from_emails: list[str] = Field(description="All authors; the first is `from_email`.")
    reply_to_emails: list[str]
    to_emails: list[str]
    to_names: list[str | None]
    cc_emails: list[str]
    cc_names: list[str | None]
    bcc_emails: list[str]
    list_id: str | None
    is_automated: bool
    flags: list[str]
    is_seen: bool = Field(description="False while the message is unread.")
    is_flagged: bool
    is_answered: bool
    is_draft: bool
    modseq: int | None
    has_attachments: bool
    body_fetched_at: Timestamp | None
    parse_errors: list[str]
    deleted_at: Timestamp | None = Field(description="When it left the mirror; null for live messages.")
    deleted_reason: str | None
    created_at: Timestamp
    updated_at: Timestamp


class Message(MessageItem):
    """A message with everything that the mirror stores except its body."""

    mime_structure: dict[str, Any] | None = Field(description="BODYSTRUCTURE; null if unreadable.")
    attachments: list[BodyAttachment]


@routes.get("/accounts/<id:account_id>/messages")
@endpoint(Page[MessageItem], query=MessageQuery, problems=(404,))
def list_messages(account_id: int, query: MessageQuery) -> Page[MessageItem]:
    """List the messages of an account, newest first.

    An index serves folder, since, until and from, alone and combined. The other filters scan the messages
    that these select, for at most 10 seconds (504).
    """
    with resources().searching() if _is_search(query) else resources().reading() as conn:
        pages.require_account(conn, account_id)
        folder_id = pages.find_folder(conn, account_id, query.folder) if query.folder else None
        filters = _filters(query, folder_id)
        cursors = Cursors("messages", account_id, *_scope(filters))
        behind = pages.Position(*cursors.read_moment(query.cursor)) if query.cursor else None
        page = pages.messages(conn, account_id, filters, limit=query.limit, behind=behind)
    last = page.rows[-1] if page.more else None
    return Page[MessageItem](
        data=[MessageItem.model_validate(row) for row in page.rows],
        next_cursor=cursors.write_moment(last.internal_date, last.id) if last else None,
    )


@routes.get("/messages/<id:message_id>")
@endpoint(Message, problems=(404,))
def show_message(message_id: int) -> Message:
    """Show one message with its MIME structure and attachments, even if it is deleted."""
    with resources().reading() as conn:
        return Message.model_validate(pages.message(conn, account_of(conn, message_id), message_id))


def _is_search(query: MessageQuery) -> bool:
    """Whether a filter is given that no index serves."""
    unindexed = (query.to, query.subject, query.unread, query.flagged, query.has_attachments)
    return any(value is not None for value in unindexed)


def _filters(query: MessageQuery, folder_id: int | None) -> pages.MessageFilter:
    return pages.MessageFilter(
        folder_id=folder_id,
        since=query.since,
        until=query.until,
        sender=query.from_.lower() if query.from_ else None,
        recipient=query.to.lower() if query.to else None,
        subject=query.subject,
        unread=query.unread,
        flagged=query.flagged,
        has_attachments=query.has_attachments,
        include_deleted=query.include_deleted,
    )


def _scope(filters: pages.MessageFilter) -> list[object]:
    """The filters that a cursor is bound to, in a form that does not depend on how they were written."""
    return [
        filters.folder_id,
        filters.since and filters.since.timestamp(),
        filters.until and filters.until.timestamp(),
        filters.sender,
        filters.recipient,
        filters.subject,
        filters.unread,
        filters.flagged,
        filters.has_attachments,
        filters.include_deleted,
    ]
