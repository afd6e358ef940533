-- name: relink_incoming
-- Runs before a batch becomes rows (SPEC §11). Tombstones of the batch's messages take the keys of these messages, so
-- that the upsert restores them with their id; tombstones of other messages give these keys up. Unknown values prove
-- nothing: they neither speak against a row with the same key, nor identify a row with another key.
with arriving as (
    select uid, message_id, coalesce(internal_date, sent_at) as internal_date, internal_date is not null as is_dated,
           size_bytes, parse_errors operator(pg_catalog.&&) '{headers,unstorable,unfetchable}' as is_unread
    from pg_temp.incoming
    -- in a first sync the folder has no rows up to this batch, and this condition is all that is evaluated
    where coalesce((select true from messages
                    where account_id = (select %(account_id)s::bigint) and folder_id = %(folder_id)s
                      and (uidvalidity, uid) <= (%(uidvalidity)s::bigint, (select pg_catalog.max(uid) from pg_temp.incoming))
                    order by uidvalidity, uid limit 1),
                   (select true from messages
                    where account_id = (select %(account_id)s::bigint) and folder_id = %(folder_id)s
                      and uidvalidity > %(uidvalidity)s
                    order by uidvalidity, uid limit 1))
), holding as (
    -- the rows that have these keys, by one probe for each, as in upsert_messages
    select a.uid, m.id, m.place, m.live,
           not m.live
           and (a.is_unread or m.parse_errors operator(pg_catalog.&&) '{headers,unstorable,unfetchable}'
                or m.message_id is not distinct from a.message_id)
           and (not a.is_dated or m.parse_errors operator(pg_catalog.&&) '{internal_date,unfetchable}'
                or m.internal_date = a.internal_date)
           and coalesce(m.size_bytes = a.size_bytes, true) as is_same
    from arriving a
    cross join lateral (
        select id, ctid as place, deleted_at is null as live, message_id, internal_date, size_bytes, parse_errors
        from messages
        where account_id = (select %(account_id)s::bigint) and folder_id = %(folder_id)s
          and uidvalidity = %(uidvalidity)s and uid between a.uid and a.uid
        order by uid
        limit 1
    ) m
), wanted as (
    select pg_catalog.min(uid) as uid, message_id, internal_date, size_bytes
    from arriving
    where message_id is not null and internal_date is not null and size_bytes is not null
    group by message_id, internal_date, size_bytes
    having count(*) = 1
), candidates as (
    select w.uid, pg_catalog.min(m.id) filter (where m.is_same) as id
    from wanted w
    cross join lateral (
        -- a Message-ID that more than a hundred rows have identifies nothing
        select id, folder_id = %(folder_id)s and deleted_at is not null
                   and internal_date = w.internal_date and size_bytes = w.size_bytes as is_same
        from messages
        where account_id = (select %(account_id)s::bigint)
          and message_id between w.message_id and w.message_id
        order by message_id
        limit 101
    ) m
    where w.uid not in (select uid from holding where live or is_same)
    group by w.uid
    having count(*) <= 100 and count(*) filter (where m.is_same) = 1
), taken as (
    select uid, id from candidates where id not in (select id from holding where is_same)
), displaced as (
    delete from messages
    where ctid = any (array(
        select h.place from holding h
        where not h.live and not h.is_same and h.id not in (select id from taken)))
)
update messages m
set uidvalidity = %(uidvalidity)s,
    -- if another row, which moves in this statement, still has the key, land_relinked sets it afterwards
    uid = case when t.uid in (select uid from holding) then -t.uid else t.uid end
from taken t
where m.id = t.id and m.id = any (array(select id from taken))

-- name: land_relinked
update messages set uid = -uid
where id = any (array(
    select id from messages
    where account_id = (select %(account_id)s::bigint) and folder_id = %(folder_id)s
      and uidvalidity = %(uidvalidity)s and uid < 0
    order by uid))

-- name: revive_unfetchable
-- For tombstones whose messages are on the server again but cannot be fetched: only the UID identifies them. The known
-- content stays, and the messages are fetched again later.
with chosen as (
    select m.id
    from pg_catalog.unnest(%(uids)s::int8multirange) as r
    cross join lateral (
        select id, deleted_at
        from messages
        where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
          and uid >= pg_catalog.lower(r) and uid < pg_catalog.upper(r)
        order by uid
        offset 0
    ) m
    where m.deleted_at is not null
), restored as (
    update messages m
    set deleted_at = null, deleted_reason = null, updated_at = now(),
        parse_errors = pg_catalog.array_append(
            pg_catalog.array_remove(m.parse_errors, 'unfetchable'), 'unfetchable')
    where m.id = any (array(select id from chosen))
    returning m.id, m.uid, m.is_seen
), announced as (
    insert into sync_events (account_id, type, folder_id, message_pk, data)
    select %(account_id)s, 'message.restored', %(folder_id)s, id, pg_catalog.jsonb_build_object('uid', uid)
    from restored
    where %(announce)s
), counted as (
    update folders f
    set live_count = f.live_count + d.live, live_unseen = f.live_unseen + d.unseen
    from (select count(*) as live, count(*) filter (where not is_seen) as unseen from restored) d
    where f.account_id = %(account_id)s and f.id = %(folder_id)s and d.live > 0
)
select uid from restored

-- name: adopt_uidvalidity
-- An unknown UIDVALIDITY (0) becomes known: rows get new keys, and nothing is reset. One statement, not chunks, because
-- readers and the next turn must not find a folder with two values.
with unkeyed as materialized (
    select id, uid
    from messages
    where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = 0
    order by uid
    offset 0
), displaced as (
    delete from messages
    where ctid = any (array(
        select m.place
        from unkeyed u
        cross join lateral (
            select ctid as place, deleted_at
            from messages
            where account_id = (select %(account_id)s::bigint) and folder_id = %(folder_id)s
              and uidvalidity = %(uidvalidity)s and uid between u.uid and u.uid
            order by uid
            limit 1
        ) m
        where m.deleted_at is not null))
    returning id
), rekeyed as (
    update messages set uidvalidity = %(uidvalidity)s
    where id = any (array(select id from unkeyed))
      -- only after their keys are free
      and (select count(*) from displaced) >= 0
), recounted as (
    update fetch_attempts set uidvalidity = %(uidvalidity)s
    where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = 0
)
update folders set uidvalidity = %(uidvalidity)s
where account_id = %(account_id)s and id = %(folder_id)s
