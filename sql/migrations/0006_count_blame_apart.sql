-- Blame apart from care: only a message that was asked for alone, and not given, is to blame for that. And when rows
-- without content are asked for again. The index is built while writes to messages wait.

alter table fetch_attempts
    add column tries integer not null default 0,
    add column failures integer not null default 0,
    add column retry_at timestamptz;
comment on table fetch_attempts is 'What is being fetched, noted before the fetch: a batch from uid through through_uid, or one message. A row that outlives its turn makes the next ones careful; with retry_at, it plans when a row without content is asked for again.';
comment on column fetch_attempts.attempts is 'How often the batch was begun. It proves nothing against a message: the process, the database or the line may have failed.';
comment on column fetch_attempts.tries is 'How often the message was asked for alone.';
comment on column fetch_attempts.failures is 'How often the server failed at that, each time on another connection.';

drop index messages_unfetchable;
-- few: what is asked for again, and when
create index messages_without_content on messages (account_id, folder_id, uid)
    where deleted_at is null and parse_errors && '{unfetchable,unstorable}';
create index fetch_attempts_due on fetch_attempts (account_id, retry_at) where retry_at is not null;

-- what was counted until now was never blame; the rows without content that there are, are asked for again
update fetch_attempts set attempts = 1;
insert into fetch_attempts as a (account_id, folder_id, uidvalidity, uid, through_uid, retry_at)
select account_id, folder_id, uidvalidity, uid, uid, now()
from messages
where deleted_at is null and parse_errors && '{unfetchable,unstorable}'
on conflict (account_id, folder_id, uidvalidity, uid) do update
set through_uid = excluded.through_uid, attempts = 0, retry_at = excluded.retry_at;

insert into schema_migrations (name, checksum) values
    ('0006_count_blame_apart', 'e45baf1325cf7d2433d94a346f0629f64d6bd40f6979cc526b70403299bddb7f');
