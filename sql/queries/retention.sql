-- name: look_at_retention
-- Whether the hourly round is due, and whether a removed account still has rows.
select coalesce((select wait_is_over(next_at) from upkeep where name = 'retention'), true) as hourly,
       exists (select from accounts where deleting_at is not null) as removals

-- name: claim_retention
-- Allows one process at a time; the lock ends with the connection.
select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('mailsync retention'), pg_catalog.hashtext(current_schema()::text))

-- name: release_retention
select pg_catalog.pg_advisory_unlock(pg_catalog.hashtext('mailsync retention'), pg_catalog.hashtext(current_schema()::text))

-- name: begin_retention
update upkeep set started_at = clock_timestamp() where name = 'retention'

-- name: finish_retention
-- An hour after the beginning of this round, however often workers start. A round that a killed worker left is
-- repeated.
insert into upkeep (name, next_at, finished_at) values ('retention', now() + interval '1 hour', now())
on conflict (name) do update
set next_at = greatest(now(), coalesce(upkeep.started_at, now()) + interval '1 hour'), finished_at = now()

-- name: hasten_retention
update upkeep set next_at = least(next_at, now()) where name = 'retention'

-- name: accounts_to_remove
select id from accounts where deleting_at is not null order by id

-- name: accounts_to_tidy
-- Accounts with old tombstones, with mail outside their window, or with messages that lack from_emails. The oldest row of
-- each is the first of an index.
select a.id
from accounts a
cross join lateral (
    select case when a.paused_at is null
                then window_start(a.sync_since, a.sync_window_days) end as begins
) w
where a.deleting_at is null
  and (a.authors_missing_through is not null
       or a.mirrored_since < w.begins
       or a.mirrored_since is null and w.begins is not null
       or w.begins is not null
          and (select internal_date from messages where account_id = a.id and deleted_at is null
               order by internal_date limit 1) < w.begins
       or (select deleted_at from messages where account_id = a.id and deleted_at is not null
           order by deleted_at limit 1) < days_ago(%(days)s::float8))
order by a.id

-- name: expire_rows
-- Tombstones one chunk of live rows older than the account's window, and moves mirrored_since. A paused account keeps
-- its rows.
with reach as (
    select id, window_start(sync_since, sync_window_days) as begins
    from accounts
    where id = %(account_id)s and paused_at is null and deleting_at is null
), moved as (
    update accounts a set mirrored_since = r.begins
    from reach r
    where a.id = r.id and (a.mirrored_since < r.begins or a.mirrored_since is null and r.begins is not null)
), chunk as (
    select m.id
    from reach r
    cross join lateral (
        select id from messages
        where account_id = %(account_id)s and deleted_at is null and internal_date < r.begins
        order by internal_date, id
        limit %(limit)s
    ) m
), gone as (
    update messages m
    set deleted_at = now(), deleted_reason = 'expired', updated_at = now()
    where m.id = any (array(select id from chunk))
    returning m.id, m.folder_id, m.uid, m.is_seen
), announced as (
    insert into sync_events (account_id, type, folder_id, message_pk, data)
    select %(account_id)s, 'message.deleted', folder_id, id, pg_catalog.jsonb_build_object('uid', uid, 'reason', 'expired')
    from gone
), counted as (
    update folders f
    set live_count = f.live_count - d.live, live_unseen = f.live_unseen - d.unseen
    from (
        select folder_id, count(*) as live, count(*) filter (where not is_seen) as unseen from gone group by folder_id
    ) d
    where f.account_id = %(account_id)s and f.id = d.folder_id
)
select count(*) from gone

-- name: fill_authors
-- One chunk of messages, the newest first, that may be older than from_emails.
with chunk as materialized (
    select m.id, m.from_email is not null and m.from_emails operator(pg_catalog.=) '{}' as is_unfilled
    from messages m
    where m.account_id between %(account_id)s and %(account_id)s
      and m.id <= (select authors_missing_through from accounts where id = %(account_id)s)
    -- only the primary key has this order
    order by m.account_id desc, m.id desc
    limit %(limit)s
), noted as (
    update accounts
    set authors_missing_through = (
        select case when count(*) = %(limit)s then pg_catalog.min(id) - 1 end from chunk)
    where id = %(account_id)s
), filled as (
    update messages set from_emails = array[from_email]
    where id = any (array(select id from chunk where is_unfilled))
)
select count(*) from chunk

-- name: purge_tombstones
-- One chunk. Attachments and bodies are deleted with their messages.
delete from messages
where ctid = any (array(
    select ctid from messages
    where account_id = %(account_id)s and deleted_at < days_ago(%(days)s::float8)
    order by deleted_at
    limit %(limit)s
    for update skip locked))

-- name: purge_runs
-- One chunk of finished runs, the oldest of each account first.
delete from sync_runs
where ctid = any (array(
    select r.place
    from accounts a
    cross join lateral (
        select ctid as place from sync_runs
        where account_id = a.id and started_at < days_ago(%(days)s::float8)
          and finished_at < days_ago(%(days)s::float8)
        order by started_at, id
        limit %(limit)s
    ) r
    limit %(limit)s))

-- name: purge_events
-- One chunk, including events of removed accounts.
delete from sync_events
where ctid = any (array(
    select ctid from sync_events
    where occurred_at < days_ago(%(days)s::float8)
    order by occurred_at
    limit %(limit)s
    for update skip locked))

-- name: set_mirrored_since
update accounts set mirrored_since = %(begins)s where id = %(account_id)s

-- name: reopen_folders
-- The window begins earlier now. Folders that were empty take a new snapshot, running first syncs begin from the top,
-- and mail above the cursor that was too old when it arrived is searched for once more.
update folders
set status = case when status = 'active' and last_uid = 0 then 'pending' else status end,
    initial_oldest_uid = case when status = 'initial' then initial_target_uid + 1 else initial_oldest_uid end,
    uidnext = null, updated_at = now()
where account_id = %(account_id)s and status in ('initial', 'active')
