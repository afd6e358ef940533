-- Folders that a server shows only in part, or with new UIDs in each session, say so.

alter table folders add column limitation text,
    add column limitation_message text,
    add column view_limit bigint;
comment on column folders.limitation is 'What keeps the folder from being mirrored as a whole: partial_view or uids_not_sticky; null is nothing.';
comment on column folders.limitation_message is 'The limitation in words, with the numbers.';
comment on column folders.view_limit is 'The server shows only so many messages, the newest ones; rows of older ones are kept. Null is all messages.';

insert into schema_migrations (name, checksum) values
    ('0013_say_what_is_limited', 'b81450ad35d2b2090c391aa9cbb60ec99bd31f3f360b269c3e7a69aa23529c3c');
