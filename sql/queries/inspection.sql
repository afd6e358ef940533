-- name: check_account
-- What account_status leaves out.
select a.username, a.imap_host, a.imap_port, a.imap_security, a.sync_since, a.sync_window_days, a.created_at,
       case when a.paused_at is null and a.sync_state = 'healthy' and not is_stale(a.sync_state, a.healthy_until) then a.healthy_until end
           as healthy_until,
       a.priority_synced_at, a.overall_synced_at, a.next_discovery_at, a.consecutive_successes,
       a.capabilities, a.currently_syncing as marked_syncing,
       (select count(*) from account_locks l where l.account_id = a.id and not l.granted) as lock_waiters,
       (select count(*) from messages
        where account_id = a.id and deleted_at is null and lacks_content(parse_errors)) as unreadable_messages,
       clock_timestamp() as now
from accounts a
where a.id = %(account_id)s

-- name: last_failure
-- The newest run that failed or had an error, however old.
select started_at, finished_at, trigger, status, worker, error_code, error_message
from sync_runs
where account_id = %(account_id)s and (error_code is not null or status = 'failed')
order by started_at desc, id desc limit 1
