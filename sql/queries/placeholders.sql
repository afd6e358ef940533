-- name: count_without_content
-- At most 1,000; beyond that the exact number does not matter.
select count(*)
from (
    select from messages
    where account_id = %(account_id)s and deleted_at is null and lacks_content(parse_errors)
    limit 1000
) m

-- name: silent_uids
-- Rows of which the server gave neither date nor size; their flags are not asked for either. At most 1,000.
select pg_catalog.string_agg(uid::text, ',')
from (
    select uid
    from (
        -- only the index of rows without content has this order
        select uid, uidvalidity, parse_errors
        from messages
        where account_id between %(account_id)s and %(account_id)s and folder_id between %(folder_id)s and %(folder_id)s
          and deleted_at is null and lacks_content(parse_errors)
        order by account_id, folder_id, uid
        offset 0
    ) r
    where uidvalidity = %(uidvalidity)s
      and parse_errors operator(pg_catalog.@>) '{unfetchable,internal_date,size}'
    limit 1000
) m

-- name: plan_retries
-- Plans a retry at the next tick for rows that were just stored without content. Existing plans are kept.
insert into fetch_attempts as a (account_id, folder_id, uidvalidity, uid, through_uid, retry_at)
select %(account_id)s, %(folder_id)s, %(uidvalidity)s, uid, uid, now() from pg_catalog.unnest(%(uids)s::bigint[]) as uid
on conflict (account_id, folder_id, uidvalidity, uid) do update
set through_uid = excluded.through_uid, attempts = 0, tries = 0, failures = 0, retry_at = excluded.retry_at,
    updated_at = now()
where a.retry_at is null

-- name: replan_retries
-- Gives each row without content a plan, and no other row, because rows also change in other ways.
with without_content as materialized (
    select uid
    from (
        -- only the index of these rows has this order
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
      and uid = any (array(select uid from planned except select uid from without_content))
)
insert into fetch_attempts (account_id, folder_id, uidvalidity, uid, through_uid, retry_at)
select %(account_id)s, %(folder_id)s, %(uidvalidity)s, uid, uid, now()
from (select uid from without_content except select uid from planned) lacking
on conflict (account_id, folder_id, uidvalidity, uid) do nothing

-- name: due_retries
-- The plans that have waited longest. No plan is made further ahead than a day, so a later one was made by a wrong
-- clock and is due. is_needed is false if the row is gone or has content by now.
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
-- Written before the fetch. The waits double, up to a day. They are half a tick shorter, so that a tick falls after
-- them.
update fetch_attempts
set tries = tries + 1,
    retry_at = now() + pg_catalog.make_interval(secs => least(
        86400, %(interval)s::float8 * (2::float8 ^ least(tries, 20)::float8 - 0.5::float8))),
    updated_at = now()
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and uid = %(uid)s

-- name: cancel_retry
delete from fetch_attempts
where ctid = any (array(
    -- retry_at is compared outside, or the planner might use the index of all plans
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
-- After a row was stored again: if it has content now, announces that and deletes the plan.
with whole as materialized (
    -- one probe of the key: other conditions are outside, or the planner might use an index of live rows
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

-- name: neighbour_date
-- The date of the nearest message above, else below: servers number messages as they arrive. A live row or a tombstone,
-- but not a placeholder, whose own date may be an estimate. Up to 20 rows on either side are looked at.
select coalesce(
    (select internal_date
     from (
         select internal_date, parse_errors, uid
         from messages
         where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
           and uid > %(uid)s
         order by uid
         limit 20
     ) above
     where not lacks_content(parse_errors)
     order by uid
     limit 1),
    (select internal_date
     from (
         select internal_date, parse_errors, uid
         from messages
         where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
           and uid < %(uid)s
         order by uid desc
         limit 20
     ) below
     where not lacks_content(parse_errors)
     order by uid desc
     limit 1))

-- name: note_isolation
-- Written before a message is fetched alone; returns the counts, including this try.
insert into fetch_attempts as a (account_id, folder_id, uidvalidity, uid, through_uid, tries)
values (%(account_id)s, %(folder_id)s, %(uidvalidity)s, %(uid)s, %(uid)s, 1)
on conflict (account_id, folder_id, uidvalidity, uid) do update
set tries = case when a.retry_at is null then a.tries + 1 else 1 end,
    failures = case when a.retry_at is null then a.failures else 0 end,
    retry_at = null, through_uid = excluded.through_uid, updated_at = now()
returning tries, failures

-- name: take_back_isolation
-- The try ended for a reason unrelated to the message.
update fetch_attempts set tries = greatest(0, tries - 1)
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and uid = %(uid)s
  and retry_at is null

-- name: blame_message
-- Counts a failure only here: the message was fetched alone, and the server did not return it.
update fetch_attempts set failures = failures + 1, last_error = %(error)s, updated_at = now()
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and uid = %(uid)s
  and retry_at is null
returning failures
