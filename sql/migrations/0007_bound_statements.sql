-- Indexes by which a statement finds its rows whatever the planner's statistics say. Those of messages are built while
-- writes to messages wait, some seconds for a million rows; the other tables are small.

-- Only the primary key serves who knows the account alone now. An account that statistics do not know counts as one
-- row, which any index that begins with account_id seems to find as well as the right one: the foreign key of
-- attachments read all of an account for each attachment.
alter table messages drop constraint messages_account_id_folder_id_uidvalidity_uid_deleted_at_key;
alter table messages add constraint messages_folder_id_account_id_uidvalidity_uid_key
    unique (folder_id, account_id, uidvalidity, uid) include (deleted_at);
drop index messages_message_id;
create index messages_message_id on messages (account_id, message_id) where message_id is not null;

-- likewise: a folder was looked for among all of its account's, for each message
alter table folders drop constraint folders_account_id_wire_name_key;
alter table folders add constraint folders_wire_name_account_id_key unique (wire_name, account_id);

-- the whole order of the lists of runs, which else were sorted
drop index sync_runs_newest;
create index sync_runs_newest on sync_runs (account_id, started_at desc, id desc);

-- the newest failure, without reading all that went well since
create index sync_runs_failed on sync_runs (account_id, started_at desc, id desc)
    where error_code is not null or status = 'failed';

insert into schema_migrations (name, checksum) values
    ('0007_bound_statements', '3e6c1c2f80d6d6e5905e8f3644646f6114ece5a0910bf28b8b422b71e2745d46');
