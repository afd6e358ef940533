"""Endpoints for the runs of an account and the feed of changes (SPEC §19)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field

from mailsync.store import pages
from mailsync.store.db import Connection
from mailsync.web.http.cursors import Cursors
from mailsync.web.http.endpoint import endpoint
from mailsync.web.http.problems import BadRequest, FieldError
from mailsync.web.resources import resources
from mailsync.web.schemas.base import Answer, Cursor, Feed, Page, Paged, Timestamp

routes = Blueprint("history", __name__, url_prefix="/v1")

LATEST = "latest"
START = pages.EventPosition(0, 0)


class Run(Answer):
    """A turn of an account that changed something or failed."""

    id: int
    account_id: int
    trigger: str = Field(description="What started it: schedule, push, cli or api.")
    status: str = Field(description="running, success, partial or failed.")
    worker: str = Field(description="The process: host:pid:role.")
    started_at: Timestamp
    finished_at: Timestamp | None
    folders: int
    messages_new: int
    flags_changed: int
    messages_deleted: int
    imap_commands: int
    bytes_in: int
    error_code: str | None
    error_message: str | None


class Event(Answer):
    """A change; the content of `data` depends on `type`."""

    cursor: str = Field(description="Send it as `after` for the events that follow.")
    account_id: int
    seq: int = Field(description="Unique within an account.")
    type: str
    folder_id: int | None
    message_pk: int | None = Field(description="The `id` of the message.")
    data: dict[str, Any]
    occurred_at: Timestamp


class FeedQuery(Paged):
    """The position in the feed at which a page begins."""

    cursor: Cursor | None = Field(default=None, description="An alias of `after`.")
    after: Cursor | None = Field(
        default=None,
        description="A `next_cursor` or an event's `cursor`; `latest` is the current end of the feed.",
    )


@routes.get("/accounts/<id:account_id>/runs")
@endpoint(Page[Run], query=Paged, problems=(404,))
def list_runs(account_id: int, query: Paged) -> Page[Run]:
    """List the runs of an account, newest first.

    A turn that changes nothing leaves no run.
    """
    cursors = Cursors("runs", account_id)
    with resources().reading() as conn:
        pages.require_account(conn, account_id)
        behind = pages.Position(*cursors.read_moment(query.cursor)) if query.cursor else None
        page = pages.runs(conn, account_id, limit=query.limit, behind=behind)
    last = page.rows[-1] if page.more else None
    return Page[Run](
        data=[Run.model_validate(row) for row in page.rows],
        next_cursor=cursors.write_moment(last.started_at, last.id) if last else None,
    )


@routes.get("/accounts/<id:account_id>/events")
@endpoint(Feed[Event], query=FeedQuery, problems=(404,))
def list_account_events(account_id: int, query: FeedQuery) -> Feed[Event]:
    """Read the changes of one account, oldest first, in the same way as those of all accounts."""
    with resources().reading() as conn:
        pages.require_account(conn, account_id)
        return _read(conn, query, account_id)


@routes.get("/events")
@endpoint(Feed[Event], query=FeedQuery)
def list_events(query: FeedQuery) -> Feed[Event]:
    """Read the changes of all accounts, oldest first.

    Process a page, store its `next_cursor`, and send it as `after`: at once while `has_more` is true, else a
    few seconds later. Each event is delivered exactly once, in whatever order transactions commit. Cursors
    stay valid across restarts, releases and token changes; events are kept for EVENT_RETENTION_DAYS.
    """
    with resources().reading() as conn:
        return _read(conn, query, None)


def _read(conn: Connection, query: FeedQuery, account_id: int | None) -> Feed[Event]:
    if query.after and query.cursor:
        detail = "means the same as cursor; send only one of them"
        raise BadRequest(422, [FieldError(detail=detail, parameter="after")])
    sent = query.after or query.cursor
    cursors = Cursors("events", account_id, parameter="cursor" if query.cursor else "after")
    if sent == LATEST:
        end = pages.horizon(conn).settled
        return Feed[Event](data=[], next_cursor=cursors.write(*end), has_more=False)
    position = _position(cursors, sent) if sent else START
    page = pages.events(conn, position, limit=query.limit, account_id=account_id)
    if not page.rows and position.xid > pages.horizon(conn).newest.xid:
        # otherwise the feed would stay empty until transaction ids reach the cursor, and events be lost
        raise cursors.refusal(
            "ahead of this database, which may have been restored from a dump; read the feed from its start"
        )
    reached = page.rows[-1].position if page.rows else position
    return Feed[Event](
        data=[_event(cursors, row) for row in page.rows],
        next_cursor=cursors.write(*reached),
        has_more=page.more,
    )


def _position(cursors: Cursors, cursor: str) -> pages.EventPosition:
    xid, seq = cursors.read(cursor)
    if xid < 0:
        raise cursors.refusal("names an impossible transaction")
    return pages.EventPosition(xid, seq)


def _event(cursors: Cursors, row: pages.EventRow) -> Event:
    return Event(
        cursor=cursors.write(*row.position),
        account_id=row.account_id,
        seq=row.position.seq,
        type=row.type,
        folder_id=row.folder_id,
        message_pk=row.message_pk,
        data=row.data,
        occurred_at=row.occurred_at,
    )
