-- name: reserve_account_slot
-- Creations of accounts wait for each other here, so that the count and the insert that follows are free of races.
select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext(current_schema()::text), 0)

-- name: count_accounts
select count(*) from accounts where deleting_at is null

-- name: insert_account
-- Returns no row if the address exists.
insert into accounts (email, display_name, provider, imap_host, imap_port, imap_security, username,
                      sync_since, sync_window_days, mirrored_since, capabilities, metadata)
values (%(email)s, %(display_name)s, %(provider)s, %(host)s, %(port)s, %(security)s, %(username)s,
        %(sync_since)s::timestamptz, %(sync_window_days)s::integer,
        window_start(%(sync_since)s::timestamptz, %(sync_window_days)s::integer),
        %(capabilities)s, %(metadata)s::jsonb)
on conflict (email) do nothing
returning id

-- name: seal_credential
-- A password, or the tokens of an OAuth2 client, that a person has just entered or consented to. What is known of
-- earlier tokens is cleared.
with described as (
    update accounts
    set auth_method = %(auth_method)s, oauth_provider = %(provider)s, oauth_grant = %(grant)s,
        token_expires_at = %(expires_at)s, token_renewed_at = null, token_refused_at = null, token_refusal = null
    where id = %(account_id)s
)
insert into account_credentials (account_id, key_id, ciphertext, oauth_client_id)
values (%(account_id)s, %(key_id)s, %(ciphertext)s, %(client_id)s)
on conflict (account_id) do update
set key_id = excluded.key_id, ciphertext = excluded.ciphertext, oauth_client_id = excluded.oauth_client_id,
    rotated_at = now(), authorized_at = now()

-- name: select_credentials
select a.id, a.email, a.imap_host, a.imap_port, a.imap_security, a.username,
       coalesce(c.key_id, '') as key_id, coalesce(c.ciphertext, '') as ciphertext,
       a.oauth_provider, a.oauth_grant, c.oauth_client_id, c.authorized_at
from accounts a left join account_credentials c on c.account_id = a.id
where a.deleting_at is null and (%(account_id)s::bigint is null or a.id = %(account_id)s)
order by a.id

-- name: account_exists
-- Includes accounts that are being deleted: their address stays in use until their rows are gone.
select exists (select from accounts where email = %(email)s)

-- name: find_account_to_remove
-- Includes accounts whose removal has begun.
select id from accounts where email = %(email)s

-- name: forget_rejected_password
-- A new password or consent is stored: the rejections of the old one no longer hold the account back.
with before as (
    select id, paused_at, sync_state as state, sync_state_reason as reason
    from accounts where id = %(account_id)s and sync_state_reason in ('auth_failed', 'key_mismatch', 'not_connected')
    for no key update
), announced as (
    insert into sync_events (account_id, type, data)
    select id, 'account.state_changed',
           pg_catalog.jsonb_build_object('old', state, 'old_reason', reason, 'new', 'initial_sync', 'new_reason', null)
    from before where paused_at is null
)
update accounts a
set sync_state = 'initial_sync', sync_state_reason = null, sync_state_message = null, sync_state_since = now(),
    healthy_until = null, failing_since = null, consecutive_failures = 0, backoff_until = null, next_sync_at = now()
from before b
where a.id = b.id

-- name: find_account
select id from accounts where email = %(email)s and deleting_at is null

-- name: wake_worker
select pg_catalog.pg_notify('mailsync_wake', %(account_id)s::text)

-- name: make_due
-- Clears timers, because a person asked, but not the backoff after rejected passwords. An account that was tried
-- hourly and given up is tried for another week.
update accounts
set next_sync_at = now(),
    backoff_until = case when sync_state_reason = 'auth_failed' then backoff_until end,
    sync_state_since = case when sync_state_reason in ('stuck', 'not_connected')
                                 and is_given_up(sync_state, sync_state_reason, sync_state_since)
                            then now() else sync_state_since end
where id = %(account_id)s

-- part: shown_state
-- State and reason as account_status shows them, but for a pause and a lock that another program holds.
case when is_stale(sync_state, healthy_until) then 'degraded' else sync_state end as state,
case when is_stale(sync_state, healthy_until) then 'stale' else sync_state_reason end as reason

-- name: pause_account
-- The event contains the state that account_status showed before.
with before as (
    select id, paused_at, {{shown_state}}
    from accounts where id = %(account_id)s
    for no key update
), announced as (
    insert into sync_events (account_id, type, data)
    select id, 'account.state_changed',
           pg_catalog.jsonb_build_object('old', state, 'old_reason', reason, 'new', 'paused',
                                         'new_reason', nullif(%(reason)s::text, ''))
    from before where paused_at is null
)
update accounts a
set paused_at = coalesce(a.paused_at, now()),
    -- without a reason, an earlier one stays; an empty reason clears it
    paused_reason = case when %(reason)s::text is null then a.paused_reason else nullif(%(reason)s::text, '') end,
    {{not_parked}},
    updated_at = now()
from before b
where a.id = b.id

-- name: resume_account
-- Clears timers as make_due does. The event contains the state that account_status shows from now on.
with before as (
    select id, paused_at, paused_reason, {{shown_state}}
    from accounts where id = %(account_id)s
    for no key update
), announced as (
    insert into sync_events (account_id, type, data)
    select id, 'account.state_changed',
           pg_catalog.jsonb_build_object('old', 'paused', 'old_reason', paused_reason, 'new', state, 'new_reason', reason)
    from before where paused_at is not null
)
update accounts a
set paused_at = null, paused_reason = null, next_sync_at = now(), updated_at = now(),
    backoff_until = case when a.sync_state_reason = 'auth_failed' then a.backoff_until end,
    sync_state_since = case when a.sync_state_reason in ('stuck', 'not_connected')
                                 and is_given_up(a.sync_state, a.sync_state_reason, a.sync_state_since)
                            then now() else a.sync_state_since end
from before b
where a.id = b.id

-- name: lock_account_settings
-- Locks the settings until the transaction ends. Metadata is replaced as a whole and need not be read.
select email, imap_host, imap_port, imap_security, username, display_name, provider, sync_since, sync_window_days,
       capabilities
from accounts
where id = %(account_id)s and deleting_at is null
for no key update

-- name: save_account_settings
-- A changed window makes the account due: the next turn moves how far back the mirror reaches.
update accounts
set imap_host = %(host)s, imap_port = %(port)s, imap_security = %(security)s, username = %(username)s,
    display_name = %(display_name)s, provider = %(provider)s, capabilities = %(capabilities)s,
    next_sync_at = case when (sync_since, sync_window_days)
                             is distinct from (%(sync_since)s::timestamptz, %(sync_window_days)s::integer)
                        then now() else next_sync_at end,
    sync_since = %(sync_since)s::timestamptz, sync_window_days = %(sync_window_days)s::integer,
    metadata = coalesce(%(metadata)s::jsonb, metadata),
    updated_at = now()
where id = %(account_id)s

-- name: mark_account_deleting
update accounts set deleting_at = coalesce(deleting_at, now()), updated_at = now()
where id = %(account_id)s
returning email, deleting_at

-- name: reset_account
-- Back to the state of a new account, without failures and timers. The rows stay.
with before as (
    select id, paused_at, {{shown_state}}
    from accounts where id = %(account_id)s
    for no key update
), announced as (
    insert into sync_events (account_id, type, data)
    select id, 'account.state_changed',
           pg_catalog.jsonb_build_object('old', state, 'old_reason', reason, 'new', 'initial_sync', 'new_reason', null)
    from before
    where paused_at is null and (state, reason) is distinct from ('initial_sync', null)
), pardoned as (
    update folders set uidvalidity_resets = '{}'
    where account_id = %(account_id)s and pg_catalog.cardinality(uidvalidity_resets) > 0
)
update accounts a
set sync_state = 'initial_sync', sync_state_reason = null, sync_state_message = null, sync_state_since = now(),
    healthy_until = null, failing_since = null, consecutive_failures = 0, consecutive_successes = 0, backoff_until = null,
    currently_syncing = false, sync_started_by = null, next_sync_at = now(), next_discovery_at = now(),
    {{not_parked}},
    turn_kind = null, turn_step = null, lost_turns = '{}', updated_at = now()
from before b
where a.id = b.id

-- name: reset_folder_cursors
-- Makes everything be compared and fetched again; the upsert finds existing rows.
with forgotten as (
    delete from fetch_attempts where account_id = %(account_id)s
)
update folders
set status = case when status = 'missing' then status else 'pending' end,
    {{cleared_cursors}},
    next_flag_scan_at = null, next_reconcile_at = null, last_reconciled_at = null, last_reconcile_clean = null,
    last_error = null, retry_at = null, updated_at = now()
where account_id = %(account_id)s

-- name: emit_event
insert into sync_events (account_id, type, folder_id, data)
values (%(account_id)s, %(type)s, %(folder_id)s, %(data)s)

-- name: delete_account_messages
-- One chunk; the caller repeats it until no rows are left.
delete from messages
where ctid = any (array(
    select ctid from messages
    -- only the primary key has this order
    where account_id between %(account_id)s and %(account_id)s
    order by account_id, id
    limit %(limit)s))

-- name: delete_account_runs
delete from sync_runs
where ctid = any (array(
    select ctid from sync_runs where account_id = %(account_id)s order by id limit %(limit)s))

-- name: delete_account_events
delete from sync_events
where ctid = any (array(
    select ctid from sync_events
    where account_id = %(account_id)s and type <> 'account.deleted'
    order by seq
    limit %(limit)s))

-- name: delete_account_folders
delete from folders where account_id = %(account_id)s

-- name: delete_account_credentials
with consents as (
    delete from oauth_authorizations where authorized_account_id = %(account_id)s
)
delete from account_credentials where account_id = %(account_id)s

-- name: delete_account
delete from accounts where id = %(account_id)s and deleting_at is not null

-- name: list_accounts
-- Status and settings, by id.
select s.account_id, s.email, s.display_name, s.provider, a.imap_host, a.imap_port, a.imap_security, a.username,
       a.sync_since, a.sync_window_days, s.sync_state, s.sync_state_reason, s.sync_state_message, s.sync_state_since,
       s.currently_syncing, s.sync_started_by, s.heartbeat_at, s.next_sync_at, s.backoff_until, s.consecutive_failures,
       s.last_sync_started_at, s.last_sync_finished_at, s.last_success_at, a.priority_synced_at, a.overall_synced_at,
       s.priority_sync_lag_seconds, s.overall_sync_lag_seconds, s.paused_at, a.paused_reason, s.folders,
       s.folders_complete, s.messages, s.unseen, s.backfill_remaining, s.push, a.auth_method, a.oauth_provider,
       a.oauth_grant, a.token_expires_at, a.token_renewed_at, a.token_refused_at, a.token_refusal, a.capabilities,
       a.metadata, a.created_at, a.updated_at
from account_status s
join accounts a on a.id = s.account_id
where s.deleting_at is null
  and s.account_id > %(after)s::bigint
  and (%(account_id)s::bigint is null or s.account_id = %(account_id)s)
  and (%(email)s::text is null or s.email = %(email)s)
  and (%(state)s::text is null or s.sync_state = %(state)s)
order by s.account_id
limit %(limit)s::integer

-- name: find_removal
-- Includes an account whose removal has begun, until its rows are gone.
select email, deleting_at from accounts where id = %(account_id)s
