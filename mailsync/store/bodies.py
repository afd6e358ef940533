"""Bodies of messages that were fetched on demand (SPEC §14), and where to fetch those that were not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailsync.model import Attachment
from mailsync.store.db import Connection
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class Body:
    """A stored body.

    ``text`` and ``html`` are None where the message has no such part. ``raw_bytes`` is how much of the
    message was read, ``truncated`` whether ``BODY_MAX_BYTES`` cut it; ``warnings`` are those of
    :class:`mailsync.mail.mime.Parsed`. ``deleted_at`` and ``deleted_reason`` are set for a tombstone.
    """

    account_id: int
    message_id: int
    text: str | None
    html: str | None
    raw_bytes: int | None
    truncated: bool
    warnings: tuple[str, ...]
    fetched_at: datetime
    deleted_at: datetime | None
    deleted_reason: str | None
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class MessageLocation:
    """Where a message is on its server, and how its account is.

    ``internal_date`` is None where the server did not tell it. ``backoff`` are the seconds for which the
    account is left alone, None without a backoff.
    """

    account_id: int
    message_id: int
    folder_id: int
    uidvalidity: int
    uid: int
    internal_date: datetime | None
    size_bytes: int | None
    deleted_reason: str | None
    path: str
    email: str
    paused: bool
    sync_state: str
    sync_state_reason: str | None
    sync_state_message: str | None
    backoff: float | None


def load(conn: Connection, account_id: int, message_id: int) -> Body | None:
    """The stored body, of a tombstone too; None if it was never fetched, or there is no such message."""
    row = run(conn, "load_body", account_id=account_id, message_id=message_id).fetchone()
    if row is None:
        return None
    *said, deleted_at, deleted_reason, attachments = row
    text, html, raw_bytes, truncated, warnings, fetched_at = said
    return Body(
        account_id, message_id, text, html, raw_bytes, truncated, tuple(warnings), fetched_at,
        deleted_at, deleted_reason, tuple(Attachment(*each) for each in attachments),
    )  # fmt: skip


def save(
    conn: Connection,
    account_id: int,
    message_id: int,
    *,
    text: str | None,
    html: str | None,
    attachments: Sequence[Attachment],
    raw_bytes: int,
    truncated: bool,
    warnings: Sequence[str],
) -> bool:
    """Store a body and note it in the message's row, in one statement; False if the row is gone.

    Raises RowsRefused when Postgres does not take a value.
    """
    row = run(
        conn,
        "store_body",
        account_id=account_id,
        message_id=message_id,
        text=text,
        html=html,
        attachments=json.dumps([attachment._asdict() for attachment in attachments]),
        raw_bytes=raw_bytes,
        truncated=truncated,
        warnings=list(warnings),
    ).fetchone()
    return row is not None


def hold_mailbox(conn: Connection, account_id: int) -> tuple[str, str] | None:
    """The host and the user name of an account, which stay so until the transaction ends; None without it."""
    row = run(conn, "hold_mailbox", account_id=account_id).fetchone()
    return (row[0], row[1]) if row else None


def forget(conn: Connection, account_id: int) -> None:
    """Drop the bodies of live messages: where they are fetched from may hold others now."""
    run(conn, "forget_bodies", account_id=account_id)


def locate(conn: Connection, account_id: int, message_id: int) -> MessageLocation | None:
    """Where the message is; None if there is no such message, or its account is being removed."""
    row = run(conn, "locate_message", account_id=account_id, message_id=message_id).fetchone()
    return MessageLocation(account_id, message_id, *row) if row else None


def load_attachment(
    conn: Connection, account_id: int, message_id: int, part: str
) -> tuple[Attachment, str | None] | None:
    """The attachment and its transfer encoding; None for the latter where BODYSTRUCTURE did not tell."""
    row = run(conn, "load_attachment", account_id=account_id, message_id=message_id, part=part).fetchone()
    return (Attachment(*row[:-1]), row[-1]) if row else None


def account_of(conn: Connection, message_id: int) -> int | None:
    """The account that a message belongs to; None without the message, or if the account is being removed."""
    row = run(conn, "account_of_message", message_id=message_id).fetchone()
    return int(row[0]) if row else None
