"""What has happened: the runs of an account, and the feed of changes (SPEC §19)."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from pydantic import Field

from mailsync.store import pages
from mailsync.store.db import Connection
from mailsync.web.http.cursors import Cursors
from mailsync.web.http.endpoint import endpoint
from mailsync.web.http.problems import BadRequest, FieldError
from mailsync.web.resources import services
from mailsync.web.schemas.base import Answer, Cursor, Feed, Page, Paged, Timestamp

routes = Blueprint("history", __name__, url_prefix="/v1")

LATEST = "latest"
START = pages.EventPosition(0, 0)


class Run(Answer):
    """One turn of an account in which something was done, or failed."""

    id: int
    account_id: int
    trigger: str = Field(description="schedule, cli or api.")
    status: str = Field(description="running, success, partial or failed.")
    worker: str = Field(description="host:pid:role of the process.")
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
    """One change; what `data` holds depends on `type`."""

    cursor: str = Field(description="Give it as `after` for what follows this event.")
    account_id: int
    seq: int = Field(description="Tells the events of an account apart.")
    type: str
    folder_id: int | None
    message_pk: int | None = Field(description="The id of the message.")
    data: dict[str, Any]
    occurred_at: Timestamp


class FeedQuery(Paged):
    """Where a page of the feed begins."""

    cursor: Cursor | None = Field(default=None, description="The same as `after`.")
    after: Cursor | None = Field(
        default=None,
        description="A `next_cursor`, or the cursor of an event; `latest` for the position of now.",
    )


@routes.get("/accounts/<id:account_id>/runs")
@endpoint(Page[Run], query=Paged, problems=(404,))
def list_runs(account_id: int, query: Paged) -> Page[Run]:
    """The runs of an account, newest first.

    A turn that found nothing to do leaves none.
    """
    cursors = Cursors("runs", account_id)
    with services().reading() as conn:
        pages.require_account(conn, account_id)
        behind = pages.Position(*cursors.read_moment(query.cursor)) if query.cursor else None
        found = pages.runs(conn, account_id, limit=query.limit, behind=behind)
    last = found.rows[-1] if found.more else None
    return Page[Run](
        data=[Run.model_validate(row) for row in found.rows],
        next_cursor=cursors.write_moment(last.started_at, last.id) if last else None,
    )


@routes.get("/accounts/<id:account_id>/events")
@endpoint(Feed[Event], query=FeedQuery, problems=(404,))
def list_account_events(account_id: int, query: FeedQuery) -> Feed[Event]:
    """The changes of one account, oldest first; read as the feed of all accounts is."""
    with services().reading() as conn:
        pages.require_account(conn, account_id)
        return _read(conn, query, account_id)


@routes.get("/events")
@endpoint(Feed[Event], query=FeedQuery)
def list_events(query: FeedQuery) -> Feed[Event]:
    """The changes of all accounts, oldest first.

    Handle a page, store its `next_cursor`, and ask again with `after`: at once while `has_more`, else after
    a while. No event is missed, whoever commits when, and none comes twice. Cursors stay valid over
    restarts, releases and changes of the token; events are kept for EVENT_RETENTION_DAYS.
    """
    with services().reading() as conn:
        return _read(conn, query, None)


def _read(conn: Connection, query: FeedQuery, account_id: int | None) -> Feed[Event]:
    if query.after and query.cursor:
        detail = "it means the same as cursor; give one of them"
        raise BadRequest(422, [FieldError(detail=detail, parameter="after")])
    given = query.after or query.cursor
    cursors = Cursors("events", account_id, parameter="cursor" if query.cursor else "after")
    if given == LATEST:
        now = pages.horizon(conn).settled
        return Feed[Event](data=[], next_cursor=cursors.write(*now), has_more=False)
    position = _position(cursors, given) if given else START
    found = pages.events(conn, position, limit=query.limit, account_id=account_id)
    if not found.rows and position.xid > pages.horizon(conn).newest.xid:
        # it would be silent until the transactions' numbers have come so far, and then leave out the rest
        raise cursors.refusal("it is ahead of this database, as after restoring a dump; read anew without it")
    reached = found.rows[-1].position if found.rows else position
    return Feed[Event](
        data=[_event(cursors, row) for row in found.rows],
        next_cursor=cursors.write(*reached),
        has_more=found.more,
    )


def _position(cursors: Cursors, given: str) -> pages.EventPosition:
    xid, seq = cursors.read(given)
    if xid < 0:
        raise cursors.refusal("it names a transaction that there is not")
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
