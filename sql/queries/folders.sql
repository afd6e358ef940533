-- name: release_names
-- First step of renaming, and the end of a folder whose name another mailbox took. No mailbox can have such a name,
-- because names cannot contain NUL.
update folders
set wire_name = wire_name || '\x00'::bytea || pg_catalog.convert_to(id::text, 'UTF8')
where account_id = %(account_id)s and id = any(%(ids)s::bigint[])

-- name: rename_folders
-- Second step: the names are free now, whichever folder had them. Role and priority follow with upsert_folders.
with renamed as (
    select f.id, f.path as old_path, r.path, pg_catalog.decode(r.wire_name, 'hex') as wire_name
    from pg_catalog.jsonb_to_recordset(%(renamed)s) as r(id bigint, wire_name text, path text)
    join folders f on f.account_id = %(account_id)s and f.id = r.id
), announced as (
    insert into sync_events (account_id, type, folder_id, data)
    select %(account_id)s, 'folder.renamed', id, pg_catalog.jsonb_build_object('old', old_path, 'new', path) from renamed
)
update folders f
set wire_name = r.wire_name, path = r.path, missing_since = null,
    status = case when f.status = 'missing' then 'pending' else f.status end,
    last_error = null, retry_at = null, updated_at = now()
from renamed r
where f.account_id = %(account_id)s and f.id = r.id

-- name: upsert_folders
-- Stores what LIST showed; writes only rows that differ. A person's choice takes precedence over all rules, but INBOX
-- is always tracked, and a folder that cannot hold messages never is. A folder of another namespace stays as it is. A
-- mailbox that is only a name counts as not listed.
with listed as (
    select pg_catalog.decode(l.wire_name, 'hex') as wire_name, l.path, l.delimiter, l.role, l.sync_priority, l.excluded_reason,
           l.mailbox_id
    from pg_catalog.jsonb_to_recordset(%(listed)s) as l(
        wire_name text, path text, delimiter text, role text, sync_priority integer, excluded_reason text,
        mailbox_id text)
), before as (
    select id, missing_since is not null as missing from folders where account_id = %(account_id)s
), stored as (
    insert into folders as f (account_id, wire_name, path, delimiter, role, sync_priority, excluded_reason, mailbox_id,
                              tracked)
    select %(account_id)s, wire_name, path, delimiter, role, sync_priority, excluded_reason, mailbox_id,
           excluded_reason is null
    from listed order by sync_priority, wire_name
    on conflict (account_id, wire_name) do update
    set path = excluded.path, delimiter = excluded.delimiter, role = excluded.role,
        sync_priority = excluded.sync_priority, excluded_reason = excluded.excluded_reason,
        mailbox_id = coalesce(excluded.mailbox_id, f.mailbox_id),
        tracked = case when excluded.role = 'inbox' then true
                       when excluded.excluded_reason in ('noselect', 'nonexistent') then false
                       when excluded.excluded_reason = 'other_namespace' then coalesce(f.tracked_by_user, f.tracked)
                       else coalesce(f.tracked_by_user, excluded.tracked) end,
        missing_since = case when excluded.excluded_reason in ('noselect', 'nonexistent')
                                  and (f.missing_since is not null or f.live_count > 0 or f.last_uid > 0)
                             then coalesce(f.missing_since, now()) end,
        status = case when f.status = 'missing' and coalesce(excluded.excluded_reason, '') not in ('noselect', 'nonexistent')
                      then 'pending' else f.status end,
        last_error = case when f.missing_since is null and excluded.excluded_reason is null then f.last_error end,
        retry_at = case when f.missing_since is null and excluded.excluded_reason is null then f.retry_at end,
        updated_at = now()
    where (f.path, f.delimiter, f.role, f.sync_priority, f.excluded_reason, f.mailbox_id, f.tracked,
           f.missing_since is not null)
        is distinct from (
           excluded.path, excluded.delimiter, excluded.role, excluded.sync_priority, excluded.excluded_reason,
           coalesce(excluded.mailbox_id, f.mailbox_id),
           case when excluded.role = 'inbox' then true
                when excluded.excluded_reason in ('noselect', 'nonexistent') then false
                when excluded.excluded_reason = 'other_namespace' then coalesce(f.tracked_by_user, f.tracked)
                else coalesce(f.tracked_by_user, excluded.tracked) end,
           coalesce(excluded.excluded_reason, '') in ('noselect', 'nonexistent')
               and (f.missing_since is not null or f.live_count > 0 or f.last_uid > 0))
    returning f.id, f.path, f.role, f.tracked, f.missing_since is not null as missing, f.xmax = 0 as created
)
insert into sync_events (account_id, type, folder_id, data)
select %(account_id)s,
       case when s.created then 'folder.discovered' when s.missing then 'folder.missing' else 'folder.restored' end,
       s.id, pg_catalog.jsonb_build_object('path', s.path, 'role', s.role, 'tracked', s.tracked)
from stored s left join before b on b.id = s.id
where s.created or s.missing <> b.missing

-- name: mark_unlisted_folders
-- Begins the grace period of folders that are no longer listed. No message is tombstoned yet.
with gone as (
    update folders
    set missing_since = now(), last_error = null, retry_at = null, updated_at = now(),
        -- a folder that is gone does not count as one too many
        tracked = tracked or excluded_reason is not distinct from 'too_many_folders',
        excluded_reason = nullif(excluded_reason, 'too_many_folders')
    where account_id = %(account_id)s
      and missing_since is null
      and pg_catalog.upper(pg_catalog.encode(wire_name, 'escape')) <> 'INBOX'
      -- hashed, which <> all would not be
      and wire_name not in (select pg_catalog.decode(name, 'hex') from pg_catalog.jsonb_array_elements_text(%(listed)s) as name)
    returning id, path, role, tracked
)
insert into sync_events (account_id, type, folder_id, data)
select %(account_id)s, 'folder.missing', id, pg_catalog.jsonb_build_object('path', path, 'role', role, 'tracked', tracked)
from gone

-- name: restart_grace
-- For a folder that LIST left out, but that could be selected by name.
update folders set missing_since = now(), updated_at = now()
where account_id = %(account_id)s and id = %(folder_id)s

-- name: newest_states
-- The newest live rows of several folders, by which a folder is recognised after a rename.
select m.folder_id, m.uid, m.internal_date, m.size_bytes
from folders f
cross join lateral (
    select folder_id, uid, internal_date, size_bytes
    from messages
    where account_id = f.account_id and folder_id = f.id and uidvalidity = f.uidvalidity
      and deleted_at is null and not lacks_content(parse_errors)
    order by uid desc
    limit %(count)s
) m
where f.account_id = %(account_id)s and f.id = any(%(ids)s::bigint[])

-- part: folder_columns
-- The fields of a FolderState. Its id is called folder_id, because the rows of begin_turn also have an account's id.
account_id, wire_name, path, delimiter, mailbox_id, role, tracked, tracked_by_user, excluded_reason, sync_priority,
status, uidvalidity, last_uid, uidnext, server_messages, server_unseen, server_modseq, highest_modseq, live_count,
live_unseen, initial_target_uid, initial_oldest_uid, initial_done_at, last_synced_at, next_flag_scan_at,
next_reconcile_at, last_reconciled_at, last_reconcile_clean, suspect_deletion, suspect_deletion_at,
uidvalidity_resets, missing_since, last_error, retry_at, polled_at, initial_remaining,
limitation, limitation_message, view_limit

-- name: select_folders
select id as folder_id, {{folder_columns}}
from folders
where account_id = %(account_id)s and (%(folder_id)s::bigint is null or id = %(folder_id)s)
  and (%(after_id)s::bigint is null or (sync_priority, id) > (%(after_priority)s::integer, %(after_id)s::bigint))
order by sync_priority, id
limit %(limit)s::integer

-- name: note_polled
update folders set polled_at = %(at)s where account_id = %(account_id)s and id = any(%(ids)s::bigint[])

-- name: choose_folder
-- A person's choice for one folder, by id or path.
update folders
set tracked_by_user = %(tracked)s, tracked = %(tracked)s, updated_at = now()
where account_id = %(account_id)s and (id = %(folder_id)s::bigint or path = %(path)s::text)
returning id, role

-- name: note_sizes
-- Sizes of folders whose first sync has not begun, for the number of messages that remain.
update folders f
set server_messages = s.messages
from pg_catalog.jsonb_to_recordset(%(sizes)s) as s(id bigint, messages bigint)
where f.account_id = %(account_id)s and f.id = s.id and f.status = 'pending'

-- name: begin_initial
-- Messages up to the target UID are backfilled; those above it are new mail. A UIDVALIDITY that the server left out (0)
-- does not replace a known one.
update folders
set status = 'initial', uidvalidity = case when %(uidvalidity)s > 0 then %(uidvalidity)s else uidvalidity end,
    initial_target_uid = %(target)s, last_uid = %(target)s, initial_oldest_uid = %(target)s::bigint + 1,
    initial_remaining = %(remaining)s, highest_modseq = %(modseq)s, server_messages = %(messages)s, uidnext = %(uidnext)s,
    server_modseq = %(modseq)s, server_unseen = null,
    mailbox_id = coalesce(%(mailbox_id)s, mailbox_id), last_error = null, retry_at = null, updated_at = now()
where account_id = %(account_id)s and id = %(folder_id)s

-- name: rearm_folders
-- Backfills folders again from the top: messages without a live row are fetched, others are skipped.
update folders
set status = 'initial', initial_target_uid = last_uid, initial_oldest_uid = last_uid + 1, initial_remaining = null,
    initial_done_at = null, updated_at = now()
where account_id = %(account_id)s and (%(folder_id)s::bigint is null or id = %(folder_id)s)
  and status in ('active', 'initial') and last_uid > 0

-- name: advance_initial
update folders
set initial_oldest_uid = %(oldest)s, initial_remaining = greatest(0, initial_remaining - %(done)s), last_error = null,
    retry_at = null
where account_id = %(account_id)s and id = %(folder_id)s

-- name: note_remaining
update folders set initial_remaining = %(remaining)s
where account_id = %(account_id)s and id = %(folder_id)s and initial_remaining is distinct from %(remaining)s

-- name: finish_initial
update folders
set status = 'active', initial_remaining = null, initial_done_at = now(), last_synced_at = now(), next_flag_scan_at = now(),
    next_reconcile_at = now(), last_reconcile_clean = null, last_error = null, retry_at = null, updated_at = now()
where account_id = %(account_id)s and id = %(folder_id)s

-- name: advance_new
update folders
set last_uid = greatest(last_uid, %(last_uid)s)
where account_id = %(account_id)s and id = %(folder_id)s

-- name: save_compared
-- Stores the server's status as seen before the work, so that changes made meanwhile are found next time.
update folders
set uidnext = %(uidnext)s, server_messages = %(messages)s,
    server_unseen = coalesce(%(unseen)s, server_unseen), server_modseq = %(modseq)s,
    mailbox_id = coalesce(%(mailbox_id)s, mailbox_id),
    highest_modseq = coalesce(%(highest_modseq)s, highest_modseq),
    next_flag_scan_at = coalesce(%(next_flag_scan_at)s, next_flag_scan_at),
    last_synced_at = clock_timestamp(), last_error = null, retry_at = null
where account_id = %(account_id)s and id = %(folder_id)s

-- name: save_reconciled
-- Writes an event if the reconcile changed anything, or if its result differs from the last one.
with announced as (
    insert into sync_events (account_id, type, folder_id, data)
    select account_id, 'folder.reconciled', id,
           pg_catalog.jsonb_build_object('clean', %(clean)s::boolean, 'missing', %(missing)s::bigint, 'gone', %(gone)s::bigint)
    from folders
    where account_id = %(account_id)s and id = %(folder_id)s
      and (%(missing)s::bigint + %(gone)s::bigint > 0 or last_reconcile_clean is distinct from %(clean)s::boolean)
)
update folders
set next_reconcile_at = %(next_reconcile_at)s, last_reconciled_at = clock_timestamp(),
    last_reconcile_clean = %(clean)s::boolean, suspect_deletion = %(suspect)s,
    suspect_deletion_at = case when %(suspect)s::text is not null then clock_timestamp() end
where account_id = %(account_id)s and id = %(folder_id)s

-- name: suspect_deletion
-- The deletion is too large to be believed at once; the next turn looks again.
update folders
set suspect_deletion = %(suspect)s, suspect_deletion_at = clock_timestamp(), next_reconcile_at = clock_timestamp(),
    last_reconcile_clean = false
where account_id = %(account_id)s and id = %(folder_id)s

-- name: recount_folder
-- Corrects the stored counts from the rows.
update folders f
set live_count = c.live, live_unseen = c.unseen
from (
    select count(*) as live, count(*) filter (where not is_seen) as unseen
    from (
        select is_seen from messages
        where account_id = %(account_id)s and folder_id between %(folder_id)s and %(folder_id)s and deleted_at is null
        order by folder_id, internal_date desc, id desc
        offset 0
    ) walked
) c
where f.account_id = %(account_id)s and f.id = %(folder_id)s
  and (f.live_count, f.live_unseen) is distinct from (c.live, c.unseen)

-- name: note_limitation
update folders
set limitation = %(limitation)s, limitation_message = %(message)s, view_limit = %(view_limit)s, updated_at = now()
where account_id = %(account_id)s and id = %(folder_id)s

-- name: note_folder_error
update folders
set last_error = %(error)s, retry_at = %(retry_at)s, updated_at = now()
where account_id = %(account_id)s and id = %(folder_id)s

-- name: forget_retries
-- A person asked: failed folders are tried at once.
update folders set retry_at = now() where account_id = %(account_id)s and retry_at > now()

-- part: cleared_cursors
-- Nothing is mirrored yet, and nothing was compared.
last_uid = 0, highest_modseq = 0, uidnext = null, server_messages = null, server_unseen = null, server_modseq = null,
    initial_target_uid = null, initial_oldest_uid = null, initial_remaining = null, initial_done_at = null,
    suspect_deletion = null, suspect_deletion_at = null, limitation = null, limitation_message = null, view_limit = null

-- name: restart_folder
-- The new UIDVALIDITY and the cleared cursors are committed before the old rows are tombstoned.
with forgotten as (
    delete from fetch_attempts where account_id = %(account_id)s and folder_id = %(folder_id)s
), announced as (
    insert into sync_events (account_id, type, folder_id, data)
    select account_id, 'folder.uidvalidity_reset', id,
           pg_catalog.jsonb_build_object('old', uidvalidity, 'new', %(uidvalidity)s::bigint)
    from folders where account_id = %(account_id)s and id = %(folder_id)s
)
update folders
set status = 'pending', uidvalidity = %(uidvalidity)s, {{cleared_cursors}},
    uidvalidity_resets = pg_catalog.array_append(
        array(select r from pg_catalog.unnest(uidvalidity_resets) r where r > now() - interval '24 hours'), now()),
    updated_at = now()
where account_id = %(account_id)s and id = %(folder_id)s

-- name: clear_folder_cursors
-- For a folder that is untracked or missing and will be emptied. If it comes back, its backfill begins from the start.
with forgotten as (
    delete from fetch_attempts where account_id = %(account_id)s and folder_id = %(folder_id)s
)
update folders
set status = case when %(status)s::text is null then 'pending' else %(status)s end,
    {{cleared_cursors}}, last_error = null, retry_at = null, updated_at = now()
where account_id = %(account_id)s and id = %(folder_id)s
