-- name: database_now
select clock_timestamp()

-- name: claim_account
-- The account that has been due longest. Its next tick is set before the work, so that an error cannot lose the
-- schedule. A broken account waits for a person, but a stuck one is tried for 7 days. An implausible time was set by a
-- wrong clock: the account is due. One that another worker listens to is left to that worker for two seconds.
update accounts
set next_sync_at = now() + pg_catalog.make_interval(secs => coalesce(tick_seconds, %(interval)s))
where id = (
    select id from accounts
    where (next_sync_at <= least(%(pass_started)s, now())
           or not is_plausible_tick(next_sync_at, %(longest)s::float8))
      and (coalesce(parked_by, %(worker)s) = %(worker)s or next_sync_at <= now() - interval '2 seconds'
           or not is_plausible_tick(next_sync_at, %(longest)s::float8))
      and wait_is_over(backoff_until)
      and paused_at is null
      and deleting_at is null
      and not is_given_up(sync_state, sync_state_reason, sync_state_since)
    order by next_sync_at, id
    for update skip locked
    limit 1
)
returning id

-- name: seconds_until_due
-- Seconds until the next account is due; null without accounts. An account with an implausible time is due. One that
-- another worker listens to is due for us two seconds later.
select extract(epoch from pg_catalog.min(greatest(
           case when is_plausible_tick(next_sync_at, %(longest)s::float8)
                then next_sync_at + case when coalesce(parked_by, %(worker)s) = %(worker)s
                                         then interval '0' else interval '2 seconds' end
                else now() end,
           plausible_wait(backoff_until)
       )) - clock_timestamp())::double precision
from accounts
where paused_at is null
  and deleting_at is null
  and not is_given_up(sync_state, sync_state_reason, sync_state_since)

-- name: accounts_to_backfill
-- Skips accounts whose row is being written by another transaction, which would block a turn and with it all other
-- accounts. Begins with the folders, of which an index has only those with a first sync to do.
select a.id
from accounts a
where a.id = any (array(
      select f.account_id from folders f
      where f.tracked and f.status in ('pending', 'initial') and f.missing_since is null
        and wait_is_over(f.retry_at)
  ))
  and a.paused_at is null
  and a.deleting_at is null
  and a.sync_state <> 'broken'
  and wait_is_over(a.backoff_until)
order by a.id
for share of a skip locked

-- name: postpone_account
update accounts set next_sync_at = now() + pg_catalog.make_interval(secs => %(delay)s)
where id = %(account_id)s

-- name: begin_turn
-- Marks the account as syncing and loads it with its folders. Runs while the lock is held, so that its snapshot is
-- current. Reserves commands down to the floor; end_turn returns the unused ones. A turn that never ended is lost,
-- unless this process survived it. If such a turn stored something and gave a sign of life shortly before this one, it
-- was killed, and neither it nor the lost turns before it count.
with abandoned as (
    update sync_runs
    set status = 'failed', error_code = 'abandoned', finished_at = clock_timestamp(),
        error_message = 'the process ended in the middle of this run'
    where account_id = (select %(account_id)s::bigint) and status = 'running'
), before as (
    select a.id, a.turn_kind as lost_kind, a.turn_step as lost_step,
           a.currently_syncing and a.turn_kind is not null
               and a.last_sync_started_at is distinct from %(survived)s::timestamptz as is_lost,
           a.turn_progressed
               and a.heartbeat_at > clock_timestamp() - pg_catalog.make_interval(secs => %(silent_for)s) as is_killed,
           least(%(burst)s, coalesce(a.throttle_tokens, %(burst)s)
               + greatest(0, extract(epoch from clock_timestamp() - a.throttle_at)::float8) * %(refill)s::float8) as tokens
    from accounts a where a.id = %(account_id)s
), marked as (
    update accounts a
    set currently_syncing = true, sync_started_by = %(started_by)s,
        heartbeat_at = clock_timestamp(), last_sync_started_at = clock_timestamp(),
        throttle_tokens = least(before.tokens, %(floor)s), throttle_at = clock_timestamp() + interval '20 seconds',
        turn_kind = %(kind)s, turn_step = null, turn_progressed = false,
        lost_turns = case when not before.is_lost then a.lost_turns
                          when before.is_killed then a.lost_turns - before.lost_kind
                          else a.lost_turns || pg_catalog.jsonb_build_object(
                                   before.lost_kind, coalesce((a.lost_turns ->> before.lost_kind)::integer, 0) + 1) end
    from before
    where a.id = before.id
    returning a.*, before.tokens, before.is_lost, before.lost_kind, before.lost_step
)
select m.id, m.email, m.imap_host, m.imap_port, m.imap_security, m.username, m.sync_since, m.sync_window_days,
       m.paused_at, m.deleting_at, m.sync_state, m.sync_state_reason, m.sync_state_message, m.sync_state_since,
       m.consecutive_failures, m.consecutive_successes, m.backoff_until, m.priority_synced_at, m.overall_synced_at,
       m.last_success_at, m.created_at, m.folder_rr_cursor, m.next_discovery_at, m.capabilities, m.mirrored_since,
       m.failing_since, m.last_sync_finished_at, m.parked_by, m.parked_kind, m.tick_seconds,
       m.last_sync_started_at, m.lost_turns -> m.turn_kind is not null as is_suspect, m.lost_kind, m.lost_step,
       case when m.is_lost then (m.lost_turns ->> m.lost_kind)::integer end as lost_count,
       m.tokens, clock_timestamp() as now, coalesce(c.key_id, '') as key_id,
       -- once: sealed tokens may have several KB, and an account hundreds of folders
       case when row_number() over (order by f.sync_priority, f.id) = 1 then coalesce(c.ciphertext, '') end as ciphertext,
       m.oauth_provider, m.oauth_grant, c.oauth_client_id, c.authorized_at,
       (select count(*) from (
            select from messages
            where account_id = %(account_id)s and deleted_at is null and lacks_content(parse_errors)
            limit 1000) m) as without_content,
       f.id as folder_id, {{f.folder_columns}}
from marked m
left join account_credentials c on c.account_id = m.id
left join folders f on f.account_id = m.id
order by f.sync_priority, f.id

-- name: end_turn
-- Saves the verdict, returns the unused commands and writes an event if the state changed, in one statement. The old
-- state is the one that account_status showed: stale if health was not renewed in time, and no event during a pause. If
-- the server was asked anything, the lost turns of this kind are cleared. Locks the row first, so that of this
-- statement and a concurrent pause exactly one writes the change.
with before as (
    select id, paused_at, parked_by, {{shown_state}}
    from accounts where id = %(account_id)s
    for no key update
), announced as (
    insert into sync_events (account_id, type, data)
    select b.id, 'account.state_changed',
           pg_catalog.jsonb_build_object('old', b.state, 'old_reason', b.reason,
                              'new', %(state)s::text, 'new_reason', %(reason)s::text)
    from before b
    where b.paused_at is null and (b.state, b.reason) is distinct from (%(state)s::text, %(reason)s::text)
)
update accounts a
set currently_syncing = false,
    last_sync_finished_at = clock_timestamp(),
    heartbeat_at = clock_timestamp(),
    sync_state_since = case when (b.state, b.reason) is distinct from (%(state)s::text, %(reason)s::text)
                            then now() else a.sync_state_since end,
    sync_state = %(state)s::text,
    sync_state_reason = %(reason)s::text,
    sync_state_message = %(message)s::text,
    healthy_until = %(healthy_until)s,
    consecutive_failures = %(failures)s,
    consecutive_successes = %(successes)s,
    backoff_until = %(backoff_until)s,
    next_sync_at = least(coalesce(%(next_sync_at)s, a.next_sync_at), %(tick_at_latest)s::timestamptz),
    last_success_at = coalesce(%(last_success_at)s, a.last_success_at),
    priority_synced_at = coalesce(%(priority_synced_at)s, a.priority_synced_at),
    overall_synced_at = coalesce(%(overall_synced_at)s, a.overall_synced_at),
    failing_since = %(failing_since)s,
    next_discovery_at = coalesce(%(next_discovery_at)s, a.next_discovery_at),
    folder_rr_cursor = coalesce(%(folder_rr_cursor)s, a.folder_rr_cursor),
    capabilities = coalesce(%(capabilities)s, a.capabilities),
    throttle_tokens = %(tokens)s,
    throttle_at = clock_timestamp(),
    turn_kind = null, turn_step = null,
    lost_turns = case when %(asked)s::boolean then a.lost_turns - coalesce(a.turn_kind, '') else a.lost_turns end,
    parked_by = case when p.keeps then a.parked_by else %(parked_by)s::text end,
    parked_kind = case when p.keeps then a.parked_kind else %(parked_kind)s::text end,
    tick_seconds = case when p.keeps then a.tick_seconds else %(tick_seconds)s::float8 end,
    parked_at = case when p.keeps
                          or (a.parked_by, a.parked_kind) = (%(parked_by)s::text, %(parked_kind)s::text)
                     then a.parked_at
                     when %(parked_by)s::text is not null then clock_timestamp() end
from before b
cross join lateral (
    -- a process that does not listen itself says nothing about the worker that does
    select %(parked_by)s::text is null and b.parked_by is distinct from %(worker)s::text as keeps) p
where a.id = b.id

-- part: not_parked
parked_by = null, parked_at = null, parked_kind = null, tick_seconds = null

-- part: ordinary_tick
-- The tick that an account without push would have: SYNC_INTERVAL after the last turn began, but not in the past.
greatest(now(), last_sync_started_at + pg_catalog.make_interval(secs => %(interval)s))

-- name: unpark
-- Sessions that ended by themselves, of accounts that the worker listened to. Each account is due after its own number
-- of seconds, or at its ordinary tick, whichever comes first.
update accounts a
set {{not_parked}},
    next_sync_at = least(a.next_sync_at,
        case when e.seconds is null then {{ordinary_tick}}
             else now() + pg_catalog.make_interval(secs => e.seconds) end)
from rows from (pg_catalog.unnest(%(account_ids)s::bigint[]), pg_catalog.unnest(%(seconds)s::float8[])) as e(id, seconds)
where a.id = e.id and a.parked_by = %(worker)s

-- name: lost_parking
-- Of these accounts, those that the worker does not listen to by right: another does, they are paused, or are gone.
select e.id
from pg_catalog.unnest(%(account_ids)s::bigint[]) as e(id)
left join accounts a on a.id = e.id
where a.parked_by is distinct from %(worker)s or a.paused_at is not null or a.deleting_at is not null

-- name: release_parked
-- A worker that stops listens to nothing any more. Other workers are told, because they may take its accounts.
with released as (
    update accounts
    set {{not_parked}}, next_sync_at = least(next_sync_at, {{ordinary_tick}})
    where parked_by = %(worker)s
    returning id
)
select pg_catalog.pg_notify('mailsync_wake', '') where exists (select from released)

-- name: release_abandoned
-- The accounts of workers that died. Rows that another statement holds are left to the next call.
with released as (
    update accounts
    set {{not_parked}}, next_sync_at = least(next_sync_at, {{ordinary_tick}})
    where id = any (array(
        select a.id from accounts a
        where a.parked_by is not null
          and not exists (
              select from workers w
              where w.worker = a.parked_by
                and w.heartbeat_at > now() - pg_catalog.make_interval(secs => %(silent_for)s))
        for no key update skip locked))
    returning id
)
select pg_catalog.pg_notify('mailsync_wake', '') where exists (select from released)

-- name: leave_turn
update accounts
set currently_syncing = false, heartbeat_at = clock_timestamp(), throttle_tokens = %(tokens)s,
    throttle_at = clock_timestamp(),
    turn_kind = null, turn_step = null,
    lost_turns = case when %(asked)s::boolean then lost_turns - coalesce(turn_kind, '') else lost_turns end
where id = %(account_id)s

-- name: start_run
insert into sync_runs (account_id, trigger, worker)
values (%(account_id)s, %(trigger)s, %(worker)s)
returning id

-- name: finish_run
update sync_runs
set status = %(status)s, finished_at = clock_timestamp(), folders = %(folders)s, messages_new = %(messages_new)s,
    flags_changed = %(flags_changed)s, messages_deleted = %(messages_deleted)s, imap_commands = %(imap_commands)s,
    bytes_in = %(bytes_in)s, error_code = %(error_code)s, error_message = %(error_message)s
where account_id = (select %(account_id)s::bigint) and id = %(run_id)s

-- name: list_runs
select id, trigger, status, worker, started_at, finished_at, folders, messages_new, flags_changed, messages_deleted,
       imap_commands, bytes_in, error_code, error_message
from sync_runs where account_id = %(account_id)s
order by started_at desc, id desc limit %(limit)s

-- name: worker_heartbeat
insert into workers (worker, version) values (%(worker)s, %(version)s)
on conflict (worker) do update set heartbeat_at = now(), version = excluded.version

-- name: list_workers
select worker, version, started_at, heartbeat_at,
       extract(epoch from now() - heartbeat_at)::double precision as heartbeat_age_seconds
from workers order by worker

-- name: forget_worker
delete from workers where worker = %(worker)s or heartbeat_at < now() - interval '7 days'

-- name: listen_for_wake
listen mailsync_wake
