-- name: lock_credentials
-- Waits for passwords that are being set, and makes later changes wait. New accounts are not affected.
select account_id from account_credentials order by account_id for update

-- name: reseal_credentials
update account_credentials c
set key_id = %(key_id)s, ciphertext = pg_catalog.decode(s.ciphertext, 'hex'), rotated_at = now()
from pg_catalog.jsonb_to_recordset(%(sealed)s) as s(account_id bigint, ciphertext text)
where c.account_id = s.account_id
