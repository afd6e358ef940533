-- name: insert_authorization
-- Also deletes what is older than a week, a few rows at a time.
with forgotten as (
    delete from oauth_authorizations
    where id = any (array(
        select id from oauth_authorizations where created_at < now() - interval '7 days'
        order by created_at limit 100))
)
insert into oauth_authorizations (id, provider, oauth_client_id, email, authorized_account_id, return_url, state_hash,
                                  key_id, verifier, expires_at)
values (%(id)s, %(provider)s, %(client_id)s, %(email)s, %(account_id)s, %(return_url)s, %(state_hash)s,
        %(key_id)s, %(verifier)s, now() + pg_catalog.make_interval(secs => %(seconds)s))
returning expires_at

-- name: claim_authorization
-- The state is good for one callback: of two at once, one gets the row.
update oauth_authorizations
set status = 'exchanging'
where state_hash = %(state_hash)s and status = 'pending' and expires_at > now()
returning id, provider, oauth_client_id as client_id, email, authorized_account_id as account_id, return_url, key_id,
          verifier

-- name: finish_authorization
update oauth_authorizations
set status = %(status)s, authorized_account_id = coalesce(%(account_id)s, authorized_account_id),
    error_code = %(error_code)s, error_message = %(error_message)s, finished_at = now(),
    -- nobody needs the verifier any more
    key_id = '', verifier = ''
where id = %(id)s and status = 'exchanging'

-- name: find_authorization
-- One whose process ended during the callback, or that nobody answered in time, has failed.
select id, provider, email, authorized_account_id as account_id, created_at, expires_at, finished_at,
       case when is_over then 'failed' when status = 'exchanging' then 'pending' else status end as status,
       case when is_over then 'expired' else error_code end as error_code,
       case when is_over then 'nobody has consented in time; create another authorization'
            else error_message end as error_message
from (
    select *, status in ('pending', 'exchanging') and expires_at + interval '2 minutes' < now() as is_over
    from oauth_authorizations
    where id = %(id)s
) a
