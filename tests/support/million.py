"""A mirror of a million messages, filled within seconds, whose values are unevenly distributed.

Four accounts share the tables, and a fifth of the messages are tombstones. ``robot@`` writes only to Archive,
whose mail is all old. Everything in Rare is deleted. ``s0@`` writes often, others seldom. The newer half of
the events belongs to account 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

MESSAGES = 1_000_000

# building indexes after filling takes a third of the time
_DROP_INDEXES = b"""
do $$
declare
    each record;
begin
    create temporary table kept as
        select indexname as name, indexdef as definition from pg_indexes
        where schemaname = current_schema() and tablename = 'messages'
          and indexname not in (select conname from pg_constraint);
    for each in select name from kept loop
        execute format('drop index %I', each.name);
    end loop;
    set session_replication_role = replica;
    set maintenance_work_mem = '256MB';
end
$$
"""

_BUILD_INDEXES = b"""
do $$
declare
    each record;
begin
    for each in select definition from kept loop
        execute each.definition;
    end loop;
    drop table kept;
    set session_replication_role = origin;
end
$$
"""

_STATEMENTS = (
    """
    insert into accounts (email, imap_host, imap_port, imap_security, username)
    select 'a' || n || '@example.com', 'imap.example.com', 993, 'tls', 'a' from generate_series(1, 4) n
    """,
    """
    insert into folders (account_id, wire_name, path)
    select a.id, convert_to(p, 'UTF8'), p
    from accounts a, unnest(array['INBOX', 'Archive', 'Sent', 'Lists', 'Rare']) p
    order by 1, 3
    """,
    """
    insert into messages (account_id, folder_id, uidvalidity, uid, internal_date, subject, from_email, flags,
                          deleted_at, deleted_reason)
    select f.account_id, f.id, 1, n, timestamptz '2010-01-01 UTC' + n / 2 * interval '17 min', 'No. ' || n,
           case when f.path = 'Archive' and n % 3 = 0 then 'robot'
                else 's' || (power(n::bigint * 7919 % 100003 / 100003::float8, 3) * 5000)::int
           end || '@example.com',
           case when n % 3 = 0 then array['\\Seen'] else '{}' end,
           case when n % 5 = 0 then now() end, case when n % 5 = 0 then 'expunged' end
    from generate_series(1, 1000000) n
    cross join lateral (
        select case when n % 20 < 12 then 1 when n % 20 < 17 then 2 when n % 1000 < 990 then 3
                    else 4 end as owner,
               case when n < 500000 and n % 7 < 4 then 'Archive'
                    when n % 100 = 0 then 'Rare'
                    when n % 11 = 0 then 'Lists'
                    when n % 7 = 1 then 'Sent'
                    else 'INBOX' end as path
    ) p
    join folders f on f.account_id = p.owner and f.path = p.path
    """,
    # very few messages have several authors
    """
    update messages set from_emails = array[from_email, 'second' || uid / 20000 % 2 || '@example.com']
    where uid % 20000 = 3
    """,
    """
    insert into sync_runs (account_id, trigger, worker, status, started_at, finished_at)
    select 1 + n % 4, 'schedule', 'h:1:worker', 'success', moment, moment
    from generate_series(1, 100000) n
    cross join lateral (select timestamptz '2025-01-01 UTC' + n / 3 * interval '1 min' as moment) m
    """,
    # from transactions that ended long ago
    """
    insert into sync_events (account_id, type, xid)
    select case when n < 50000 then 1 + n % 4 else 2 end, 'message.created', (n / 500)::text::xid8
    from generate_series(1, 100000) n
    """,
)


@contextmanager
def indexes_later(conn: psycopg.Connection) -> Iterator[None]:
    """Fill ``messages`` without indexes, which are built at the end, and without checking foreign keys."""
    conn.execute(_DROP_INDEXES)
    yield
    conn.execute(_BUILD_INDEXES)


def fill(conn: psycopg.Connection) -> None:
    """Fill a fresh database. `conn` is a superuser's autocommit connection, with the schema on its path."""
    with indexes_later(conn):
        for statement in _STATEMENTS:
            conn.execute(statement.encode())
    conn.execute("analyze")
