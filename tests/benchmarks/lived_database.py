"""A database that has lived: a million messages of 49 accounts, vacuumed and analysed, made within minutes.

The accounts are paused, since no server knows them. Their rows are of the width of real ones: addresses,
subjects, ids and references hardly repeat, a fifth of the messages has an attachment, one in 25 is deleted.
Nothing is old enough for retention.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mailsync.config import Settings
from mailsync.model import Endpoint
from mailsync.store import credentials, db

ACCOUNTS = 49
FOLDERS = 20

# %(count)s messages: account by account, as first syncs leave them
_MAKE = (
    """
    insert into accounts (email, imap_host, imap_port, imap_security, username, sync_state,
                          priority_synced_at, overall_synced_at, last_success_at, paused_at, paused_reason)
    select 'held' || n || '@example.org', 'imap.example.org', 993, 'tls', 'held' || n, 'healthy',
           now(), now(), now(), now(), 'no server knows it'
    from generate_series(1, %(accounts)s) n
    """,
    """
    insert into folders (account_id, wire_name, path, delimiter, role, sync_priority, status, uidvalidity,
                         initial_done_at, last_reconciled_at, last_reconcile_clean, next_reconcile_at)
    select a.id, convert_to(p.path, 'UTF8'), p.path, '/', p.role,
           case when p.role is null then 100 else 10 end, 'active', 1700000000,
           now(), now(), true, now() + interval '5 hours'
    from accounts a
    cross join lateral (
        select case n when 0 then 'INBOX' when 1 then 'Sent' else 'Folder ' || n end as path,
               case n when 0 then 'inbox' when 1 then 'sent' end as role
        from generate_series(0, %(folders)s - 1) n
    ) p
    order by a.id, p.path
    """,
    """
    insert into messages (
        account_id, folder_id, uidvalidity, uid, modseq, message_id, in_reply_to, references_header,
        reference_ids, internal_date, sent_at, size_bytes, subject, from_email, from_name, to_emails,
        to_names, cc_emails, cc_names, list_id, is_automated, flags, has_attachments, mime_structure,
        deleted_at, deleted_reason, created_at, updated_at)
    select f.account_id, f.id, f.uidvalidity, i.place / %(folders)s + 1, n, h.id || '@post.example.com',
           r.ids[1], '<' || array_to_string(r.ids, '> <') || '>', coalesce(r.ids, '{}'),
           m.moment, m.moment, 2000 + n %% 90000,
           'Re: Angebot ' || n || ', delivery of ' || left(h.id, 10 + n %% 12),
           'user.' || n %% 50021 || '@host' || n %% 97 || '.example.com',
           'Name ' || left(h.id, 8) || ' Großmann', t.emails, t.names,
           case when n %% 3 = 0 then t.emails[1:1] else '{}' end,
           case when n %% 3 = 0 then t.names[1:1] else '{}' end,
           case when n %% 16 = 0 then 'list' || n %% 20 || '.example.org' end, n %% 16 = 0,
           case when n %% 5 < 4 then '{\\Seen}'::text[] when n %% 35 = 4 then '{\\Flagged}' else '{}' end,
           n %% 5 = 0,
           jsonb_build_object('type', 'multipart/mixed', 'parts', jsonb_build_array(
               jsonb_build_object('part', '1', 'type', 'text/plain', 'charset', 'utf-8',
                                  'encoding', 'quoted-printable', 'size', n %% 9000),
               jsonb_build_object('part', '2', 'type', 'text/html', 'charset', 'utf-8', 'encoding', 'base64',
                                  'size', n %% 40000))),
           case when n %% 25 = 0 then now() - n %% 28 * interval '1 day' end,
           case when n %% 25 = 0 then 'expunged' end, m.moment, m.moment
    from generate_series(0, %(count)s - 1) n
    cross join lateral (select %(count)s / %(accounts)s + 1 as size) e
    cross join lateral (select n %% e.size as place, n / e.size as owner) i
    cross join lateral (select md5(n::text) as id) h
    cross join lateral (
        select now() - interval '2 days' - (e.size - i.place) * interval '97 min' as moment
    ) m
    cross join lateral (
        select array_agg(md5((n - back)::text) || '@post.example.com') as ids
        from generate_series(1, n %% 7) back
    ) r
    cross join lateral (
        select array_agg('user.' || (n * 7 + k) %% 50021 || '@host' || k || '.example.com') as emails,
               array_agg('Name ' || substr(h.id, k, 9)) as names
        from generate_series(1, 2 + n %% 5) k
    ) t
    join numbered_folders f on f.owner = i.owner and f.place = i.place %% %(folders)s
    """,
    """
    insert into attachments (account_id, message_pk, part, filename, content_type, size_bytes)
    select account_id, id, '2', 'Angebot ' || left(md5(id::text), 12) || '.pdf', 'application/pdf', size_bytes
    from messages where has_attachments
    """,
    # as mailsync writes them: new mail, changed flags, deletions, batches of first syncs; of old transactions
    """
    insert into sync_events (account_id, xid, type, folder_id, message_pk, data, occurred_at)
    select account_id, (3 + id / 4000)::text::xid8, e.type, folder_id, id, e.data,
           now() - id %% 80 * interval '1 day'
    from messages m
    cross join lateral (
        select 'message.created' as type, jsonb_build_object('uid', uid) as data where id %% 3 = 0
        union all
        select 'message.flags_changed', jsonb_build_object('uid', uid, 'old', '{}'::text[], 'new', flags)
        where id %% 4 = 0
        union all
        select 'message.deleted', jsonb_build_object('uid', uid, 'reason', deleted_reason)
        where deleted_at is not null
    ) e
    """,
    """
    insert into sync_events (account_id, xid, type, folder_id, data)
    select account_id, '3'::xid8, 'folder.backfilled', folder_id,
           jsonb_build_object('from_uid', min(uid), 'through_uid', max(uid), 'messages', count(*))
    from messages group by account_id, folder_id, uid / 500
    """,
    """
    insert into sync_runs (account_id, trigger, worker, status, started_at, finished_at, messages_new)
    select 1 + n %% %(accounts)s, 'schedule', 'host:1:worker', 'success', moment, moment, 1
    from generate_series(1, %(count)s / 10) n
    cross join lateral (select now() - n * interval '20 s' as moment) m
    """,
    """
    update folders f
    set live_count = c.live, live_unseen = c.unseen, last_uid = c.last, uidnext = c.last + 1,
        server_messages = c.live, server_unseen = c.unseen
    from (
        select account_id, folder_id, count(*) filter (where deleted_at is null) as live,
               count(*) filter (where deleted_at is null and not is_seen) as unseen, max(uid) as last
        from messages group by account_id, folder_id
    ) c
    where f.account_id = c.account_id and f.id = c.folder_id
    """,
)


def make(settings: Settings, count: int) -> None:
    """Fill a migrated database with `count` messages, then VACUUM, ANALYZE and CHECKPOINT."""
    with db.connect(settings, "bench") as conn:
        # the rows refer to what is there; asking for each of a million takes longer than all else
        conn.execute("set session_replication_role = replica")
        conn.execute("set maintenance_work_mem = '256MB'")
        values = {"count": count, "accounts": ACCOUNTS, "folders": FOLDERS}
        with _without_indexes(conn):
            for number, statement in enumerate(_MAKE):
                conn.execute(statement.encode(), values)
                if number == 0:
                    _seal_passwords(conn, settings)
                if number == 1:
                    conn.execute(_NUMBERED)
                    conn.execute("analyze numbered_folders")
        conn.execute("vacuum (analyze)")
        conn.execute("checkpoint")


_NUMBERED = """
create temporary table numbered_folders as
select account_id, id, uidvalidity, account_id - min(account_id) over () as owner,
       row_number() over (partition by account_id order by id) - 1 as place
from folders
"""


def _seal_passwords(conn: db.Connection, settings: Settings) -> None:
    """Give the accounts passwords; a worker refuses to start where its key opens too few of them."""
    keys = settings.encryption_keys()
    for account_id, host, port, username in conn.execute(
        "select id, imap_host, imap_port, username from accounts"
    ).fetchall():
        credentials.store(conn, account_id, Endpoint(host, port, "tls", username), "held", keys)


@contextmanager
def _without_indexes(conn: db.Connection) -> Iterator[None]:
    """Drop the indexes that are no constraint's, and build them when the rows are there: that is faster."""
    found = conn.execute(
        "select indexname, indexdef from pg_indexes where schemaname = current_schema()"
        " and indexname not in (select conname from pg_constraint)"
    ).fetchall()
    for name, _ in found:
        conn.execute(f'drop index "{name}"'.encode())
    yield
    for _, definition in found:
        conn.execute(definition.encode())
