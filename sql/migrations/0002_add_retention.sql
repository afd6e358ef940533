-- Retention: how far back each mirror reaches, what has been a tombstone for long, and when to look next.
-- The index is built while writes to messages wait; it holds tombstones only.

alter table accounts add column mirrored_since timestamptz;
comment on column accounts.mirrored_since is 'Mail from here on is mirrored, or being backfilled; null is all mail. A window that begins earlier backfills again.';

-- What a window or a pause can be: a time without an end is no date to the programs that read it.
update accounts
set sync_window_days = case when sync_window_days is not null then least(sync_window_days, 36500) end,
    sync_since = case when sync_since is not null
                      then least(greatest(sync_since, '1900-01-01 UTC'), '2200-01-01 UTC') end,
    paused_at = case when paused_at is not null
                     then least(greatest(paused_at, '1900-01-01 UTC'), '2200-01-01 UTC') end
where sync_window_days > 36500
   or sync_since not between '1900-01-01 UTC' and '2200-01-01 UTC'
   or paused_at not between '1900-01-01 UTC' and '2200-01-01 UTC';
alter table accounts
    add constraint accounts_sync_window_days_bounded check (sync_window_days <= 36500),
    add constraint accounts_sync_since_bounded check (sync_since between '1900-01-01 UTC' and '2200-01-01 UTC'),
    add constraint accounts_paused_at_bounded check (paused_at between '1900-01-01 UTC' and '2200-01-01 UTC');

-- seconds, since a day is not always 24 hours where the session's time zone has summer time
update accounts
set mirrored_since = coalesce(sync_since, now() - make_interval(secs => 86400.0 * sync_window_days));

create index messages_deleted on messages (account_id, deleted_at) where deleted_at is not null;

create table upkeep (
    name text primary key,
    next_at timestamptz not null,
    started_at timestamptz,
    finished_at timestamptz
);
comment on table upkeep is 'What is to be done now and then by whichever worker comes first, and when it is due.';
insert into upkeep (name, next_at) values ('retention', now() + interval '1 hour');

alter table upkeep enable row level security;

do $$
declare
    who text;
begin
    for who in select rolname from pg_roles where rolname in ('anon', 'authenticated') loop
        execute format('revoke all on upkeep from %I', who);
    end loop;
end
$$;

insert into schema_migrations (name, checksum) values
    ('0002_add_retention', '2cf09dcb95b33e624f9042f032433fea0e752aa0dc17831a269de10889f8daea');
