-- name: count_without_content
-- Live rows without content, at most 1,000: more than that only says that there are many.
select count(*)
from (
    select from messages
    where account_id = %(account_id)s and deleted_at is null and lacks_content(parse_errors)
    limit 1000
) m

-- name: plan_retries
-- Plan rows that were stored without content just now, for the next tick. An existing plan is kept.
insert into fetch_attempts as a (account_id, folder_id, uidvalidity, uid, through_uid, retry_at)
select %(account_id)s, %(folder_id)s, %(uidvalidity)s, uid, uid, now() from pg_catalog.unnest(%(uids)s::bigint[]) as uid
on conflict (account_id, folder_id, uidvalidity, uid) do update
set through_uid = excluded.through_uid, attempts = 0, tries = 0, failures = 0, retry_at = excluded.retry_at,
    updated_at = now()
where a.retry_at is null

-- name: replan_retries
-- Give each row without content a plan and no other row, since rows change in other ways too.
with bare as materialized (
    select uid
    from (
        -- an order that the index of these rows alone has
        select uid, uidvalidity
        from messages
        where account_id between %(account_id)s and %(account_id)s and folder_id between %(folder_id)s and %(folder_id)s
          and deleted_at is null and lacks_content(parse_errors)
        order by account_id, folder_id, uid
        offset 0
    ) m
    where uidvalidity = %(uidvalidity)s
), planned as materialized (
    select uid
    from fetch_attempts
    where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
      and retry_at is not null
), cancelled as (
    delete from fetch_attempts
    where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
      and retry_at is not null
      and uid = any (array(select uid from planned except select uid from bare))
)
insert into fetch_attempts (account_id, folder_id, uidvalidity, uid, through_uid, retry_at)
select %(account_id)s, %(folder_id)s, %(uidvalidity)s, uid, uid, now()
from (select uid from bare except select uid from planned) lacking
on conflict (account_id, folder_id, uidvalidity, uid) do nothing

-- name: due_retries
-- The plans that have waited longest. One that lies further ahead than any is made was made before the clock was
-- corrected: it is due. is_needed is false for a row that is gone or has content by now.
select p.folder_id, p.uidvalidity, p.uid,
       coalesce((
           select deleted_at is null and lacks_content(parse_errors)
           from messages
           where account_id = %(account_id)s and folder_id = p.folder_id and uidvalidity = p.uidvalidity and uid = p.uid
           limit 1
       ), false) as is_needed
from (
    (select folder_id, uidvalidity, uid
     from fetch_attempts
     where account_id = %(account_id)s and retry_at <= now()
     order by retry_at
     limit %(limit)s)
    union all
    (select folder_id, uidvalidity, uid
     from fetch_attempts
     where account_id = %(account_id)s and retry_at > now() + interval '25 hours'
     order by retry_at desc
     limit %(limit)s)
) p
limit %(limit)s

-- name: note_retry
-- Written before the message is asked for. The waits double, up to a day; half a tick less, so that a tick meets them.
update fetch_attempts
set tries = tries + 1,
    retry_at = now() + pg_catalog.make_interval(secs => least(
        86400, %(interval)s::float8 * (2::float8 ^ least(tries, 20)::float8 - 0.5::float8))),
    updated_at = now()
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and uid = %(uid)s

-- name: cancel_retry
delete from fetch_attempts
where ctid = any (array(
    -- retry_at stands outside, or the index of all plans would tempt
    select place
    from (
        select ctid as place, retry_at
        from fetch_attempts
        where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
          and uid = %(uid)s
        limit 1
    ) a
    where retry_at is not null))

-- name: retry_now
-- For sync --full.
update fetch_attempts set retry_at = now() where account_id = %(account_id)s and retry_at > now()

-- name: announce_content
-- After a row without content was stored again: if it has content now, announce that and drop the plan.
with whole as materialized (
    -- a probe of the key: what is asked of the row stands outside, or an index of live rows would tempt
    select id
    from (
        select id, deleted_at, parse_errors
        from messages
        where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
          and uid = %(uid)s
        limit 1
    ) m
    where deleted_at is null and not lacks_content(parse_errors)
), cancelled as (
    delete from fetch_attempts
    where ctid = any (array(
        select place
        from (
            select ctid as place, retry_at
            from fetch_attempts
            where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
              and uid = %(uid)s
            limit 1
        ) a
        where retry_at is not null and (select true from whole)))
)
insert into sync_events (account_id, type, folder_id, message_pk, data)
select %(account_id)s, 'message.updated', %(folder_id)s, id, pg_catalog.jsonb_build_object('uid', %(uid)s::bigint) from whole

-- name: note_isolation
-- Written before a message is asked for alone; returns what is known of such requests, this one included.
insert into fetch_attempts as a (account_id, folder_id, uidvalidity, uid, through_uid, tries)
values (%(account_id)s, %(folder_id)s, %(uidvalidity)s, %(uid)s, %(uid)s, 1)
on conflict (account_id, folder_id, uidvalidity, uid) do update
set tries = case when a.retry_at is null then a.tries + 1 else 1 end,
    failures = case when a.retry_at is null then a.failures else 0 end,
    retry_at = null, through_uid = excluded.through_uid, updated_at = now()
returning tries, failures

-- name: take_back_isolation
-- The try ended for a reason that has nothing to do with the message.
update fetch_attempts set tries = greatest(0, tries - 1)
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and uid = %(uid)s
  and retry_at is null

-- name: blame_message
-- The one place where a message is blamed: it was asked for alone, and the server did not give it.
update fetch_attempts set failures = failures + 1, last_error = %(error)s, updated_at = now()
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and uid = %(uid)s
  and retry_at is null
returning failures
