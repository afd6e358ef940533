"""The lists of the API: messages, runs and the feed of events, page by page (SPEC §19).

A page begins after a position, which is the sort key of a row, so that rows which are added or deleted
between two pages neither repeat nor hide others. Every list is read in the order of an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from mailsync.errors import NotFound
from mailsync.model import Attachment
from mailsync.store import records
from mailsync.store.db import Connection
from mailsync.store.statements import run

T = TypeVar("T")


class Position(NamedTuple):
    """A position in a list with the newest rows first: a row's time and id."""

    at: datetime
    id: int


class EventPosition(NamedTuple):
    """A position in the feed: that of an event, or (0, 0) before all events."""

    xid: int
    seq: int


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list, and whether more rows follow it."""

    rows: tuple[T, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages are listed; None means any.

    `since` (inclusive) and `until` (exclusive) limit ``internal_date``. `sender` (any author) and `recipient`
    (To, Cc or Bcc) are complete addresses in lower case; `subject` is a part of the subject, whatever its
    case.
    """

    folder_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    sender: str | None = None
    recipient: str | None = None
    subject: str | None = None
    unread: bool | None = None
    flagged: bool | None = None
    has_attachments: bool | None = None
    include_deleted: bool = False


@dataclass(frozen=True, slots=True)
class MessageSummary:
    """A row of ``messages`` as lists show it; ``folder`` is the folder's path."""

    id: int
    account_id: int
    folder_id: int
    folder: str
    uidvalidity: int
    uid: int
    message_id: str | None
    in_reply_to: str | None
    references_header: str | None
    reference_ids: tuple[str, ...]
    provider_message_id: str | None
    provider_thread_id: str | None
    labels: tuple[str, ...] | None
    internal_date: datetime
    sent_at: datetime | None
    size_bytes: int | None
    subject: str | None
    from_email: str | None
    from_name: str | None
    from_emails: tuple[str, ...]
    reply_to_emails: tuple[str, ...]
    to_emails: tuple[str, ...]
    to_names: tuple[str | None, ...]
    cc_emails: tuple[str, ...]
    cc_names: tuple[str | None, ...]
    bcc_emails: tuple[str, ...]
    list_id: str | None
    is_automated: bool
    flags: tuple[str, ...]
    is_seen: bool
    is_flagged: bool
    is_answered: bool
    is_draft: bool
    modseq: int | None
    has_attachments: bool
    body_fetched_at: datetime | None
    parse_errors: tuple[str, ...]
    deleted_at: datetime | None
    deleted_reason: str | None
    created_at: datetime
    updated_at: datetime

    def __post_init__(self) -> None:
        # a row from before the column that retention has not filled yet
        if self.from_email and not self.from_emails:
            object.__setattr__(self, "from_emails", (self.from_email,))


@dataclass(frozen=True, slots=True)
class MessageDetail(MessageSummary):
    """A complete row of ``messages``, with its attachments in the order of their parts."""

    mime_structure: dict[str, Any] | None
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of ``sync_runs``."""

    id: int
    account_id: int
    trigger: str
    status: str
    worker: str
    started_at: datetime
    finished_at: datetime | None
    folders: int
    messages_new: int
    flags_changed: int
    messages_deleted: int
    imap_commands: int
    bytes_in: int
    error_code: str | None
    error_message: str | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """A settled row of ``sync_events``."""

    account_id: int
    position: EventPosition
    type: str
    folder_id: int | None
    message_pk: int | None
    data: dict[str, Any]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Horizon:
    """The ends of the feed: events before `settled` can be read, and no event is after `newest` yet."""

    settled: EventPosition
    newest: EventPosition


def require_account(conn: Connection, account_id: int) -> None:
    """Raise NotFound if the account does not exist or is being removed."""
    if run(conn, "find_listed_account", account_id=account_id).fetchone() is None:
        raise NotFound(f"there is no account {account_id}")


def find_folder(conn: Connection, account_id: int, name: str) -> int:
    """The id of the account's folder `name`: digits are an id, anything else is a path (INBOX in any case).

    Raises NotFound, whose message does not repeat a path.
    """
    # Postgres would reject a number with more digits than any id has
    is_id = name.isascii() and name.isdigit()
    folder_id = int(name) if is_id and len(name) <= 18 else None
    path = None if is_id else name
    row = run(conn, "find_listed_folder", account_id=account_id, folder_id=folder_id, path=path).fetchone()
    if row is None:
        raise NotFound(f"account {account_id} has no folder {f'{name:.20}' if is_id else 'of that path'}")
    return int(row[0])


def messages(
    conn: Connection, account_id: int, wanted: MessageFilter, *, limit: int, behind: Position | None = None
) -> Page[MessageSummary]:
    """Up to `limit` messages after a position, newest first by ``internal_date`` and id."""
    ends = [Position(wanted.until, 0)] if wanted.until else []
    before = min([*ends, *([behind] if behind else [])], default=None)
    pattern = None if wanted.subject is None else f"%{_escaped(wanted.subject)}%"
    rows = run(
        conn,
        "list_messages",
        account_id=account_id,
        before=before.at if before else "infinity",
        before_id=before.id if before else 0,
        since=wanted.since,
        folder_id=wanted.folder_id,
        sender=wanted.sender,
        recipient=wanted.recipient,
        subject=pattern,
        seen=None if wanted.unread is None else not wanted.unread,
        flagged=wanted.flagged,
        has_attachments=wanted.has_attachments,
        include_deleted=wanted.include_deleted,
        count=limit + 1,
    )
    return _page(records.all_rows(MessageSummary, rows), limit)


def message(conn: Connection, account_id: int, message_id: int) -> MessageDetail:
    """One message of an account, even a tombstone. Raises NotFound."""
    rows = run(conn, "read_message", account_id=account_id, message_id=message_id)
    detail = records.first_row(MessageDetail, rows)
    if detail is None:
        raise NotFound(f"there is no message {message_id}")
    return replace(detail, attachments=tuple(Attachment(*values) for values in detail.attachments))


def runs(conn: Connection, account_id: int, *, limit: int, behind: Position | None = None) -> Page[RunRow]:
    """Up to `limit` runs of an account after a position, newest first by ``started_at`` and id."""
    rows = run(
        conn,
        "list_runs_before",
        account_id=account_id,
        before=behind.at if behind else "infinity",
        before_id=behind.id if behind else 0,
        count=limit + 1,
    )
    return _page(records.all_rows(RunRow, rows), limit)


def events(
    conn: Connection, after: EventPosition, *, limit: int, account_id: int | None = None
) -> Page[EventRow]:
    """Up to `limit` settled events after a position, oldest first, of one account or of all accounts."""
    xid, seq, count = str(after.xid), after.seq, limit + 1
    if account_id is None:
        rows = run(conn, "list_events_after", xid=xid, seq=seq, count=count)
    else:
        rows = run(conn, "list_account_events_after", account_id=account_id, xid=xid, seq=seq, count=count)
    settled = [EventRow(row[0], EventPosition(int(row[1]), row[2]), *row[3:]) for row in rows]
    return _page(settled, limit)


def horizon(conn: Connection) -> Horizon:
    """The ends of the feed at this moment."""
    row = run(conn, "feed_horizon").fetchone()
    assert row is not None
    return Horizon(EventPosition(int(row[0]), 0), EventPosition(int(row[1]), 0))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _page(rows: Sequence[T], limit: int) -> Page[T]:
    return Page(tuple(rows[:limit]), len(rows) > limit)
