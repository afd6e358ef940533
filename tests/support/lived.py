"""Databases with history: an account of 20,000 messages, and others, in several states of the statistics.

Statistics are part of a database, so each state has its own database, which is filled within seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.support.million import indexes_later

UIDVALIDITY = 1_700_000_000
EMAIL = "new@example.com"
_EMPTIED = "emptied@example.com"

# path, live rows, tombstones, UIDVALIDITY, and when its mail begins
_FOLDERS: list[tuple[str, int, int, int, str]] = [
    ("INBOX", 6_000, 0, UIDVALIDITY, "2025-01-01"),
    ("Archive", 5_000, 0, UIDVALIDITY, "2010-01-01"),
    ("Deleted", 0, 4_000, UIDVALIDITY, "2024-01-01"),
    ("Gone", 0, 1_000, UIDVALIDITY, "2024-01-01"),
    ("Unknown", 500, 0, 0, "2024-06-01"),
    *[(f"Project {n}", 218, 0, UIDVALIDITY, "2024-06-01") for n in range(15)],
]
PATHS = [path for path, *_ in _FOLDERS]

_ACCOUNT = """
    insert into accounts (email, imap_host, imap_port, imap_security, username, sync_state, sync_window_days,
                          capabilities)
    select address, 'imap.example.com', 993, 'tls', address, 'healthy', 3650, '{IMAP4REV1,CONDSTORE}'
    from unnest(%(emails)s::text[]) address
"""
_CREDENTIALS = """
    insert into account_credentials (account_id, key_id, ciphertext)
    select id, 'k', 'sealed' from accounts where email = any(%(emails)s)
"""
_FOLDER = """
    insert into folders (account_id, wire_name, path, status, uidvalidity, last_uid, live_count, role)
    select a.id, convert_to(%(path)s, 'UTF8'), %(path)s, 'active', %(uidvalidity)s, %(live)s + %(dead)s,
           %(live)s, case when %(path)s = 'INBOX' then 'inbox' end
    from accounts a where a.email = any(%(emails)s) order by a.id
"""
_MESSAGES = """
    insert into messages (account_id, folder_id, uidvalidity, uid, modseq, message_id, internal_date,
                          size_bytes, subject, from_email, to_emails, flags, has_attachments, deleted_at,
                          deleted_reason,
                          parse_errors)
    select f.account_id, f.id, f.uidvalidity, n, n, n || '.' || f.id || '@example.com',
           %(begins)s::timestamptz + n * interval '7 min', 1000 + n,
           'Message no. ' || n || ' of a longer subject', 's' || n %% 97 || '@example.com',
           array['somebody@example.com'],
           case when n %% 3 = 0 then '{}' else array['\\Seen'] end, n %% %(every)s = 0,
           case when n > %(live)s then now() - interval '90 days' - n * interval '1 s' end,
           case when n > %(live)s then 'expunged' end,
           case when n %% 500 = 7 then '{unfetchable}'::text[] else '{}' end
    from folders f join accounts a on a.id = f.account_id, generate_series(1, %(live)s + %(dead)s) n
    where a.email = any(%(emails)s) and f.path = %(path)s
"""
_REST = (
    """
    update folders f set live_unseen = (
        select count(*) from messages where folder_id = f.id and deleted_at is null and not is_seen)
    where account_id in (select id from accounts where email = any(%(emails)s))
    """,
    """
    insert into attachments (account_id, message_pk, part, filename, content_type, size_bytes)
    select m.account_id, m.id, part, 'a.pdf', 'application/pdf', 1000
    from messages m join accounts a on a.id = m.account_id, unnest(array['2', '3']) part
    where a.email = any(%(emails)s) and m.has_attachments
    """,
    """
    insert into message_bodies (account_id, message_pk, body_text)
    select m.account_id, m.id, 'A text of several words.'
    from messages m join accounts a on a.id = m.account_id
    where a.email = any(%(emails)s) and m.uid %% (5 * %(every)s) = 1
    """,
    """
    insert into fetch_attempts (account_id, folder_id, uidvalidity, uid, through_uid, attempts)
    select f.account_id, f.id, f.uidvalidity, n * 10, n * 10 + n %% 2 * 9, 1
    from folders f join accounts a on a.id = f.account_id, generate_series(1, 20) n
    where a.email = any(%(emails)s)
    """,
    """
    insert into sync_runs (account_id, trigger, worker, status, started_at, finished_at, error_code)
    select a.id, 'schedule', 'h:1:worker', 'success', moment, moment, case when n = 3 then 'unreachable' end
    from accounts a, generate_series(1, %(runs)s) n
    cross join lateral (select now() - interval '1 day' - n * interval '10 min' as moment) m
    where a.email = any(%(emails)s)
    """,
    """
    insert into sync_events (account_id, type, xid, occurred_at)
    select a.id, 'message.created', (3 + n / 500)::text::xid8,
           now() - interval '1 day' - n * interval '10 min'
    from accounts a, generate_series(1, %(events)s) n where a.email = any(%(emails)s)
    """,
)
_OTHERS = [f"other{n}@example.com" for n in range(8)]


@dataclass(frozen=True)
class Lived:
    """The account whose statements are measured, and ids of its rows."""

    account: int
    emptied: int
    """Another account, which has only folders left."""
    accounts: int
    folders: dict[str, int]
    message: int
    """A message of the inbox, with a body and two attachments."""


def _fill(
    conn: psycopg.Connection,
    emails: list[str],
    folders: list[tuple[Any, ...]],
    *,
    runs: int,
    events: int,
    every: int = 4,
) -> None:
    values: dict[str, Any] = {"emails": emails, "runs": runs, "events": events, "every": every}
    conn.execute(_ACCOUNT, values)
    conn.execute(_CREDENTIALS, values)
    for path, live, dead, uidvalidity, begins in folders:
        values |= {"path": path, "live": live, "dead": dead, "uidvalidity": uidvalidity, "begins": begins}
        conn.execute(_FOLDER, values)
        conn.execute(_MESSAGES, values)
    for statement in _REST:
        conn.execute(statement, values)


def _others(conn: psycopg.Connection) -> None:
    _fill(
        conn,
        _OTHERS,
        [(f"Folder {n}", 800, 200, 1, "2022-01-01") for n in range(4)],
        runs=1_000,
        events=2_000,
    )


def _far_larger(conn: psycopg.Connection) -> None:
    with indexes_later(conn):
        _fill(
            conn,
            ["large@example.com"],
            [("INBOX", 500_000, 0, 1, "2010-01-01")],
            runs=1_000,
            events=50_000,
            every=400,
        )


def _account(conn: psycopg.Connection) -> None:
    _fill(conn, [EMAIL], _FOLDERS, runs=7_000, events=7_000)
    _fill(
        conn,
        [_EMPTIED],
        [(f"Folder {n}", 0, 0, UIDVALIDITY, "2025-01-01") for n in range(20)],
        runs=0,
        events=0,
    )
    # tombstones with the keys that rows of an unknown UIDVALIDITY will get
    conn.execute(
        """
        insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, deleted_at,
                              deleted_reason)
        select account_id, folder_id, %s, uid, internal_date, now(), 'expunged'
        from messages where uidvalidity = 0 and uid <= 100
        """,
        [UIDVALIDITY],
    )


def _analyze(conn: psycopg.Connection) -> None:
    conn.execute("analyze")


STATES: dict[str, tuple[Callable[[psycopg.Connection], None], ...]] = {
    "none": (_others, _account),
    "of an empty table": (_analyze, _others, _account),
    "from before this account": (_others, _analyze, _account),
    "of a far larger account": (_far_larger, _analyze, _account),
}
"""The states of the statistics, and the steps that lead to each."""


def fill(conn: psycopg.Connection, state: str) -> Lived:
    """Fill a fresh database. `conn` is a superuser's autocommit connection, with the schema on its path."""
    for step in STATES[state]:
        conn.execute("set session_replication_role = replica")
        step(conn)
    conn.execute("set session_replication_role = origin")
    return find(conn)


def find(conn: psycopg.Connection) -> Lived:
    """The ids in a filled database."""
    ids = dict(conn.execute("select email, id from accounts").fetchall())
    account = ids[EMAIL]
    folders = dict(conn.execute("select path, id from folders where account_id = %s", [account]).fetchall())
    row = conn.execute(
        "select id from messages where folder_id = %s and uid = 401", [folders["INBOX"]]
    ).fetchone()
    return Lived(account, ids[_EMPTIED], len(ids), folders, row[0] if row else 0)
