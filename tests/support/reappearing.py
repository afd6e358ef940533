"""Messages that reappear: their fields, the reset of their folder, and their rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mailsync.engine.verify import verify
from mailsync.model import FolderState, Message
from mailsync.store import folders, messages
from mailsync.store.db import Connection
from tests.support.stored import DATE, NO_HEADERS, assert_counts_are_true, message
from tests.support.turns import Mirror

REASONS = ["expunged", "folder_missing", "uidvalidity_reset", "expired", "untracked"]


def letter(uid: int, name: str, *flags: str, **changes: Any) -> Message:
    """The message `name` under a UID; its other fields follow from its name."""
    number = sum(map(ord, name))
    plain = message(uid, *flags, message_id=f"{name}@example.com", subject=name, size_bytes=number)
    headers = plain.headers._replace(**{k: changes.pop(k) for k in list(changes) if k in NO_HEADERS._fields})
    return plain._replace(headers=headers, internal_date=DATE + timedelta(hours=number))._replace(**changes)


def restarted(conn: Connection, folder: FolderState, uidvalidity: int) -> FolderState:
    """Reset the folder to a new UIDVALIDITY, and tombstone its old rows."""
    folders.restart(conn, folder, uidvalidity)
    while messages.tombstone_chunk(conn, folder, "uidvalidity_reset", keep=uidvalidity):
        pass
    return folders.load(conn, folder.account_id, folder.id)[0]


def ids(conn: Connection, folder: FolderState) -> dict[int, int]:
    """The ids of live rows by UID."""
    query = (
        "select uid, id from messages where folder_id = %s and uidvalidity = %s and deleted_at is null"
        " order by uid"
    )
    return dict(conn.execute(query, [folder.id, folder.uidvalidity]).fetchall())


def fetch_body(conn: Connection, folder: FolderState, pk: int) -> None:
    """Store a body, as a body fetch does."""
    conn.execute(
        "insert into message_bodies (account_id, message_pk, body_text) values (%s, %s, 'the body')",
        [folder.account_id, pk],
    )
    conn.execute("update messages set body_fetched_at = now() where id = %s", [pk])


def bodies(conn: Connection) -> list[int]:
    return [row[0] for row in conn.execute("select message_pk from message_bodies order by 1")]


def told(conn: Connection) -> list[tuple[str, int]]:
    """Events of messages other than deletions: type and row."""
    query = (
        "select type, message_pk from sync_events where type like 'message.%'"
        " and type <> 'message.deleted' order by seq"
    )
    return conn.execute(query).fetchall()


def assert_true(mirror: Mirror) -> None:
    """The mirror is healthy and equal to the server."""
    assert mirror.state == ("healthy", None)
    assert_counts_are_true(mirror.conn, mirror.folder())
    assert verify(mirror.env, mirror.account_id, wait=1).different == 0
