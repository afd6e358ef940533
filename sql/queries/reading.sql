-- name: plan_for_values
-- Each list is one statement for all of its filters, so its plan has to depend on which filters are given.
select pg_catalog.set_config('plan_cache_mode', 'force_custom_plan', false), pg_catalog.set_config('jit', 'off', false)

-- name: find_listed_account
-- An account that is being removed no longer exists for readers.
select id from accounts where id = %(account_id)s and deleting_at is null

-- name: find_listed_folder
-- By id, or else by path. Several names of a server may decode to the same path: tracked folders come first, then older
-- ones.
select id
from folders
where account_id = %(account_id)s
  and (id = %(folder_id)s::bigint or path = %(path)s::text
       or pg_catalog.upper(%(path)s::text) = 'INBOX' and pg_catalog.upper(path) = 'INBOX')
order by tracked desc, id
limit 1

-- part: message_columns
-- The fields of a MessageSummary, but for the path of its folder.
id, account_id, folder_id, uidvalidity, uid, {{header_columns}}, provider_message_id, provider_thread_id, labels,
internal_date, size_bytes, flags, is_seen, is_flagged, is_answered, is_draft, modseq, has_attachments, body_fetched_at,
parse_errors, deleted_at, deleted_reason, created_at, updated_at

-- part: message_filter
-- The account, the position and the filters of list_messages, except the sender; a filter that is null matches
-- everything.
account_id = (select %(account_id)s::bigint)
       and (internal_date, id) < (%(before)s::timestamptz, %(before_id)s::bigint)
       and (%(since)s::timestamptz is null or internal_date >= %(since)s)
       and (%(folder_id)s::bigint is null or folder_id between %(folder_id)s and %(folder_id)s)
       and (%(recipient)s::text is null
            or %(recipient)s = any (to_emails) or %(recipient)s = any (cc_emails) or %(recipient)s = any (bcc_emails))
       and (%(subject)s::text is null or subject ilike %(subject)s)
       and (%(seen)s::boolean is null or is_seen = %(seen)s)
       and (%(flagged)s::boolean is null or is_flagged = %(flagged)s)
       and (%(has_attachments)s::boolean is null or has_attachments = %(has_attachments)s)

-- name: list_messages
-- Newest first, after a position. Live rows, tombstones and messages with several authors have separate indexes, so one
-- page of each is read in order, and these are merged. The first two parts find a sender as first author, the third part
-- as another one.
select {{m.message_columns}}, f.path as folder
from (
    (select {{message_columns}} from messages
     where deleted_at is null and (%(sender)s::text is null or from_email = %(sender)s) and {{message_filter}}
     -- only the folder's index has this order; a sender narrows the list down further than a folder
     order by case when %(folder_id)s::bigint is null or %(sender)s::text is not null then 0::bigint else folder_id end,
              internal_date desc, id desc
     limit %(count)s)
    union all
    (select {{message_columns}} from messages
     where deleted_at is not null and %(include_deleted)s::boolean
       and (%(sender)s::text is null or from_email = %(sender)s) and {{message_filter}}
     order by internal_date desc, id desc
     limit %(count)s)
    union all
    (select {{message_columns}} from messages
     where %(sender)s::text is not null and from_emails[2] is not null and from_email <> %(sender)s
       and %(sender)s = any (from_emails) and {{message_filter}}
       -- not "deleted_at is null", or the planner might use an index of live rows
       and (deleted_at is not null) <= %(include_deleted)s::boolean
     order by internal_date desc, id desc
     limit %(count)s)
) m
cross join lateral (select path from folders where account_id = m.account_id and id = m.folder_id limit 1) f
order by m.internal_date desc, m.id desc
limit %(count)s

-- name: read_message
-- One message, even a tombstone, with its attachments.
select {{m.message_columns}}, f.path as folder,
       m.mime_structure,
       {{attachments_of_m}}
from (select * from messages where id = %(message_id)s limit 1) m
join folders f on f.account_id = m.account_id and f.id = m.folder_id
join accounts a on a.id = m.account_id
where m.account_id = %(account_id)s and a.deleting_at is null

-- name: list_runs_before
-- Newest first, after a position.
select id, account_id, trigger, status, worker, started_at, finished_at, folders, messages_new, flags_changed,
       messages_deleted, imap_commands, bytes_in, error_code, error_message
from sync_runs
where account_id = %(account_id)s and (started_at, id) < (%(before)s::timestamptz, %(before_id)s::bigint)
order by started_at desc, id desc
limit %(count)s

-- name: list_events_after
-- Settled events after a position, oldest first. Ordered by e.xid, since xid alone would mean the text, in which 10
-- comes before 9.
select e.account_id, e.xid::text, e.seq, e.type, e.folder_id, e.message_pk, e.data, e.occurred_at
from sync_events_settled e
where (e.xid, e.seq) > (%(xid)s::text::xid8, %(seq)s::bigint)
order by e.xid, e.seq
limit %(count)s

-- name: list_account_events_after
-- The same for one account. With these bounds only the account's index has the order; with the other index, a reader of
-- a quiet account would read the events of all accounts.
select e.account_id, e.xid::text, e.seq, e.type, e.folder_id, e.message_pk, e.data, e.occurred_at
from sync_events_settled e
where (e.account_id, e.xid, e.seq) > (%(account_id)s::bigint, %(xid)s::text::xid8, %(seq)s::bigint)
  and e.account_id <= %(account_id)s
order by e.account_id, e.xid, e.seq
limit %(count)s

-- name: feed_horizon
-- Events with a smaller xid than the first are settled; no event has an xid of the second or later yet.
select pg_catalog.pg_snapshot_xmin(pg_current_snapshot())::text, pg_catalog.pg_snapshot_xmax(pg_current_snapshot())::text
