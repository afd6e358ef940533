"""Message bodies that were fetched on demand (SPEC §14), and where to fetch the others."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mailsync.model import Attachment
from mailsync.store import records
from mailsync.store.db import Connection
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class Body:
    """A stored body.

    ``text`` and ``html`` are None if the message has no such part. ``raw_bytes`` is how much of the message
    was read, ``truncated`` whether ``BODY_MAX_BYTES`` cut it off. ``warnings`` come from
    :class:`mailsync.mail.mime.Parsed`; ``parser_version`` is the version of the parser. ``deleted_at`` and
    ``deleted_reason`` are set for a tombstone.
    """

    account_id: int
    message_id: int
    text: str | None
    html: str | None
    raw_bytes: int | None
    truncated: bool
    warnings: tuple[str, ...]
    fetched_at: datetime
    parser_version: int
    deleted_at: datetime | None
    deleted_reason: str | None
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class StoredAttachment:
    """An attachment, and how to fetch its content.

    ``encoding`` is the transfer encoding that BODYSTRUCTURE names; None if BODYSTRUCTURE could not be read.
    ``from_content`` says that only the content shows the attachment, and BODYSTRUCTURE no such part.
    """

    attachment: Attachment
    encoding: str | None
    from_content: bool


@dataclass(frozen=True, slots=True)
class MessageLocation:
    """Where a message is on its server, and the state of its account.

    ``internal_date`` is None if the server did not send it. ``backoff`` is the number of seconds until the
    account may be used again; None without a backoff.
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
    """The stored body, even of a tombstone; None if it was never fetched or the message does not exist."""
    body = records.first_row(Body, run(conn, "load_body", account_id=account_id, message_id=message_id))
    return body and replace(body, attachments=tuple(Attachment(*values) for values in body.attachments))


def save(
    conn: Connection,
    account_id: int,
    message_id: int,
    *,
    text: str | None,
    html: str | None,
    attachments: Sequence[Attachment],
    files_in_text: Collection[str],
    raw_bytes: int,
    truncated: bool,
    is_complete: bool,
    warnings: Sequence[str],
    parser_version: int,
) -> bool:
    """Store a body and mark the message's row, in one statement; False if the row is gone.

    If `attachments` are all that the message has (`is_complete`), they replace those of BODYSTRUCTURE.
    `files_in_text` are the parts that no BODYSTRUCTURE has. Raises RowsRefused if Postgres rejects a value.
    """
    by_part = {attachment.part: attachment for attachment in reversed(attachments)}
    row = run(
        conn,
        "store_body",
        account_id=account_id,
        message_id=message_id,
        text=text,
        html=html,
        attachments=json.dumps(
            [{**part._asdict(), "in_text": part.part in files_in_text} for part in by_part.values()]
        ),
        has_attachments=any(not part.is_embedded for part in by_part.values()),
        raw_bytes=raw_bytes,
        truncated=truncated,
        is_complete=is_complete,
        warnings=list(warnings),
        parser_version=parser_version,
    ).fetchone()
    return row is not None


def lock_mailbox(conn: Connection, account_id: int) -> tuple[str, str] | None:
    """Lock the host and user name of an account until the transaction ends; None if it does not exist."""
    row = run(conn, "hold_mailbox", account_id=account_id).fetchone()
    return (row[0], row[1]) if row else None


def forget(conn: Connection, account_id: int) -> None:
    """Delete the bodies of live messages, because the account may have another mailbox now."""
    run(conn, "forget_bodies", account_id=account_id)


def locate(conn: Connection, account_id: int, message_id: int) -> MessageLocation | None:
    """Where the message is; None if it does not exist or its account is being removed."""
    return records.first_row(
        MessageLocation, run(conn, "locate_message", account_id=account_id, message_id=message_id)
    )


def load_attachment(conn: Connection, account_id: int, message_id: int, part: str) -> StoredAttachment | None:
    """The attachment with this part number; None if the message has none."""
    cursor = run(conn, "load_attachment", account_id=account_id, message_id=message_id, part=part)
    row = cursor.fetchone()
    return StoredAttachment(records.reader(Attachment, cursor)(row), row[-2], row[-1]) if row else None


def account_of(conn: Connection, message_id: int) -> int | None:
    """The id of a message's account; None if the message does not exist or the account is being removed."""
    row = run(conn, "account_of_message", message_id=message_id).fetchone()
    return int(row[0]) if row else None
