-- name: try_lock
select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext(current_schema()::text), %(account_id)s::int)

-- name: leave_schema
-- For the self-test, whose locks belong to no schema.
select pg_catalog.set_config('search_path', 'pg_catalog', false)

-- name: set_lock_wait
-- An empty setting would mean no limit.
select pg_catalog.set_config('lock_timeout', %(wait)s, false)

-- name: queue_for_lock
-- Queues in Postgres, first come, first served; account_locks shows the session as not granted.
select pg_catalog.pg_advisory_lock(pg_catalog.hashtext(current_schema()::text), %(account_id)s::int)

-- name: unlock
select pg_catalog.pg_advisory_unlock(pg_catalog.hashtext(current_schema()::text), %(account_id)s::int)

-- name: heartbeat
-- The reserved commands stay frozen until the next heartbeat is overdue, so that a crash loses commands but never gains
-- any.
update accounts
set heartbeat_at = clock_timestamp(), throttle_at = clock_timestamp() + interval '20 seconds',
    turn_step = coalesce(%(step)s::text, turn_step), turn_progressed = turn_progressed or %(progressed)s::boolean
where id = %(account_id)s

-- name: lock_is_wanted
-- Whether a session queues for the lock, or a person paused or removed the account.
select exists (select from account_locks where account_id = %(account_id)s and not granted)
    or exists (select from accounts where id = %(account_id)s and (paused_at is not null or deleting_at is not null))

-- name: lock_holder
-- The session that holds the lock, the age of its heartbeat, and whether it is mailsync's.
select l.pid, s.application_name, a.sync_started_by as started_by,
       extract(epoch from clock_timestamp() - a.heartbeat_at)::double precision as heartbeat_age,
       s.usename::text as role, s.backend_start as connected_at,
       is_mailsync(s.application_name, s.usesysid) is true as is_mailsync
from account_locks l
join accounts a on a.id = l.account_id
join pg_stat_activity s on s.pid = l.pid
where l.account_id = %(account_id)s and l.granted
order by l.pid
limit 1

-- name: end_stale_holder
-- Checks everything again and ends the holder's backend, in one statement: only a session of mailsync, only if it holds
-- this lock, and only if it has been silent for too long. Its last statement also counts as a sign of life, because a
-- session that has just acquired the lock has not written a heartbeat yet. A heartbeat in the future was written by a
-- wrong clock: it is set to now, and a living holder soon renews it.
with corrected as (
    update accounts set heartbeat_at = clock_timestamp()
    where id = %(account_id)s and heartbeat_at > clock_timestamp() + interval '1 minute'
)
select l.pid, pg_catalog.pg_terminate_backend(l.pid)
from account_locks l
join accounts a on a.id = l.account_id
join pg_stat_activity s on s.pid = l.pid and s.datname = current_database()
where l.account_id = %(account_id)s
  and l.granted
  and l.pid <> pg_backend_pid()
  and is_mailsync(s.application_name, s.usesysid)
  and greatest(case when a.heartbeat_at is not null then least(a.heartbeat_at, clock_timestamp()) end,
               case when s.query_start <= clock_timestamp() then s.query_start end,
               case when s.backend_start <= clock_timestamp() then s.backend_start end)
      < clock_timestamp() - pg_catalog.make_interval(secs => %(stale_after)s)

-- name: backend_is_alive
select exists (select from pg_stat_activity where pid = %(pid)s)
