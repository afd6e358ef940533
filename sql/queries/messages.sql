-- part: header_columns
-- The fields of a Headers record without its errors, in the record's order.
message_id, in_reply_to, references_header, reference_ids, sent_at, subject, from_email, from_name, from_emails,
reply_to_emails, to_emails, to_names, cc_emails, cc_names, bcc_emails, list_id, is_automated

-- name: create_incoming
-- COPY writes a batch into this table. Types are those of messages, and the order is that of copy_format.
create temporary table if not exists pg_temp.incoming on commit delete rows as
select uid, modseq, flags, internal_date, size_bytes, provider_message_id, provider_thread_id, labels, has_attachments,
       mime_structure, null::jsonb as attachments, {{header_columns}}, parse_errors
from messages
with no data

-- name: copy_incoming
copy pg_temp.incoming from stdin with (format text)

-- name: upsert_messages
-- Turns the batch into rows, attachments, counts and, for new mail, events. Existing rows are updated, and tombstones
-- are restored: after relink_incoming, a tombstone with the key of a message belongs to that message. A live row can
-- change to another message if a server wrongly keeps its UIDVALIDITY; then the stored body is deleted.
with existing as (
    -- one probe of the key for each row: no other index has this order, whatever the statistics
    select i.uid, m.is_seen, m.live,
           m.live and coalesce(m.message_id <> i.message_id
                               or m.internal_date <> i.internal_date and m.size_bytes <> i.size_bytes, false) as passes
    from pg_temp.incoming i
    cross join lateral (
        select is_seen, deleted_at is null as live, message_id, internal_date, size_bytes
        from messages
        where account_id = (select %(account_id)s::bigint) and folder_id = %(folder_id)s
          and uidvalidity = %(uidvalidity)s and uid between i.uid and i.uid
        order by uid
        limit 1
    ) m
    -- in a first sync and for new mail no row exists, and this condition is all that is evaluated
    where (select true from messages
           where account_id = (select %(account_id)s::bigint) and folder_id = %(folder_id)s
             and uidvalidity = %(uidvalidity)s
             and uid between (select pg_catalog.min(uid) from pg_temp.incoming)
                         and (select pg_catalog.max(uid) from pg_temp.incoming)
           order by uid limit 1)
), stored as (
    insert into messages as m (
        account_id, folder_id, uidvalidity, uid, modseq, flags, internal_date, size_bytes, provider_message_id,
        provider_thread_id, labels, has_attachments, mime_structure, {{header_columns}}, parse_errors)
    select %(account_id)s, %(folder_id)s, %(uidvalidity)s, uid, modseq, coalesce(flags, '{}'),
        coalesce(internal_date, sent_at, now()), size_bytes, provider_message_id, provider_thread_id, labels,
        has_attachments, mime_structure, {{header_columns}}, parse_errors
    from pg_temp.incoming
    on conflict (account_id, folder_id, uidvalidity, uid) do update
    set modseq = excluded.modseq,
        flags = case when excluded.parse_errors operator(pg_catalog.&&) '{flags,unfetchable}' then m.flags else excluded.flags end,
        internal_date = excluded.internal_date, size_bytes = excluded.size_bytes,
        provider_message_id = excluded.provider_message_id, provider_thread_id = excluded.provider_thread_id,
        labels = excluded.labels,
        -- keep the known structure if it could not be read this time, and what the content showed if it was read whole
        has_attachments = case when excluded.mime_structure is null
                                 or (m.body_fetched_at is not null
                                     and m.uid not in (select uid from existing where passes)
                                     and exists (select from message_bodies
                                                 where account_id = m.account_id and message_pk = m.id
                                                   and not truncated))
                               then m.has_attachments else excluded.has_attachments end,
        mime_structure = coalesce(excluded.mime_structure, m.mime_structure),
        ({{header_columns}}) = ({{excluded.header_columns}}),
        parse_errors = excluded.parse_errors, deleted_at = null, deleted_reason = null, updated_at = now(),
        body_fetched_at = case when m.uid not in (select uid from existing where passes) then m.body_fetched_at end
    returning m.id, m.uid, m.is_seen, m.xmax = 0 as created,
              m.body_fetched_at is not null
              and exists (select from message_bodies
                          where account_id = m.account_id and message_pk = m.id and not truncated) as was_read
), disowned as (
    delete from message_bodies
    where (select exists (select from existing where passes)) and ctid = any (array(
        select b.ctid
        from existing e
        join stored s on s.uid = e.uid
        cross join lateral (
            select ctid from message_bodies where account_id = %(account_id)s and message_pk = s.id limit 1
        ) b
        where e.passes))
), detached as (
    delete from attachments
    where (select exists (select from existing)) and ctid = any (array(
        select a.ctid
        from stored s
        join pg_temp.incoming i on i.uid = s.uid
        cross join lateral (
            select ctid, part from attachments where account_id = %(account_id)s and message_pk = s.id offset 0
        ) a
        where not s.created and not s.was_read and i.mime_structure is not null
          and not coalesce(i.attachments, '[]') @> pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('part', a.part))))
), attached as (
    insert into attachments (account_id, message_pk, part, filename, content_type, size_bytes, content_id, is_inline)
    select %(account_id)s, s.id, a.part, a.filename, a.content_type, a.size_bytes, a.content_id, a.is_inline
    from pg_temp.incoming i
    join stored s on s.uid = i.uid
    cross join lateral pg_catalog.jsonb_to_recordset(i.attachments) as a(
        part text, filename text, content_type text, size_bytes bigint, content_id text, is_inline boolean)
    where i.attachments is not null and not s.was_read
    on conflict (account_id, message_pk, part) do update
    set filename = excluded.filename, content_type = excluded.content_type, size_bytes = excluded.size_bytes,
        content_id = excluded.content_id, is_inline = excluded.is_inline, from_content = false
), announced as (
    insert into sync_events (account_id, type, folder_id, message_pk, data)
    select %(account_id)s, case when s.created then 'message.created' else 'message.restored' end,
           %(folder_id)s, s.id, pg_catalog.jsonb_build_object('uid', s.uid)
    from stored s left join existing e on e.uid = s.uid
    where %(announce)s and (s.created or not e.live)
), counted as (
    update folders f
    set live_count = f.live_count + d.live, live_unseen = f.live_unseen + d.unseen
    from (
        select (select count(*) from stored) - (select count(*) from existing where live) as live,
               (select count(*) from stored where not is_seen)
             - (select count(*) from existing where live and not is_seen) as unseen
    ) d
    where f.account_id = %(account_id)s and f.id = %(folder_id)s and (d.live <> 0 or d.unseen <> 0)
)
select count(*) filter (where created) from stored

-- name: create_incoming_flags
create temporary table if not exists pg_temp.incoming_flags (
    uid bigint not null,
    modseq bigint,
    flags text[] not null
) on commit delete rows

-- name: copy_incoming_flags
copy pg_temp.incoming_flags from stdin with (format text)

-- name: apply_flags
-- Writes only live rows that differ; UIDs without a row are not backfilled yet. The update is written as an insert that
-- conflicts with each row, so that the key finds the rows whatever the statistics.
with different as materialized (
    -- one probe of the key for each row, as above; deleted_at is compared outside, or the planner might use an index of
    -- live rows
    select m.id, i.uid, m.internal_date, m.flags as old_flags, m.is_seen as was_seen, i.flags, i.modseq
    from pg_temp.incoming_flags i
    cross join lateral (
        select id, flags, is_seen, internal_date, deleted_at
        from messages
        where account_id = (select %(account_id)s::bigint) and folder_id = %(folder_id)s
          and uidvalidity = %(uidvalidity)s and uid between i.uid and i.uid
        order by uid
        limit 1
    ) m
    where m.deleted_at is null and m.flags operator(pg_catalog.<>) i.flags
), changed as (
    insert into messages as m (account_id, id, folder_id, uidvalidity, uid, internal_date, flags, modseq)
    overriding system value
    select %(account_id)s, id, %(folder_id)s, %(uidvalidity)s, uid, internal_date, flags, modseq
    from different
    on conflict (account_id, folder_id, uidvalidity, uid) do update
    set flags = excluded.flags, modseq = coalesce(excluded.modseq, m.modseq), updated_at = now()
), announced as (
    insert into sync_events (account_id, type, folder_id, message_pk, data)
    select %(account_id)s, 'message.flags_changed', %(folder_id)s, id,
           pg_catalog.jsonb_build_object('uid', uid, 'old', old_flags, 'new', flags)
    from different
), counted as (
    update folders f
    set live_unseen = f.live_unseen + d.unseen
    from (
        select count(*) filter (where not '\Seen' = any (flags)) - count(*) filter (where not was_seen) as unseen
        from different
    ) d
    where f.account_id = %(account_id)s and f.id = %(folder_id)s and d.unseen <> 0
)
select count(*) from different

-- name: live_uids
-- The UIDs of live rows as ranges such as 1:4,7:7. Neighbours have the same difference between UID and row number.
-- Reads only the key's index where the visibility map allows it.
select pg_catalog.string_agg(pg_catalog.concat(first, ':', last), ',')
from (
    select pg_catalog.min(uid) as first, pg_catalog.max(uid) as last
    from (
        select uid, uid - row_number() over (order by uid) as range_of
        from (
            -- deleted_at is compared outside, or the planner might use an index of live rows
            select uid, deleted_at
            from messages
            where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
              and uid >= %(lowest)s and uid <= %(highest)s
            order by uid
            offset 0
        ) walked
        where deleted_at is null
    ) numbered
    group by range_of
) ranges

-- name: live_uids_since
-- Like live_uids, for messages inside a window. A message without a date has the date of its row.
select pg_catalog.string_agg(pg_catalog.concat(first, ':', last), ',')
from (
    select pg_catalog.min(uid) as first, pg_catalog.max(uid) as last
    from (
        select uid, uid - row_number() over (order by uid) as range_of
        from (
            select uid, deleted_at, internal_date
            from messages
            where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
              and uid >= %(lowest)s and uid <= %(highest)s
            order by uid
            offset 0
        ) walked
        where deleted_at is null and internal_date >= %(since)s
    ) numbered
    group by range_of
) ranges

-- name: count_rows
select count(*) as live, count(*) filter (where not is_seen) as unseen,
       count(*) filter (where internal_date < %(since)s::timestamptz) as outside,
       count(*) filter (where uidvalidity <> %(uidvalidity)s) as stray
from (
    -- only the index of the folder's live rows has this order
    select is_seen, internal_date, uidvalidity
    from messages
    where account_id = %(account_id)s and folder_id between %(folder_id)s and %(folder_id)s and deleted_at is null
    order by folder_id, internal_date desc, id desc
    offset 0
) walked

-- name: lowest_uid
select uid
from messages
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and deleted_at is null
order by uid
limit 1

-- name: newest_uid
select uid
from messages
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and deleted_at is null
order by uid desc
offset %(before)s limit 1

-- part: tombstone_chosen
-- The rest of a statement that has chosen the ids of live rows of one folder; returns how many there were.
gone as (
    update messages m
    set deleted_at = now(), deleted_reason = %(reason)s, updated_at = now()
    where m.id = any (array(select id from chosen))
    returning m.id, m.uid, m.is_seen
), announced as (
    insert into sync_events (account_id, type, folder_id, message_pk, data)
    select %(account_id)s, 'message.deleted', %(folder_id)s, id,
           pg_catalog.jsonb_build_object('uid', uid, 'reason', %(reason)s::text)
    from gone
), counted as (
    update folders f
    set live_count = f.live_count - d.live, live_unseen = f.live_unseen - d.unseen
    from (select count(*) as live, count(*) filter (where not is_seen) as unseen from gone) d
    where f.account_id = %(account_id)s and f.id = %(folder_id)s and d.live > 0
)
select count(*) from gone

-- name: tombstone_uids
with chosen as (
    -- one walk along the key for each range
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
    where m.deleted_at is null
), {{tombstone_chosen}}

-- name: tombstone_folder_chunk
-- One chunk of live rows of a folder with any UIDVALIDITY, except the one to keep.
with chosen as (
    select id from messages
    where account_id = %(account_id)s and folder_id between %(folder_id)s and %(folder_id)s and deleted_at is null
      and uidvalidity is distinct from %(keep_uidvalidity)s::bigint
    order by folder_id, internal_date desc, id desc
    limit %(limit)s
), {{tombstone_chosen}}

-- name: select_states
-- Live rows of a UID range, for comparison with the server.
select uid, modseq, flags, internal_date, size_bytes, parse_errors
from (
    select uid, modseq, flags, internal_date, size_bytes, parse_errors, deleted_at
    from messages
    where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
      and uid between %(lowest)s and %(highest)s
    order by uid
    offset 0
) walked
where deleted_at is null
order by uid

-- name: newest_messages
select m.id, f.path, m.internal_date, m.from_email, m.from_name, m.subject, m.flags, m.has_attachments
from messages m
cross join lateral (
    select path from folders
    where account_id = m.account_id and id = m.folder_id and uidvalidity = m.uidvalidity
    limit 1
) f
where m.account_id = %(account_id)s and m.deleted_at is null
order by m.internal_date desc, m.id desc
limit %(limit)s

-- name: note_attempt
-- Written before the fetch: a row that outlives its turn tells the next turns what to be careful with.
insert into fetch_attempts (account_id, folder_id, uidvalidity, uid, through_uid, attempts)
values (%(account_id)s, %(folder_id)s, %(uidvalidity)s, %(uid)s, %(through_uid)s, 1)
on conflict (account_id, folder_id, uidvalidity, uid) do update
set attempts = fetch_attempts.attempts + 1, through_uid = excluded.through_uid, retry_at = null, updated_at = now()

-- name: explain_attempts
-- All open attempts failed with this error.
update fetch_attempts
set last_error = %(error)s
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and retry_at is null

-- name: open_attempts
select uid as first, through_uid as last, attempts from fetch_attempts
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s and retry_at is null

-- name: forget_attempts
delete from fetch_attempts
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
  and uid >= %(lowest)s and through_uid <= %(highest)s and retry_at is null

-- name: forget_batches
-- Their messages were all stored in other batches, so these attempts no longer matter.
delete from fetch_attempts
where account_id = %(account_id)s and folder_id = %(folder_id)s and uidvalidity = %(uidvalidity)s
  and uid < through_uid
  and %(uids)s::int8multirange operator(pg_catalog.&&) pg_catalog.int8range(uid, through_uid, '[]')
