-- Rules that several statements apply, as functions that Postgres expands in place. They read no table, so every role
-- may execute them. Times are compared with the clock because it may have been set back since they were written.

create function days_ago(days double precision) returns timestamptz stable language sql
    return now() - interval '24 hours' * days;
comment on function days_ago is 'Days of 24 hours, whatever the session''s time zone.';

create function window_start(sync_since timestamptz, sync_window_days integer) returns timestamptz stable language sql
    return coalesce(sync_since, days_ago(sync_window_days::double precision));
comment on function window_start is 'The date from which an account''s mail is mirrored; null is all mail.';

create function plausible_wait(wait_until timestamptz) returns timestamptz stable language sql
    return case when wait_until <= now() + interval '61 minutes' then wait_until end;
comment on function plausible_wait is 'A backoff or retry time; null if it is later than any that is set, so that a clock that was wrong wrote it.';

create function wait_is_over(wait_until timestamptz) returns boolean stable language sql
    return coalesce(plausible_wait(wait_until) <= now(), true);
comment on function wait_is_over is 'Whether there is no backoff or retry time, or it has passed.';

create function is_plausible_tick(next_sync_at timestamptz, tick double precision) returns boolean stable language sql
    return next_sync_at <= now() + interval '2 seconds' * tick + interval '10 minutes';
comment on function is_plausible_tick is 'Whether a turn can have scheduled the next one for this time, at a tick of so many seconds.';

create function is_given_up(sync_state text, sync_state_reason text, sync_state_since timestamptz) returns boolean
    stable language sql
    return sync_state = 'broken'
        and not (sync_state_reason = 'stuck' and sync_state_since > now() - interval '7 days');
comment on function is_given_up is 'Whether the account waits for a person: it is broken, and not stuck for less than 7 days.';

create function is_stale(sync_state text, healthy_until timestamptz) returns boolean stable language sql
    return sync_state = 'healthy' and not healthy_until between now() and now() + interval '3 hours';
comment on function is_stale is 'Whether a healthy account was not compared in time. No turn promises more than 3 hours, so a clock that was wrong wrote a later time.';

create function lacks_content(parse_errors text[]) returns boolean immutable language sql
    return parse_errors operator(pg_catalog.&&) '{unfetchable,unstorable}'::text[];
comment on function lacks_content is 'Whether a message''s row only says that there is a message.';

create function is_mailsync(application_name text, role oid) returns boolean stable language sql
    return application_name like 'mailsync%'
        and pg_catalog.has_table_privilege(role, 'accounts'::regclass::oid, 'update');
comment on function is_mailsync is 'Whether a session is one of mailsync: a role that may not write to the mirror is not, whatever it calls itself.';

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
             -- Postgres does not record when a lock was taken: after our last turn, and after the session began
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
        f.backfill_remaining
    from accounts a
    left join (
        -- several sessions may share the lock; one is enough to name
        select distinct on (l.account_id) l.account_id, l.pid, s.usename::text collate "default" as usename,
               s.application_name, s.backend_start
        from account_locks l
        join pg_catalog.pg_stat_activity s on s.pid = l.pid
        where l.granted
          and is_mailsync(s.application_name, s.usesysid) is not true
        order by l.account_id, l.pid
    ) x on x.account_id = a.id
    cross join lateral (
        select
            -- a broken account waits for more than its lock
            x.pid is not null and a.sync_state <> 'broken' as is_held,
            is_stale(a.sync_state, a.healthy_until) as is_stale
    ) h
    cross join lateral (
        select count(*) filter (where tracked and status <> 'missing') as folders,
               count(*) filter (where tracked and status = 'active') as folders_complete,
               coalesce(pg_catalog.sum(live_count), 0)::bigint as messages,
               coalesce(pg_catalog.sum(live_unseen), 0)::bigint as unseen,
               -- counted by a SEARCH, or by STATUS where the folder's first sync has not begun
               coalesce(pg_catalog.sum(coalesce(
                            initial_remaining, greatest(coalesce(server_messages, 0) - live_count, 0)))
                        filter (where tracked and status in ('pending', 'initial')), 0)::bigint as backfill_remaining
        from folders where folders.account_id = a.id
    ) f;

insert into schema_migrations (name, checksum) values
    ('0010_share_rules', 'd8bc33b02dd06a3640d59ae4046529f76f18c3d64ec287e30a153652d38181b1');
