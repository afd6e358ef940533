-- The whole data model. Names are unqualified: run it with the wanted schema first on search_path, e.g.
--   psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -1 -c 'create schema if not exists mailsync; set search_path = mailsync' -f 0001_create_mirror.sql
-- account_id leads every key, so that the tables can be distributed by it. Two things are coordinator-local
-- then: the unique accounts.email, and the settling of the feed (sync_events_settled).

create table schema_migrations (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default now()
);
comment on table schema_migrations is 'What has been applied. A migration ends by recording itself with the SHA-256 of all that stands above that line.';

-- Accounts ------------------------------------------------------------------------------------------------

create table accounts (
    -- half of the advisory lock's key, which is an int4
    id bigint generated always as identity primary key check (id between 1 and 2147483647),
    email text not null unique check (email = lower(email) and length(email) between 3 and 320),
    display_name text,
    provider text,
    imap_host text not null,
    imap_port integer not null check (imap_port between 1 and 65535),
    imap_security text not null check (imap_security in ('tls', 'starttls', 'plaintext')),
    username text not null,
    auth_method text not null default 'password' check (auth_method in ('password')),
    sync_since timestamptz,
    sync_window_days integer check (sync_window_days > 0),
    paused_at timestamptz,
    paused_reason text,
    deleting_at timestamptz,
    sync_state text not null default 'initial_sync'
        check (sync_state in ('initial_sync', 'healthy', 'degraded', 'broken', 'paused')),
    sync_state_reason text,
    sync_state_message text,
    sync_state_since timestamptz not null default now(),
    healthy_until timestamptz,
    currently_syncing boolean not null default false,
    sync_started_by text,
    heartbeat_at timestamptz,
    next_sync_at timestamptz not null default now(),
    last_sync_started_at timestamptz,
    last_sync_finished_at timestamptz,
    last_success_at timestamptz,
    priority_synced_at timestamptz,
    overall_synced_at timestamptz,
    consecutive_failures integer not null default 0,
    consecutive_successes integer not null default 0,
    backoff_until timestamptz,
    capabilities text[] not null default '{}',
    throttle_tokens double precision,
    throttle_at timestamptz,
    folder_rr_cursor bigint not null default 0,
    next_discovery_at timestamptz not null default now(),
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (sync_since is null or sync_window_days is null)
) with (fillfactor = 50);
create index accounts_due on accounts (next_sync_at);
comment on column accounts.healthy_until is 'Until when "healthy" holds without another successful turn; account_status adds the passing of time.';
comment on column accounts.sync_state is 'As of the last turn, and never paused: read account_status, which adds pauses and the passing of time.';
comment on column accounts.currently_syncing is 'What the last turn wrote; true after a crash. account_status tells it from the locks.';
comment on column accounts.priority_synced_at is 'When the turn began that last compared inbox and sent mail with the server; the lag is computed when read.';
comment on column accounts.overall_synced_at is 'As priority_synced_at, for all tracked folders; null until all of them were complete for the first time.';
comment on column accounts.updated_at is 'When a person last changed the row; turns do not touch it.';
comment on column accounts.throttle_tokens is 'Commands that may be sent now, as of throttle_at; null is a full bucket.';
comment on column accounts.throttle_at is 'When throttle_tokens was true; lies ahead while a turn has reserved them.';

create table account_credentials (
    account_id bigint primary key references accounts (id),
    key_id text not null,
    ciphertext bytea not null,
    rotated_at timestamptz not null default now()
);
comment on table account_credentials is 'Apart from accounts, so that a reader may be granted accounts without it.';

-- Folders -------------------------------------------------------------------------------------------------

create table folders (
    account_id bigint not null references accounts (id),
    id bigint generated always as identity,
    wire_name bytea not null,
    path text not null,
    delimiter text,
    mailbox_id text,
    role text check (role in ('inbox', 'sent', 'drafts', 'junk', 'trash', 'archive', 'all', 'flagged')),
    tracked boolean not null default true,
    tracked_by_user boolean,
    excluded_reason text,
    sync_priority integer not null default 100,
    status text not null default 'pending' check (status in ('pending', 'initial', 'active', 'missing')),
    uidvalidity bigint not null default 0,
    last_uid bigint not null default 0,
    uidnext bigint,
    server_messages bigint,
    server_unseen bigint,
    server_modseq bigint,
    highest_modseq bigint not null default 0,
    live_count bigint not null default 0,
    live_unseen bigint not null default 0,
    initial_target_uid bigint,
    initial_oldest_uid bigint,
    initial_done_at timestamptz,
    last_synced_at timestamptz,
    next_flag_scan_at timestamptz,
    next_reconcile_at timestamptz,
    last_reconciled_at timestamptz,
    last_reconcile_clean boolean,
    suspect_deletion text,
    suspect_deletion_at timestamptz,
    uidvalidity_resets timestamptz[] not null default '{}',
    missing_since timestamptz,
    last_error text,
    retry_at timestamptz,
    polled_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (account_id, id),
    unique (account_id, wire_name)
) with (fillfactor = 50);
comment on column folders.wire_name is 'The name as the server sends it; path is it decoded.';
comment on column folders.tracked_by_user is 'A person''s choice, which wins over every rule; null is none.';
comment on column folders.uidvalidity is 'RFC 9051 2.3.1.1; 0 is unknown. Rows of another value are of a mailbox that is no more: join on it.';
comment on column folders.last_uid is 'Every message up to here has a row, in an initial sync from initial_oldest_uid on.';
comment on column folders.uidnext is 'With server_messages, server_unseen, server_modseq: what the server said when it was last compared, as seen before the work.';
comment on column folders.highest_modseq is 'Flags and deletions up to here are mirrored (RFC 7162); 0 is none. Never the largest modseq seen.';
comment on column folders.live_count is 'Rows with deleted_at null, kept in the transaction that changes them; so is live_unseen.';
comment on column folders.initial_oldest_uid is 'The watermark of the initial sync: from here to initial_target_uid all that existed has a row.';
comment on column folders.suspect_deletion is 'Digest of a deletion too large to be believed at once; the same answer in another turn confirms it.';
comment on column folders.retry_at is 'A folder that failed is left alone until then.';
comment on column folders.polled_at is 'Where the server has no LIST-STATUS: when the turn began that last asked for the status and worked it off.';
comment on column folders.updated_at is 'When the folder last changed its place, state or cursors; batches and comparisons do not touch it.';

-- Messages ------------------------------------------------------------------------------------------------

create table messages (
    account_id bigint not null,
    id bigint generated always as identity,
    folder_id bigint not null,
    uidvalidity bigint not null,
    uid bigint not null,
    message_id text,
    in_reply_to text,
    references_header text,
    reference_ids text[] not null default '{}',
    provider_message_id text,
    provider_thread_id text,
    labels text[],
    internal_date timestamptz not null,
    sent_at timestamptz,
    size_bytes bigint,
    subject text,
    from_email text,
    from_name text,
    reply_to_emails text[] not null default '{}',
    to_emails text[] not null default '{}',
    to_names text[] not null default '{}',
    cc_emails text[] not null default '{}',
    cc_names text[] not null default '{}',
    bcc_emails text[] not null default '{}',
    list_id text,
    is_automated boolean not null default false,
    flags text[] not null default '{}',
    is_seen boolean not null generated always as ('\Seen' = any (flags)) stored,
    is_flagged boolean not null generated always as ('\Flagged' = any (flags)) stored,
    is_answered boolean not null generated always as ('\Answered' = any (flags)) stored,
    is_draft boolean not null generated always as ('\Draft' = any (flags)) stored,
    modseq bigint,
    has_attachments boolean not null default false,
    mime_structure jsonb,
    body_fetched_at timestamptz,
    parse_errors text[] not null default '{}',
    deleted_at timestamptz,
    deleted_reason text
        check (deleted_reason in ('expunged', 'folder_missing', 'uidvalidity_reset', 'expired', 'untracked')),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (account_id, id),
    -- deleted_at is carried along, so that the live UIDs of a folder can be told from this index alone
    unique (account_id, folder_id, uidvalidity, uid) include (deleted_at),
    foreign key (account_id, folder_id) references folders (account_id, id),
    check ((deleted_at is null) = (deleted_reason is null))
) with (fillfactor = 85);
comment on table messages is 'One row a message and folder. Live rows have deleted_at null. No index on updated_at or a flag: either would end HOT updates.';

comment on column messages.internal_date is 'When the server received it; where that is not told, sent_at, else when it was first seen.';
comment on column messages.message_id is 'Without <>; data, never a key: it may be missing, reused or shared by copies.';
comment on column messages.parse_errors is 'What of the message could not be read or was cut; those columns are null or short.';
comment on column messages.updated_at is 'When the row last changed, flags included.';

create index messages_id on messages (id);
create index messages_newest on messages (account_id, internal_date desc, id desc) where deleted_at is null;
create index messages_folder_newest on messages (account_id, folder_id, internal_date desc, id desc) where deleted_at is null;
create index messages_sender on messages (account_id, from_email, internal_date desc) where deleted_at is null;
create index messages_message_id on messages (account_id, message_id);
-- few: what reconcile tries again
create index messages_unfetchable on messages (account_id, folder_id) where 'unfetchable' = any (parse_errors);

create table attachments (
    account_id bigint not null,
    message_pk bigint not null,
    part text not null,
    filename text,
    content_type text not null,
    size_bytes bigint,
    content_id text,
    is_inline boolean not null default false,
    primary key (account_id, message_pk, part),
    foreign key (account_id, message_pk) references messages (account_id, id) on delete cascade
);

create table message_bodies (
    account_id bigint not null,
    message_pk bigint not null,
    body_text text,
    body_html text,
    raw_mime bytea,
    raw_bytes bigint,
    truncated boolean not null default false,
    warnings text[] not null default '{}',
    fetched_at timestamptz not null default now(),
    primary key (account_id, message_pk),
    foreign key (account_id, message_pk) references messages (account_id, id) on delete cascade
);

create table fetch_attempts (
    account_id bigint not null,
    folder_id bigint not null,
    uidvalidity bigint not null,
    uid bigint not null,
    through_uid bigint not null,
    attempts integer not null default 0,
    last_error text,
    updated_at timestamptz not null default now(),
    primary key (account_id, folder_id, uidvalidity, uid),
    foreign key (account_id, folder_id) references folders (account_id, id) on delete cascade
);
comment on table fetch_attempts is 'What is being fetched, counted before the fetch: a batch from uid through through_uid, or one message. A row that outlives its turn names what the turn died of.';

-- History -------------------------------------------------------------------------------------------------

create table sync_runs (
    account_id bigint not null,
    id bigint generated always as identity,
    trigger text not null check (trigger in ('schedule', 'cli', 'api')),
    status text not null default 'running' check (status in ('running', 'success', 'partial', 'failed')),
    worker text not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    folders integer not null default 0,
    messages_new bigint not null default 0,
    flags_changed bigint not null default 0,
    messages_deleted bigint not null default 0,
    imap_commands bigint not null default 0,
    bytes_in bigint not null default 0,
    error_code text,
    error_message text,
    primary key (account_id, id),
    foreign key (account_id) references accounts (id)
);
create index sync_runs_newest on sync_runs (account_id, started_at desc);
create index sync_runs_running on sync_runs (account_id) where status = 'running';

create table sync_events (
    account_id bigint not null,
    seq bigint generated always as identity,
    xid xid8 not null default pg_current_xact_id(),
    type text not null,
    folder_id bigint,
    message_pk bigint,
    data jsonb not null default '{}',
    occurred_at timestamptz not null default clock_timestamp(),
    primary key (account_id, seq)
);
comment on table sync_events is 'Insert-only feed. Read it through sync_events_settled with the cursor (xid, seq). After restoring a dump set xid to 0 and read anew.';
create index sync_events_cursor on sync_events (xid, seq);
create index sync_events_account_cursor on sync_events (account_id, xid, seq);
create index sync_events_oldest on sync_events (occurred_at);

create table workers (
    worker text primary key,
    started_at timestamptz not null default now(),
    heartbeat_at timestamptz not null default now(),
    version text not null
);

create table metric_counters (
    name text not null,
    labels jsonb not null default '{}',
    value double precision not null default 0,
    primary key (name, labels)
);

-- Views ---------------------------------------------------------------------------------------------------

-- The class of the account locks: an int4 hash of this schema's name. RETURN binds 'accounts' now, so that a
-- reader with another search_path sees the same class.
create function account_lock_class() returns integer stable language sql
    return (
        select hashtext(n.nspname::text)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where c.oid = 'accounts'::regclass
    );

create view account_locks with (security_invoker = true) as
    select l.objid::bigint as account_id, l.pid, l.granted, l.waitstart
    from pg_catalog.pg_locks l
    where l.locktype = 'advisory' and l.objsubid = 2
      and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
      and l.classid::bigint = (account_lock_class()::bigint & 4294967295);
comment on view account_locks is 'Who holds (granted) and who waits for the lock of which account.';

create view account_status with (security_invoker = true) as
    select
        a.id as account_id,
        a.email,
        a.display_name,
        a.provider,
        case when a.paused_at is not null then 'paused'
             when a.sync_state = 'healthy' and now() > a.healthy_until then 'degraded'
             else a.sync_state end as sync_state,
        case when a.paused_at is not null then a.paused_reason
             when a.sync_state = 'healthy' and now() > a.healthy_until then 'stale'
             else a.sync_state_reason end as sync_state_reason,
        case when a.paused_at is null and a.sync_state = 'healthy' and now() > a.healthy_until
             then 'not compared with the server since ' || to_char(a.last_success_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
             else a.sync_state_message end as sync_state_message,
        case when a.paused_at is not null then a.paused_at
             when a.sync_state = 'healthy' and now() > a.healthy_until then a.healthy_until
             else a.sync_state_since end as sync_state_since,
        extract(epoch from now() - a.priority_synced_at)::double precision as priority_sync_lag_seconds,
        extract(epoch from now() - a.overall_synced_at)::double precision as overall_sync_lag_seconds,
        exists (select from account_locks l where l.account_id = a.id and l.granted) as currently_syncing,
        a.sync_started_by,
        a.heartbeat_at,
        a.next_sync_at,
        a.last_sync_started_at,
        a.last_sync_finished_at,
        a.last_success_at,
        a.consecutive_failures,
        a.backoff_until,
        a.paused_at,
        a.deleting_at,
        f.folders,
        f.folders_complete,
        f.messages,
        f.unseen,
        f.backfill_remaining
    from accounts a
    cross join lateral (
        select count(*) filter (where tracked) as folders,
               count(*) filter (where tracked and status = 'active') as folders_complete,
               coalesce(sum(live_count), 0)::bigint as messages,
               coalesce(sum(live_unseen), 0)::bigint as unseen,
               coalesce(sum(greatest(coalesce(server_messages, 0) - live_count, 0))
                        filter (where tracked and status in ('pending', 'initial')), 0)::bigint as backfill_remaining
        from folders where folders.account_id = a.id
    ) f;
comment on view account_status is 'Each account as of now: what API, CLI and metrics read.';

create view sync_events_settled with (security_invoker = true) as
    select * from sync_events where xid < pg_snapshot_xmin(pg_current_snapshot());
comment on view sync_events_settled is 'Events that no running transaction can still precede: where (xid, seq) > (:xid, :seq) order by xid, seq misses nothing.';

-- Rights --------------------------------------------------------------------------------------------------
-- Row level security is on without a policy: nobody but the owner reads anything. To let a role read the mirror
-- (for one account only: using (account_id = 1)):
--   grant usage on schema mailsync to reader;
--   grant select on accounts, folders, messages, attachments, message_bodies, sync_runs, sync_events, account_locks,
--       account_status, sync_events_settled to reader;
--   grant execute on function account_lock_class() to reader;
--   create policy reader on messages for select to reader using (true);   -- and so for each of these tables
-- account_credentials is for nobody.

do $$
declare
    name text;
    who text;
begin
    foreach name in array array['schema_migrations', 'accounts', 'account_credentials', 'folders', 'messages', 'attachments',
                                'message_bodies', 'fetch_attempts', 'sync_runs', 'sync_events', 'workers', 'metric_counters'] loop
        execute format('alter table %I enable row level security', name);
    end loop;
    execute 'revoke all on function account_lock_class() from public';
    -- Supabase's public roles exist only there
    for who in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
        execute format('revoke all on all tables in schema %I from %I', current_schema(), who);
        execute format('revoke all on all sequences in schema %I from %I', current_schema(), who);
        execute format('revoke all on all functions in schema %I from %I', current_schema(), who);
    end loop;
end
$$;

insert into schema_migrations (name, checksum) values
    ('0001_create_mirror', '8d5dbd9333329dc3fa7ddec38e2a7d70ab42d08ae763269b92cb2569f7360601');
