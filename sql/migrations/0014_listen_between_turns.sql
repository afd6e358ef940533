-- How a worker listens to each account between its turns, and the tick of an account of which it is told everything.

alter table accounts
    add column parked_by text,
    add column parked_at timestamptz,
    add column parked_kind text check (parked_kind in ('notify', 'idle')),
    add column tick_seconds double precision;
comment on column accounts.parked_by is 'The worker (host:pid:role) that listens to the account by a session that it keeps open; null for none.';
comment on column accounts.parked_at is 'Since when this worker listens by this means.';
comment on column accounts.parked_kind is 'The means by which the server reports changes: notify (all folders) or idle (the inbox).';
comment on column accounts.tick_seconds is 'Seconds between two ticks, while every tracked folder is reported by NOTIFY; null is SYNC_INTERVAL.';

alter table sync_runs
    drop constraint sync_runs_trigger_check,
    add constraint sync_runs_trigger_check check (trigger in ('schedule', 'push', 'cli', 'api'));

create or replace view account_status with (security_invoker = true) as
    select
        a.id as account_id,
        a.email,
        a.display_name,
        a.provider,
        case when a.paused_at is not null then 'paused'
             when h.is_held or h.is_stale then 'degraded'
             else a.sync_state end as sync_state,
        case when a.paused_at is not null then a.paused_reason
             when h.is_held then 'lock_held'
             when h.is_stale then 'stale'
             else a.sync_state_reason end as sync_state_reason,
        case when a.paused_at is not null then a.sync_state_message
             when h.is_held then pg_catalog.concat(
                 'its lock is held by pid ', x.pid, ' (role ', x.usename, ', ' || nullif(x.application_name, ''), ')',
                 ', connected since '
                 || pg_catalog.to_char(x.backend_start at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC',
                 ', which is not a mailsync process; end it with: select pg_terminate_backend(', x.pid, ')')
             when h.is_stale
             then 'not compared with the server since '
                  || pg_catalog.to_char(a.last_success_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
             else a.sync_state_message end as sync_state_message,
        case when a.paused_at is not null then a.paused_at
             -- nobody records when a lock is taken: not before our last turn and not before the session began
             when h.is_held then least(greatest(a.created_at, a.last_sync_finished_at, x.backend_start), now())
             when h.is_stale then least(a.healthy_until, now())
             else a.sync_state_since end as sync_state_since,
        extract(epoch from now() - a.priority_synced_at)::double precision as priority_sync_lag_seconds,
        extract(epoch from now() - a.overall_synced_at)::double precision as overall_sync_lag_seconds,
        x.pid is null
            and exists (select from account_locks l where l.account_id = a.id and l.granted) as currently_syncing,
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
        f.backfill_remaining,
        case when a.paused_at is null then coalesce(a.parked_kind, 'none') else 'none' end as push
    from accounts a
    left join (
        -- several may hold it, shared; one is enough to name
        select distinct on (l.account_id) l.account_id, l.pid, s.usename::text collate "default" as usename,
               s.application_name, s.backend_start
        from account_locks l
        join pg_catalog.pg_stat_activity s on s.pid = l.pid
        where l.granted
          -- a role that may not write to the mirror is not mailsync, whatever it calls itself
          and (s.application_name like 'mailsync%'
               and pg_catalog.has_table_privilege(s.usesysid, 'accounts'::regclass::oid, 'update')) is not true
        order by l.account_id, l.pid
    ) x on x.account_id = a.id
    cross join lateral (
        select
            -- a broken account waits for more than its lock
            x.pid is not null and a.sync_state <> 'broken' as is_held,
            -- what is promised for longer than any turn can was promised before the clock was set back
            a.sync_state = 'healthy' and not a.healthy_until between now() and now() + interval '3 hours' as is_stale
    ) h
    cross join lateral (
        select count(*) filter (where tracked and status <> 'missing') as folders,
               count(*) filter (where tracked and status = 'active') as folders_complete,
               coalesce(pg_catalog.sum(live_count), 0)::bigint as messages,
               coalesce(pg_catalog.sum(live_unseen), 0)::bigint as unseen,
               -- what a search has counted, else what STATUS says of a folder whose turn has not come
               coalesce(pg_catalog.sum(coalesce(
                            initial_remaining, greatest(coalesce(server_messages, 0) - live_count, 0)))
                        filter (where tracked and status in ('pending', 'initial')), 0)::bigint as backfill_remaining
        from folders where folders.account_id = a.id
    ) f;

insert into schema_migrations (name, checksum) values
    ('0014_listen_between_turns', '131195445968bf8bb42f085175378950ec86d2d281a8b1f1880041cac1920cea');
