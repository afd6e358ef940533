-- part: attachments_of_m
-- The attachments of message m as arrays with the fields of an Attachment, in the order of their parts.
(select coalesce(pg_catalog.jsonb_agg(
                    pg_catalog.jsonb_build_array(part, filename, content_type, size_bytes, content_id, is_inline)
                    order by pg_catalog.string_to_array(part, '.')::int[]), '[]')
        from attachments t
        where t.account_id = m.account_id and t.message_pk = m.id) as attachments

-- name: load_body
-- A stored body, even of a tombstone, with the message's attachments.
select b.account_id, b.message_pk as message_id, b.body_text as text, b.body_html as html, b.raw_bytes,
       b.truncated, b.warnings, b.fetched_at, b.parser_version, m.deleted_at, m.deleted_reason,
       {{attachments_of_m}}
from message_bodies b
cross join lateral (
    select account_id, id, deleted_at, deleted_reason from messages where id = b.message_pk limit 1
) m
where m.account_id = b.account_id and b.account_id = %(account_id)s and b.message_pk = %(message_id)s

-- name: account_of_message
-- URLs of the API name only the message; the index messages_id serves this.
select m.account_id
from messages m
join accounts a on a.id = m.account_id
where m.id = %(message_id)s and a.deleting_at is null

-- name: locate_message
-- Where a message is on its server, and whether its account may be used. An implausible backoff counts as none.
select m.account_id, m.id as message_id, m.folder_id, m.uidvalidity, m.uid,
       case when not m.parse_errors operator(pg_catalog.&&) '{internal_date,unfetchable}' then m.internal_date end as internal_date,
       m.size_bytes, m.deleted_reason, f.path, a.email,
       a.paused_at is not null as paused, a.sync_state, a.sync_state_reason, a.sync_state_message,
       case when not wait_is_over(a.backoff_until)
            then extract(epoch from a.backoff_until - now())::double precision end as backoff
from (select * from messages where id = %(message_id)s limit 1) m
join folders f on f.account_id = m.account_id and f.id = m.folder_id
join accounts a on a.id = m.account_id
where m.account_id = %(account_id)s and a.deleting_at is null

-- name: load_attachment
-- One attachment, the transfer encoding of its part (null if BODYSTRUCTURE could not be read), and whether only the
-- content shows it.
select t.part, t.filename, t.content_type, t.size_bytes, t.content_id, t.is_inline,
       case when m.mime_structure is not null then
           coalesce(pg_catalog.jsonb_path_query_first(
               m.mime_structure, '$.** ? (@.part == $part && exists(@.encoding)).encoding',
               pg_catalog.jsonb_build_object('part', t.part)) #>> '{}'::text[], '')
       end as encoding,
       t.from_content
from attachments t
cross join lateral (
    select account_id, mime_structure from messages where id = t.message_pk limit 1
) m
where m.account_id = t.account_id and t.account_id = %(account_id)s and t.message_pk = %(message_id)s and t.part = %(part)s

-- name: store_body
-- Stores a body. If the attachments in the content are complete, they replace those of BODYSTRUCTURE, and those for which
-- BODYSTRUCTURE has another part, or none, are marked. Otherwise they are stored only if BODYSTRUCTURE could not be read.
with marked as (
    update messages
    set body_fetched_at = now(), updated_at = now(),
        has_attachments = case when %(is_complete)s or mime_structure is null then %(has_attachments)s
                               else has_attachments end
    -- account_id + 0 prevents the use of indexes that begin with account_id
    where id = %(message_id)s and account_id + 0 = %(account_id)s
    returning account_id, id, mime_structure is null as has_no_structure
), removed as (
    delete from attachments
    where %(is_complete)s and ctid = any (array(
        select a.ctid
        from marked h
        cross join lateral (
            select ctid, part from attachments where account_id = h.account_id and message_pk = h.id offset 0
        ) a
        where not %(attachments)s::jsonb @> pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object('part', a.part))))
), listed as (
    insert into attachments as a (
        account_id, message_pk, part, filename, content_type, size_bytes, content_id, is_inline, from_content)
    select h.account_id, h.id, p.part, p.filename, p.content_type, p.size_bytes, p.content_id, p.is_inline,
           p.in_text or not h.has_no_structure
    from marked h
    cross join lateral pg_catalog.jsonb_to_recordset(%(attachments)s::jsonb) as p(
        part text, filename text, content_type text, size_bytes bigint, content_id text, is_inline boolean,
        in_text boolean)
    where %(is_complete)s or h.has_no_structure
    on conflict (account_id, message_pk, part) do update
    set filename = excluded.filename, content_type = excluded.content_type, size_bytes = excluded.size_bytes,
        content_id = excluded.content_id, is_inline = excluded.is_inline,
        -- a part of the same type and size is the same part
        from_content = a.from_content or a.content_type <> excluded.content_type
                       or a.size_bytes is distinct from excluded.size_bytes
    where (a.filename, a.content_type, a.content_id, a.is_inline)
          is distinct from (excluded.filename, excluded.content_type, excluded.content_id, excluded.is_inline)
)
insert into message_bodies as b (
    account_id, message_pk, body_text, body_html, raw_bytes, truncated, warnings, parser_version)
select account_id, id, %(text)s, %(html)s, %(raw_bytes)s, %(truncated)s, %(warnings)s, %(parser_version)s
from marked
on conflict (account_id, message_pk) do update
set body_text = excluded.body_text, body_html = excluded.body_html, raw_bytes = excluded.raw_bytes,
    truncated = excluded.truncated, warnings = excluded.warnings, parser_version = excluded.parser_version,
    fetched_at = now()
returning b.fetched_at

-- name: hold_mailbox
-- After store_body, in its transaction: a concurrent change of the account is either visible here, or waits and then
-- finds the body. The order is that of a worker's transactions, which also write messages before their account.
select imap_host, username from accounts where id = %(account_id)s for share

-- name: forget_bodies
-- Bodies of live messages, since the account may have another mailbox now. Tombstones keep theirs.
with forgotten as (
    delete from message_bodies
    where ctid = any (array(
        select b.place
        from (
            select message_pk, ctid as place from message_bodies
            where account_id = %(account_id)s
            order by message_pk
            offset 0
        ) b
        cross join lateral (select deleted_at from messages where id = b.message_pk limit 1) m
        where m.deleted_at is null))
    returning message_pk
)
update messages
set body_fetched_at = null
where id = any (array(select message_pk from forgotten))

-- part: body_lock_key
-- The key is one number of 64 bits, so these locks differ from those of accounts, which have two of 32 bits, and are
-- not in account_locks.
pg_catalog.hashtextextended(
    pg_catalog.concat_ws(':', current_schema(), %(account_id)s::bigint, %(message_id)s::bigint), 0)

-- name: try_body_lock
select pg_catalog.pg_try_advisory_lock({{body_lock_key}})

-- name: queue_for_body
select pg_catalog.pg_advisory_lock({{body_lock_key}})

-- name: unlock_body
select pg_catalog.pg_advisory_unlock({{body_lock_key}})
