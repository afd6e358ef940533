-- All authors of a message (RFC 5322 §3.6.2). Old rows are not rewritten here, which would keep readers waiting for
-- minutes: retention fills them, one account and one chunk at a time, from the newest id down. The index holds the few
-- messages with several authors; to build it, messages are read once, while other sessions wait for the table.

alter table messages add column from_emails text[] not null default '{}';
comment on column messages.from_emails is 'All addresses in From, the first of which is from_email. Empty in rows that are older than this column, until retention fills them.';

create index messages_coauthors on messages (account_id, internal_date desc, id desc) where from_emails[2] is not null;

alter table accounts add column authors_missing_through bigint default 9223372036854775807;
comment on column accounts.authors_missing_through is 'Messages with ids up to this may lack from_emails; null if none do.';

insert into schema_migrations (name, checksum) values
    ('0011_add_from_emails', '464063d88c888bd759ddb92698334e3397d9b2cb2f5c4c6eb5c861b8dcf5d591');
