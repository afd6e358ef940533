"""Reading the mirror: the messages of an account, and one message (SPEC §19)."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import Field

from mailsync.errors import NotFound
from mailsync.store import bodies, pages
from mailsync.web.http.cursors import Cursors
from mailsync.web.http.endpoint import endpoint
from mailsync.web.resources import services
from mailsync.web.schemas.base import Answer, Flag, Page, Paged, Text, Timestamp, When
from mailsync.web.views.bodies import BodyAttachment

routes = Blueprint("messages", __name__, url_prefix="/v1")

Address = Annotated[Text, Field(min_length=1, max_length=1000)]


class MessageQuery(Paged):
    """Which messages of an account are listed; all that is given must hold."""

    folder: Annotated[Text, Field(min_length=1, max_length=4000)] | None = Field(
        default=None, description="A folder's id, or its path; digits are an id, and INBOX is in any case."
    )
    since: When | None = Field(default=None, description="Received then or later.")
    until: When | None = Field(default=None, description="Received before then.")
    from_: Address | None = Field(default=None, alias="from", description="The sender's whole address.")
    to: Address | None = Field(default=None, description="A whole address that To, Cc or Bcc holds.")
    subject: Annotated[Text, Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="A part of the subject, in any case."
    )
    unread: Flag | None = Field(default=None, description="Without the flag \\Seen, or with it.")
    flagged: Flag | None = Field(default=None, description="With the flag \\Flagged, or without it.")
    has_attachments: Flag | None = Field(default=None, description="With attachments, or without.")
    include_deleted: Flag = Field(default=False, description="Tombstones too: `deleted_at` is set.")


class MessageItem(Answer):
    """A message as lists show it."""

    id: int
    account_id: int
    folder_id: int
    folder: str = Field(description="The path of the folder.")
    uidvalidity: int
    uid: int
    message_id: str | None = Field(description="Message-ID without <>: data, never a key.")
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
    reply_to_emails: list[str]
    to_emails: list[str]
    to_names: list[str | None]
    cc_emails: list[str]
    cc_names: list[str | None]
    bcc_emails: list[str]
    list_id: str | None
    is_automated: bool
    flags: list[str]
    is_seen: bool
    is_flagged: bool
    is_answered: bool
    is_draft: bool
    modseq: int | None
    has_attachments: bool
    body_fetched_at: Timestamp | None
    parse_errors: list[str]
    deleted_at: Timestamp | None = Field(description="Set for a tombstone: the message is gone.")
    deleted_reason: str | None
    created_at: Timestamp
    updated_at: Timestamp


class Message(MessageItem):
    """All that the mirror holds of a message but its body."""

    mime_structure: dict[str, Any] | None = Field(description="BODYSTRUCTURE; null if it was not readable.")
    attachments: list[BodyAttachment]


@routes.get("/accounts/<id:account_id>/messages")
@endpoint(Page[MessageItem], query=MessageQuery, problems=(404,))
def list_messages(account_id: int, query: MessageQuery) -> Page[MessageItem]:
    """The messages of an account, newest first.

    Folder, since, until and from are looked up by an index, alone and together; the other filters read what
    these leave, for 10 seconds at most (504).
    """
    with services().searching() if _is_search(query) else services().reading() as conn:
        pages.require_account(conn, account_id)
        wanted = _filter(query, pages.find_folder(conn, account_id, query.folder) if query.folder else None)
        cursors = Cursors("messages", account_id, *_scope(wanted))
        behind = pages.Position(*cursors.read_moment(query.cursor)) if query.cursor else None
        found = pages.messages(conn, account_id, wanted, limit=query.limit, behind=behind)
    last = found.rows[-1] if found.more else None
    return Page[MessageItem](
        data=[MessageItem.model_validate(row) for row in found.rows],
        next_cursor=cursors.write_moment(last.internal_date, last.id) if last else None,
    )


@routes.get("/messages/<id:message_id>")
@endpoint(Message, problems=(404,))
def show_message(message_id: int) -> Message:
    """One message with its MIME structure and its attachments, also when it is deleted."""
    with services().reading() as conn:
        account_id = bodies.account_of(conn, message_id)
        if account_id is None:
            raise NotFound(f"there is no message {message_id}")
        return Message.model_validate(pages.message(conn, account_id, message_id))


def _is_search(query: MessageQuery) -> bool:
    """Whether it asks for what no index tells."""
    filters = (query.to, query.subject, query.unread, query.flagged, query.has_attachments)
    return any(each is not None for each in filters)


def _filter(query: MessageQuery, folder_id: int | None) -> pages.MessageFilter:
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


def _scope(wanted: pages.MessageFilter) -> list[object]:
    """What of a filter a cursor is bound to: all of it, however it was written."""
    return [
        wanted.folder_id,
        wanted.since and wanted.since.timestamp(),
        wanted.until and wanted.until.timestamp(),
        wanted.sender,
        wanted.recipient,
        wanted.subject,
        wanted.unread,
        wanted.flagged,
        wanted.has_attachments,
        wanted.include_deleted,
    ]
