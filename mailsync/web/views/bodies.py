"""Endpoints for the content of a message: its body as JSON, raw messages and attachments as files (SPEC §14).

Content that is not stored is fetched from the mail server into a temporary file, so that no lock and no
database connection is held while a client reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack, suppress

from flask import Blueprint, Response, request
from pydantic import Field

from mailsync.bodies import fetch
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.errors import Busy, DatabaseUnavailable, NotFound
from mailsync.model import Attachment
from mailsync.store import bodies
from mailsync.store.db import Connection
from mailsync.web.http import downloads
from mailsync.web.http.endpoint import endpoint
from mailsync.web.resources import resources
from mailsync.web.schemas.base import Answer, Timestamp

routes = Blueprint("bodies", __name__, url_prefix="/v1/messages/<id:message_id>")

FAILURES = (404, 409, 410, 502, 503, 504)

_PART = re.compile(r"[1-9]\d{0,4}(\.[1-9]\d{0,4})*", re.ASCII)
_NO_PART = "such attachment; name attachments by their part, such as 2 or 2.1"


class BodyAttachment(Answer):
    """An attachment as the message describes it; ``/attachments/<part>`` returns its content."""

    part: str = Field(description="The part number in IMAP, such as 2 or 2.1.")
    filename: str | None
    content_type: str = Field(description="As the message states it; do not trust it.")
    size_bytes: int | None = Field(description="The size of the encoded part in the message.")
    content_id: str | None
    is_inline: bool


class MessageBody(Answer):
    """A message's body."""

    message_id: int
    account_id: int
    body_text: str | None = Field(description="Null if the message has no text part.")
    body_html: str | None = Field(description="As the sender wrote it: sanitize it before showing it.")
    attachments: list[BodyAttachment]
    raw_bytes: int | None = Field(description="How many bytes of the message were read.")
    truncated: bool = Field(description="Whether the message is longer than BODY_MAX_BYTES.")
    warnings: list[str] = Field(description="Parts of the message that could not be decoded as intended.")
    fetched_at: Timestamp
    deleted_at: Timestamp | None
    deleted_reason: str | None


@routes.get("/body")
@endpoint(MessageBody, problems=FAILURES)
def read_body(message_id: int) -> MessageBody | Response:
    """Read a message's text and HTML.

    The first request fetches them from the mail server, and may get 503 with Retry-After. After that they are
    stored, and stay available when the message is deleted. A body that an earlier release stored is fetched
    again, or returned as it is if that fails.
    """
    with resources().reading() as conn:
        account_id = account_of(conn, message_id)
        stored = bodies.load(conn, account_id, message_id)
    if stored is None and request.method == "HEAD":
        return Response(iter(()), content_type="application/json")
    if stored is None:
        with resources().turn_environment() as env:
            stored = fetch.fetch_body(env, account_id, message_id)
    elif request.method != "HEAD" and not fetch.is_current(stored):
        with suppress(Busy, DatabaseUnavailable), resources().turn_environment() as env:
            stored = fetch.fetch_body(env, account_id, message_id)
    return _answer(stored)


@routes.get("/raw")
@endpoint(media="message/rfc822", problems=FAILURES)
def read_raw(message_id: int) -> Response:
    """Download the message as the mail server has it (RFC 5322), up to 1 GiB.

    Each GET fetches it from the mail server; HEAD does not, and so has no Content-Length.
    """
    with resources().reading() as conn:
        account_id = account_of(conn, message_id)
    return _download(
        lambda env: fetch.fetch_raw(env, account_id, message_id), "message/rfc822", f"{message_id}.eml"
    )


@routes.get("/attachments/<part>")
@endpoint(media="*/*", problems=FAILURES, headers=("X-Content-Warning",))
def read_attachment(message_id: int, part: str) -> Response:
    """Download an attachment, with its transfer encoding removed, up to 1 GiB.

    `part` is that of one of the message's attachments. The Content-Type is that of the part if no browser
    executes it, else application/octet-stream. Each GET fetches it from the mail server; HEAD does not, and
    so has neither Content-Length nor X-Content-Warning.
    """
    with resources().reading() as conn:
        account_id = account_of(conn, message_id)
        is_part = bool(_PART.fullmatch(part))
        stored = bodies.load_attachment(conn, account_id, message_id, part) if is_part else None
    if stored is None:
        # repeat no other words of a client: masking them would reveal that they are a secret
        raise NotFound(f"message {message_id} has no {f'attachment {part:.40}' if is_part else _NO_PART}")
    attachment = stored.attachment
    return _download(
        lambda env: fetch.fetch_attachment(env, account_id, message_id, part),
        downloads.safe_type(attachment.content_type),
        _name_of(message_id, attachment),
    )


def _download(spool: Callable[[TurnEnvironment], fetch.Spooled], media: str, name: str) -> Response:
    if request.method == "HEAD":
        return downloads.announce(media, name)
    with ExitStack() as stack:
        stack.enter_context(resources().downloading())
        with resources().turn_environment() as env:
            spooled = stack.enter_context(spool(env))
        return downloads.stream(spooled, stack.pop_all(), media, name)


def account_of(conn: Connection, message_id: int) -> int:
    """The id of a message's account; raises NotFound if there is no such message."""
    account_id = bodies.account_of(conn, message_id)
    if account_id is None:
        raise NotFound(f"there is no message {message_id}")
    return account_id


def _name_of(message_id: int, attachment: Attachment) -> str:
    otherwise = f"{message_id}-{attachment.part}{downloads.extension_of(attachment.content_type)}"
    return downloads.safe_name(attachment.filename, otherwise)


def _answer(body: bodies.Body) -> MessageBody:
    return MessageBody(
        message_id=body.message_id,
        account_id=body.account_id,
        body_text=body.text,
        body_html=body.html,
        attachments=[BodyAttachment(**attachment._asdict()) for attachment in body.attachments],
        raw_bytes=body.raw_bytes,
        truncated=body.truncated,
        warnings=list(body.warnings),
        fetched_at=body.fetched_at,
        deleted_at=body.deleted_at,
        deleted_reason=body.deleted_reason,
    )
