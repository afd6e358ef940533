-- name: try_lock
select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext(current_schema()::text), %(account_id)s::int)

-- name: leave_schema
-- For the self-test, whose locks belong to no schema.
select pg_catalog.set_config('search_path', 'pg_catalog', false)

-- name: set_lock_wait
-- How long the session waits in a lock's queue; an empty setting would mean for ever.
select pg_catalog.set_config('lock_timeout', %(wait)s, false)

-- name: queue_for_lock
-- Stands in Postgres' own queue, first come first served, visible in account_locks as not granted.
select pg_catalog.pg_advisory_lock(pg_catalog.hashtext(current_schema()::text), %(account_id)s::int)

-- name: unlock
select pg_catalog.pg_advisory_unlock(pg_catalog.hashtext(current_schema()::text), %(account_id)s::int)

-- name: heartbeat
-- The heartbeat of a turn. The reserved commands stay frozen until the next one is overdue, so that a crash
-- can only lose tokens.
update accounts
set heartbeat_at = clock_timestamp(), throttle_at = clock_timestamp() + interval '20 seconds',
    turn_step = coalesce(%(step)s::text, turn_step), turn_progressed = turn_progressed or %(progressed)s::boolean
where id = %(account_id)s

-- name: lock_is_wanted
-- Somebody stands in the queue, or a person has paused or removed the account.
select exists (select from account_locks where account_id = %(account_id)s and not granted)
    or exists (select from accounts where id = %(account_id)s and (paused_at is not null or deleting_at is not null))

-- name: lock_holder
-- The session that holds the lock, how long ago it last gave a sign of life, and whether it is mailsync's, by the rule
-- of account_status.
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
-- Checks everything again and ends the holder's backend, in one statement: only a mailsync, only if silent
-- for longer than is allowed, only if it holds this very lock. Its last statement counts as a sign of life too: who
-- has just taken the lock of an account that rested has not written a heartbeat yet. A sign that lies in the future
-- is of before the clock was set back: the heartbeat counts from now on, which a living holder soon renews.
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
