-- name: lock_credentials
-- Waits for passwords that are being set, and makes later changes wait. New accounts are not affected.
select account_id from account_credentials order by account_id for update

-- name: reseal_credentials
update account_credentials c
set key_id = %(key_id)s, ciphertext = pg_catalog.decode(s.ciphertext, 'hex'), rotated_at = now()
from pg_catalog.jsonb_to_recordset(%(sealed)s) as s(account_id bigint, ciphertext text)
where c.account_id = s.account_id

-- name: save_renewed_tokens
-- The process holds the account's lock. No row: the account has no tokens any more.
with saved as (
    update account_credentials
    set key_id = %(key_id)s, ciphertext = %(ciphertext)s, rotated_at = now()
    where account_id = %(account_id)s
    returning account_id
)
update accounts a
set token_expires_at = %(expires_at)s, token_renewed_at = clock_timestamp()
from saved s
where a.id = s.account_id

-- name: note_token_refusal
update accounts set token_refused_at = clock_timestamp(), token_refusal = %(message)s
where id = %(account_id)s
