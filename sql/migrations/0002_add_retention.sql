-- Retention: how far back each mirror reaches, what has been a tombstone for long, and when to look next.
-- The index is built while writes to messages wait; it holds tombstones only.

alter table accounts add column mirrored_since timestamptz;
comment on column accounts.mirrored_since is 'Mail from here on is mirrored, or being backfilled; null is all mail. A window that begins earlier backfills again.';

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
    ('0002_add_retention', '69f3b990c37c4952a8032b302095da5b0975092b67736cedcba4f21ca043034e');
