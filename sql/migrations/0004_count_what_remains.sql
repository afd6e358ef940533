-- How much a first sync still has to fetch, as its own search tells: in a window MESSAGES counts other mail too.
-- And account_status, which shows it, believes no promise of a clock that was set back since.

alter table folders add column initial_remaining bigint;
comment on column folders.initial_remaining is 'Messages that the first sync, or another backfill, still has to fetch; null before its search and when it is done.';

create or replace view account_status with (security_invoker = true) as
    select
        a.id as account_id,
        a.email,
        a.display_name,
        a.provider,
        case when a.paused_at is not null then 'paused'
             when h.is_stale then 'degraded'
             else a.sync_state end as sync_state,
        case when a.paused_at is not null then a.paused_reason
             when h.is_stale then 'stale'
             else a.sync_state_reason end as sync_state_reason,
        case when a.paused_at is null and h.is_stale
             then 'not compared with the server since ' || to_char(a.last_success_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
             else a.sync_state_message end as sync_state_message,
        case when a.paused_at is not null then a.paused_at
             when h.is_stale then least(a.healthy_until, now())
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
        -- what is promised for longer than any turn can was promised before the clock was set back
        select a.sync_state = 'healthy' and not a.healthy_until between now() and now() + interval '3 hours' as is_stale
    ) h
    cross join lateral (
        select count(*) filter (where tracked and status <> 'missing') as folders,
               count(*) filter (where tracked and status = 'active') as folders_complete,
               coalesce(sum(live_count), 0)::bigint as messages,
               coalesce(sum(live_unseen), 0)::bigint as unseen,
               -- what a search has counted, else what STATUS says of a folder whose turn has not come
               coalesce(sum(coalesce(initial_remaining, greatest(coalesce(server_messages, 0) - live_count, 0)))
                        filter (where tracked and status in ('pending', 'initial')), 0)::bigint as backfill_remaining
        from folders where folders.account_id = a.id
    ) f;

insert into schema_migrations (name, checksum) values
    ('0004_count_what_remains', '44a82562d8f1a6d4a4bdd8c82f04682cfa34ec62f737ec2bbf9d6b71266472b1');
