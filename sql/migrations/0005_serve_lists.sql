-- Indexes for the lists of the API, newest first and before a position: by sender within a folder, and tombstones.
-- The last columns are read in the index alone. Both are built while writes to messages wait, 5 s for a million rows.

drop index messages_sender;
create index messages_sender on messages (account_id, from_email, internal_date desc, id desc, folder_id)
    where deleted_at is null;
create index messages_deleted_newest on messages (account_id, internal_date desc, id desc, folder_id, from_email)
    where deleted_at is not null;

insert into schema_migrations (name, checksum) values
    ('0005_serve_lists', '0a58e9ca5445e913d42f0a4904859f5040d5f4d820eb2e85b67be41f3209d42c');
