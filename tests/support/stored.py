"""Settings, accounts, folders and messages for tests of the store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mailsync.config import Settings
from mailsync.config.oauth import OAuthClient
from mailsync.model import (
    Attachment,
    Endpoint,
    FolderState,
    FolderTraits,
    Headers,
    ListedFolder,
    MailboxStatus,
    Message,
    MessageState,
)
from mailsync.store import accounts, db, folders, messages
from mailsync.store.db import Connection

KEY = "00112233445566778899aabbccddeeff" * 2
UIDVALIDITY = 1_700_000_000
DATE = datetime(2025, 5, 17, 8, 30, tzinfo=UTC)
ATTACHMENT = Attachment("2", "a.pdf", "application/pdf", 1000, None, False)
NO_HEADERS = Headers(
    None, None, None, (), None, None, None, None, (), (), (), (), (), (), (), None, False, ()
)


def settings_for(url: str, *, oauth_clients: tuple[OAuthClient, ...] = (), **changes: Any) -> Settings:
    """The settings of a process that uses the database at `url`."""
    settings = Settings(**{"database_url": url, "imap_encryption_key": KEY} | changes)
    settings._oauth_clients = oauth_clients
    return settings


def new_account(conn: Connection, settings: Settings, email: str = "a@example.com") -> int:
    """Store an account and return its id."""
    endpoint = Endpoint("imap.example.com", 993, "tls", email)
    return accounts.create(conn, accounts.NewAccount(email, endpoint), "secret", settings)


def new_folder(
    conn: Connection, account_id: int, name: str = "INBOX", uidvalidity: int = UIDVALIDITY
) -> FolderState:
    """Store a folder whose initial sync has begun. The grace period of the account's other folders begins."""
    listed = ListedFolder(name.encode(), name, "/", frozenset())
    with db.transaction(conn):
        folders.upsert(conn, account_id, [(listed, FolderTraits(None, 100, None))])
    folder = next(f for f in folders.load(conn, account_id) if f.path == name)
    folders.begin_initial(conn, folder, MailboxStatus(uidvalidity=uidvalidity), 0)
    return folders.load(conn, account_id, folder.id)[0]


def message(uid: int, *flags: str, **changes: Any) -> Message:
    """A message; `changes` replace its fields or those of its headers."""
    headers = NO_HEADERS._replace(message_id=f"{uid}@example.com", subject=f"Message {uid}")
    of_headers = {name: changes.pop(name) for name in list(changes) if name in Headers._fields}
    plain = Message(
        uid,
        uid,
        flags,
        DATE,
        1000 + uid,
        None,
        None,
        None,
        False,
        None,
        (),
        headers._replace(**of_headers),
        (),
    )
    return plain._replace(**changes)


def store(conn: Connection, folder: FolderState, *batch: Message, announce: bool = False) -> int:
    """Store a batch in its own transaction and return how many rows are new."""
    with db.transaction(conn):
        return messages.store_batch(conn, folder, batch, announce=announce)


def flag(conn: Connection, folder: FolderState, states: dict[int, tuple[str, ...] | None]) -> int:
    """Apply flags in their own transaction and return how many rows changed."""
    with db.transaction(conn):
        told = [MessageState(uid, None, flags, None, None) for uid, flags in states.items()]
        return messages.apply_flags(conn, folder, told)


def row(conn: Connection, uid: int) -> dict[str, Any]:
    """The message's row as column → value."""
    cursor = conn.execute("select * from messages where uid = %s", [uid])
    names = [column.name for column in cursor.description or ()]
    return dict(zip(names, cursor.fetchone() or (), strict=True))


def assert_counts_are_true(conn: Connection, folder: FolderState) -> None:
    """Compare the stored counts of the folder with its rows."""
    (kept,) = folders.load(conn, folder.account_id, folder.id)
    counted = conn.execute(
        "select count(*), count(*) filter (where not is_seen) from messages"
        " where folder_id = %s and deleted_at is null",
        [folder.id],
    ).fetchone()
    assert (kept.live_count, kept.live_unseen) == counted
