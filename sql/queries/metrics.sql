-- name: add_to_counters
-- In the order of the key, so that two processes cannot deadlock.
insert into metric_counters as c (name, labels, value)
select name, labels, value
from pg_catalog.jsonb_to_recordset(%(sums)s) as s(name text, labels jsonb, value double precision)
order by name, labels
on conflict (name, labels) do update set value = c.value + excluded.value

-- name: read_counters
select name, labels, value from metric_counters order by name, labels

-- name: read_account_figures
select account_id, sync_state as state, priority_sync_lag_seconds as priority_lag, overall_sync_lag_seconds as overall_lag,
       messages, backfill_remaining, push
from account_status
where deleting_at is null
order by account_id

-- name: read_state_figures
select sync_state as state, count(*)::integer as accounts,
       pg_catalog.max(priority_sync_lag_seconds) filter (where sync_state <> 'paused') as priority_lag,
       pg_catalog.max(overall_sync_lag_seconds) filter (where sync_state <> 'paused') as overall_lag
from account_status
where deleting_at is null
group by sync_state
order by sync_state

-- name: only_read
-- From now on Postgres rejects every write of this connection.
select pg_catalog.set_config('default_transaction_read_only', 'on', false)
