-- name: plan_for_values
-- The lists are one statement each for all their filters: a plan has to know which of them are given.
select pg_catalog.set_config('plan_cache_mode', 'force_custom_plan', false), pg_catalog.set_config('jit', 'off', false)

-- name: find_listed_account
-- An account that is being removed is gone for those who read.
select id from accounts where id = %(account_id)s and deleting_at is null

-- name: find_listed_folder
-- By its id, else by its path. Two names of the server may decode to one path: what is tracked and older comes first.
select id
from folders
where account_id = %(account_id)s
  and (id = %(folder_id)s::bigint or path = %(path)s::text
       or pg_catalog.upper(%(path)s::text) = 'INBOX' and pg_catalog.upper(path) = 'INBOX')
order by tracked desc, id
limit 1

-- name: list_messages
-- Newest first, before a position. Live rows and tombstones have indexes of their own, so each is read in order, a page
-- of it, and then the two are merged.
select m.id, m.account_id, m.folder_id, f.path, m.uidvalidity, m.uid, m.message_id, m.in_reply_to, m.references_header,
       m.reference_ids, m.provider_message_id, m.provider_thread_id, m.labels, m.internal_date, m.sent_at, m.size_bytes,
       m.subject, m.from_email, m.from_name, m.reply_to_emails, m.to_emails, m.to_names, m.cc_emails, m.cc_names,
       m.bcc_emails, m.list_id, m.is_automated, m.flags, m.is_seen, m.is_flagged, m.is_answered, m.is_draft, m.modseq,
       m.has_attachments, m.body_fetched_at, m.parse_errors, m.deleted_at, m.deleted_reason, m.created_at, m.updated_at
from (
    (select * from messages
     where account_id = (select %(account_id)s::bigint) and deleted_at is null
       and (internal_date, id) < (%(before)s::timestamptz, %(before_id)s::bigint)
       and (%(since)s::timestamptz is null or internal_date >= %(since)s)
       and (%(folder_id)s::bigint is null or folder_id between %(folder_id)s and %(folder_id)s)
       and (%(sender)s::text is null or from_email = %(sender)s)
       and (%(recipient)s::text is null
            or %(recipient)s = any (to_emails) or %(recipient)s = any (cc_emails) or %(recipient)s = any (bcc_emails))
       and (%(subject)s::text is null or subject ilike %(subject)s)
       and (%(seen)s::boolean is null or is_seen = %(seen)s)
       and (%(flagged)s::boolean is null or is_flagged = %(flagged)s)
       and (%(has_attachments)s::boolean is null or has_attachments = %(has_attachments)s)
     -- a folder's list comes in an order that only the folder's index has, unless a sender narrows it down further
     order by case when %(folder_id)s::bigint is null or %(sender)s::text is not null then 0::bigint else folder_id end,
              internal_date desc, id desc
     limit %(count)s)
    union all
    (select * from messages
     where account_id = (select %(account_id)s::bigint) and deleted_at is not null and %(include_deleted)s::boolean
       and (internal_date, id) < (%(before)s::timestamptz, %(before_id)s::bigint)
       and (%(since)s::timestamptz is null or internal_date >= %(since)s)
       and (%(folder_id)s::bigint is null or folder_id = %(folder_id)s)
       and (%(sender)s::text is null or from_email = %(sender)s)
       and (%(recipient)s::text is null
            or %(recipient)s = any (to_emails) or %(recipient)s = any (cc_emails) or %(recipient)s = any (bcc_emails))
       and (%(subject)s::text is null or subject ilike %(subject)s)
       and (%(seen)s::boolean is null or is_seen = %(seen)s)
       and (%(flagged)s::boolean is null or is_flagged = %(flagged)s)
       and (%(has_attachments)s::boolean is null or has_attachments = %(has_attachments)s)
     order by internal_date desc, id desc
     limit %(count)s)
) m
cross join lateral (select path from folders where account_id = m.account_id and id = m.folder_id limit 1) f
order by m.internal_date desc, m.id desc
limit %(count)s

-- name: read_message
-- One message, a tombstone too, with its attachments in the order of their parts.
select m.id, m.account_id, m.folder_id, f.path, m.uidvalidity, m.uid, m.message_id, m.in_reply_to, m.references_header,
       m.reference_ids, m.provider_message_id, m.provider_thread_id, m.labels, m.internal_date, m.sent_at, m.size_bytes,
       m.subject, m.from_email, m.from_name, m.reply_to_emails, m.to_emails, m.to_names, m.cc_emails, m.cc_names,
       m.bcc_emails, m.list_id, m.is_automated, m.flags, m.is_seen, m.is_flagged, m.is_answered, m.is_draft, m.modseq,
       m.has_attachments, m.body_fetched_at, m.parse_errors, m.deleted_at, m.deleted_reason, m.created_at, m.updated_at,
       m.mime_structure,
       (select coalesce(pg_catalog.jsonb_agg(
                    pg_catalog.jsonb_build_array(part, filename, content_type, size_bytes, content_id, is_inline)
                    order by pg_catalog.string_to_array(part, '.')::int[]), '[]')
        from attachments t
        where t.account_id = m.account_id and t.message_pk = m.id) as attachments
from (select * from messages where id = %(message_id)s limit 1) m
join folders f on f.account_id = m.account_id and f.id = m.folder_id
join accounts a on a.id = m.account_id
where m.account_id = %(account_id)s and a.deleting_at is null

-- name: list_runs_before
-- Newest first, before a position.
select id, account_id, trigger, status, worker, started_at, finished_at, folders, messages_new, flags_changed,
       messages_deleted, imap_commands, bytes_in, error_code, error_message
from sync_runs
where account_id = %(account_id)s and (started_at, id) < (%(before)s::timestamptz, %(before_id)s::bigint)
order by started_at desc, id desc
limit %(count)s

-- name: list_events_after
-- What has settled after a position, oldest first. By e.xid, since xid alone would be the text of it, in which 10 comes
-- before 9.
select e.account_id, e.xid::text, e.seq, e.type, e.folder_id, e.message_pk, e.data, e.occurred_at
from sync_events_settled e
where (e.xid, e.seq) > (%(xid)s::text::xid8, %(seq)s::bigint)
order by e.xid, e.seq
limit %(count)s

-- name: list_account_events_after
-- The same of one account. Its bounds are written so that only the index of accounts has this order: by the other one,
-- a reader of a quiet account would read what all others did since.
select e.account_id, e.xid::text, e.seq, e.type, e.folder_id, e.message_pk, e.data, e.occurred_at
from sync_events_settled e
where (e.account_id, e.xid, e.seq) > (%(account_id)s::bigint, %(xid)s::text::xid8, %(seq)s::bigint)
  and e.account_id <= %(account_id)s
order by e.account_id, e.xid, e.seq
limit %(count)s

-- name: feed_horizon
-- What has a smaller xid is settled; what has a greater one than the second was never written in this cluster.
select pg_catalog.pg_snapshot_xmin(pg_current_snapshot())::text, pg_catalog.pg_snapshot_xmax(pg_current_snapshot())::text
