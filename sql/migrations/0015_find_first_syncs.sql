-- The worker looks for first syncs between any two passes, also while no folder of a thousand accounts has one to do.

create index folders_first_sync_idx on folders (account_id)
    where tracked and status in ('pending', 'initial') and missing_since is null;

insert into schema_migrations (name, checksum) values
    ('0015_find_first_syncs', '01efa77906fb7bb11b629c21373a49f9c1975fa9414170513686103c71ffcd3c');
