"""What a message holds: its body as data, the whole of it and its attachments as files (SPEC §14).

What the mirror does not hold is fetched from the mail server, into a file on this side. No lock is held, and
no connection lent, while a client reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack

from flask import Blueprint, Response, request
from pydantic import Field

from mailsync.bodies import fetch as env
from mailsync.engine.runner import TurnEnvironment
from mailsync.errors import NotFound
from mailsync.model import Attachment
from mailsync.store import bodies
from mailsync.store.db import Connection
from mailsync.web.http import downloads
from mailsync.web.http.endpoint import endpoint
from mailsync.web.resources import services
from mailsync.web.schemas.base import Answer, Timestamp

routes = Blueprint("bodies", __name__, url_prefix="/v1/messages/<id:message_id>")

FAILURES = (404, 409, 410, 502, 503, 504)

_PART = re.compile(r"[1-9]\d{0,4}(\.[1-9]\d{0,4})*", re.ASCII)
_NO_PART = "attachment of that name; each is named by its part, such as 2 or 2.1"


class BodyAttachment(Answer):
    """An attachment, as the message tells of it; ``/attachments/<part>`` is its content."""

    part: str = Field(description="Its number in IMAP, such as 2 or 2.1.")
    filename: str | None
    content_type: str = Field(description="What the message says; it may be anything.")
    size_bytes: int | None = Field(description="As it is encoded in the message.")
    content_id: str | None
    is_inline: bool


class MessageBody(Answer):
    """A message's body."""

    message_id: int
    account_id: int
    body_text: str | None = Field(description="Null where the message has no such part.")
    body_html: str | None = Field(description="As the sender wrote it: not safe to show as it is.")
    attachments: list[BodyAttachment]
    raw_bytes: int | None = Field(description="How much of the message was read.")
    truncated: bool = Field(description="Whether the message is longer than BODY_MAX_BYTES.")
    warnings: list[str] = Field(description="What of the message could not be read as it was meant.")
    fetched_at: Timestamp
    deleted_at: Timestamp | None
    deleted_reason: str | None


@routes.get("/body")
@endpoint(MessageBody, problems=FAILURES)
def read_body(message_id: int) -> MessageBody | Response:
    """A message's text and HTML.

    The first request fetches them from the mail server, and may be told to come again (503, Retry-After);
    then they are stored, and outlive the message.
    """
    with services().reading() as conn:
        account_id = _account_of(conn, message_id)
        stored = bodies.load(conn, account_id, message_id)
    if stored is None and request.method == "HEAD":
        return Response(iter(()), content_type="application/json")
    if stored is None:
        with services().env() as asking:
            stored = env.fetch_body(asking, account_id, message_id)
    return _answer(stored)


@routes.get("/raw")
@endpoint(media="message/rfc822", problems=FAILURES)
def read_raw(message_id: int) -> Response:
    """The message as the server has it (RFC 5322), of any size.

    It is fetched each time; HEAD asks the mail server nothing, and so tells no Content-Length.
    """
    with services().reading() as conn:
        account_id = _account_of(conn, message_id)
    return _download(
        lambda asking: env.fetch_raw(asking, account_id, message_id), "message/rfc822", f"{message_id}.eml"
    )


@routes.get("/attachments/<part>")
@endpoint(media="*/*", problems=FAILURES)
def read_attachment(message_id: int, part: str) -> Response:
    """An attachment as a file, its transfer encoding undone, of any size.

    `part` is one of those that the message's attachments name. The Content-Type is that of the part where
    no browser runs it, else application/octet-stream. It is fetched each time; HEAD asks the mail server
    nothing, and so tells no Content-Length.
    """
    with services().reading() as conn:
        account_id = _account_of(conn, message_id)
        is_part = bool(_PART.fullmatch(part))
        found = bodies.load_attachment(conn, account_id, message_id, part) if is_part else None
    if found is None:
        # other words of a client are not repeated: that they are masked would tell that they are a secret
        raise NotFound(f"message {message_id} has no {f'attachment {part:.40}' if is_part else _NO_PART}")
    attachment, _ = found
    return _download(
        lambda asking: env.fetch_attachment(asking, account_id, message_id, part),
        downloads.safe_type(attachment.content_type),
        _name_of(message_id, attachment),
    )


def _download(fetch: Callable[[TurnEnvironment], env.Spooled], media: str, name: str) -> Response:
    if request.method == "HEAD":
        return downloads.announce(media, name)
    with ExitStack() as held:
        held.enter_context(services().downloading())
        with services().env() as asking:
            spooled = held.enter_context(fetch(asking))
        return downloads.stream(spooled, held.pop_all(), media, name)


def _account_of(conn: Connection, message_id: int) -> int:
    account_id = bodies.account_of(conn, message_id)
    if account_id is None:
        raise NotFound(f"there is no message {message_id}")
    return account_id


def _name_of(message_id: int, attachment: Attachment) -> str:
    otherwise = f"{message_id}-{attachment.part}{downloads.ending_of(attachment.content_type)}"
    return downloads.safe_name(attachment.filename, otherwise)


def _answer(body: bodies.Body) -> MessageBody:
    return MessageBody(
        message_id=body.message_id,
        account_id=body.account_id,
        body_text=body.text,
        body_html=body.html,
        attachments=[BodyAttachment(**each._asdict()) for each in body.attachments],
        raw_bytes=body.raw_bytes,
        truncated=body.truncated,
        warnings=list(body.warnings),
        fetched_at=body.fetched_at,
        deleted_at=body.deleted_at,
        deleted_reason=body.deleted_reason,
    )
