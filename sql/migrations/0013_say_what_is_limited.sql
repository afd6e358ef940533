-- Folders that a server shows only in part, or numbers anew in each session, say so.

alter table folders add column limitation text,
    add column limitation_message text,
    add column view_limit bigint;
comment on column folders.limitation is 'What keeps the folder from being mirrored as a whole: partial_view or uids_not_sticky; null is nothing.';
comment on column folders.limitation_message is 'The limitation in words, with the numbers.';
comment on column folders.view_limit is 'The server shows only so many messages, the newest ones; rows of older ones are kept. Null is all messages.';

insert into schema_migrations (name, checksum) values
    ('0013_say_what_is_limited', 'e358aa905ff54163ecaf39459e3017821842465ddbd7e7984d2ea71a38da5065');
