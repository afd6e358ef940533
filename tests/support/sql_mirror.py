"""Fills a mirror by SQL, for tests of the API's lists."""

from __future__ import annotations

import random
from typing import Any

import psycopg

Database = psycopg.Connection[Any]

FOLDERS = ("INBOX", "Work/Ümläut", "2024")
SENDERS = ("ann@example.com", "bob@example.com", "o'hara@example.com")
SUBJECTS = ("Invoice 100%", "Invoice 100", "invoice_7", "invoice 7", "Re: LUNCH", "a\\b", None)


def add_account(database: Database, email: str, **columns: object) -> int:
    """Store an account; returns its id."""
    names = ["email", "imap_host", "imap_port", "imap_security", "username", *columns]
    values = [email, "imap.example.com", 993, "tls", email, *columns.values()]
    marks = ", ".join(["%s"] * len(names))
    row = database.execute(
        f"insert into accounts ({', '.join(names)}) values ({marks}) returning id".encode(), values
    ).fetchone()
    assert row
    return int(row[0])


def add_folder(database: Database, account_id: int, path: str) -> int:
    """Store a folder; returns its id."""
    row = database.execute(
        "insert into folders (account_id, wire_name, path, uidvalidity) values (%s, %s, %s, 1) returning id",
        [account_id, path.encode(), path],
    ).fetchone()
    assert row
    return int(row[0])


def add_messages(database: Database, account_id: int, folder_id: int, count: int, seed: int = 0) -> list[int]:
    """Store various messages, some with equal times, some tombstones; returns their ids."""
    chance = random.Random(seed)
    row = database.execute("select coalesce(max(uid), 0) from messages where folder_id = %s", [folder_id])
    first = (row.fetchone() or (0,))[0] + 1
    ids = []
    for uid in range(first, first + count):
        addresses = [[chance.choice(SENDERS)] if chance.random() < 0.4 else [] for _ in range(3)]
        authors = chance.sample(SENDERS, chance.choice((0, 1, 1, 1, 2)))
        flags = [flag for flag in ("\\Flagged", "\\Seen") if chance.random() < 0.5]
        deleted = chance.random() < 0.25
        row = database.execute(
            "insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, subject,"
            " from_email, from_emails, to_emails, cc_emails, bcc_emails, flags, has_attachments, deleted_at,"
            " deleted_reason)"
            " values (%s, %s, 1, %s, timestamptz '2026-01-01 UTC' + %s * interval '1 hour', %s, %s, %s, %s,"
            " %s, %s, %s, %s, case when %s then now() end, case when %s then 'expunged' end) returning id",
            [account_id, folder_id, uid, chance.randrange(100), chance.choice(SUBJECTS),
             authors[0] if authors else None, authors, *addresses, flags, chance.random() < 0.5,
             deleted, deleted],
        )  # fmt: skip
        ids.append((row.fetchone() or (0,))[0])
    return ids


def all_rows(database: Database, account_id: int) -> list[dict[str, Any]]:
    """All rows of ``messages`` of an account, column by column, newest first."""
    cursor = database.execute(
        "select * from messages where account_id = %s order by internal_date desc, id desc", [account_id]
    )
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor]
