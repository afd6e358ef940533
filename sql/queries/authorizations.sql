-- name: insert_authorization
insert into oauth_authorizations
    (id, provider, oauth_client_id, email, authorized_account_id, return_url, state_hash, key_id, verifier, expires_at)
values (%(id)s, %(provider)s, %(client_id)s, %(email)s, %(account_id)s, %(return_url)s, %(state_hash)s, %(key_id)s,
        %(verifier)s, now() + pg_catalog.make_interval(secs => %(seconds)s))
returning id, expires_at

-- name: is_authorization_pending
select exists (select from oauth_authorizations where state_hash = %(state_hash)s and status = 'pending')

-- name: claim_authorization
-- Of several callbacks with the same state, one gets the row: the others find it changed. What the browser brought too
-- late ends here.
update oauth_authorizations
set status = case when expires_at > now() then 'exchanging' else 'failed' end,
    error_code = case when expires_at > now() then null else 'expired' end,
    error_message = case when expires_at > now() then null else %(too_late)s end,
    verifier = case when expires_at > now() then verifier else '' end,
    finished_at = case when expires_at > now() then null else now() end
where state_hash = %(state_hash)s and status = 'pending'
returning id, provider, oauth_client_id, email, authorized_account_id as account_id, return_url, key_id, verifier,
          status = 'failed' as is_late

-- name: finish_authorization
update oauth_authorizations
set status = %(status)s, error_code = %(error_code)s, error_message = %(error_message)s,
    authorized_account_id = coalesce(%(account_id)s, authorized_account_id), email = coalesce(%(email)s, email),
    verifier = '', finished_at = now()
where id = %(id)s and status = 'exchanging'

-- name: select_authorization
-- A browser that never came back, and a process that ended during the exchange, write nothing.
select id, provider, email, authorized_account_id as account_id, created_at, expires_at, finished_at, s.status,
       case when s.status = 'expired' then coalesce(error_code, 'expired')
            when s.status = 'failed' then coalesce(error_code, 'interrupted') end as error_code,
       error_message
from oauth_authorizations
cross join lateral (
    select case when status = 'pending' and expires_at <= now() then 'expired'
                when status = 'exchanging' and expires_at <= now() - interval '5 minutes' then 'failed'
                else status end as status
) s
where id = %(id)s

-- name: purge_authorizations
-- One chunk of those that are older than a week.
delete from oauth_authorizations
where ctid = any (array(
    select ctid from oauth_authorizations
    where created_at < now() - interval '7 days'
    order by created_at
    limit %(limit)s))
