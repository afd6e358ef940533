-- A turn's begin counts until its end is written: what ends its process again and again backs its account off.

alter table accounts
    add column turn_kind text,
    add column turn_step text,
    add column turn_progressed boolean not null default false,
    add column lost_turns jsonb not null default '{}';
comment on column accounts.turn_kind is 'The purpose of the running turn: sync, backfill, body, verify or change; null once it ended in order. If nobody holds the lock, the process ended in it.';
comment on column accounts.turn_step is 'The last step of that turn, as of its last heartbeat; while turns of its kind are lost, as of its last command.';
comment on column accounts.turn_progressed is 'Whether that turn stored anything; noted only while turns of its kind are lost.';
comment on column accounts.lost_turns is 'By kind: how many turns in a row ended with their process. One that ends in order takes its kind out.';

insert into schema_migrations (name, checksum) values
    ('0008_count_lost_turns', 'e93e4742c8dba487ec0b9781b3b7be7bf20a0b69bba71c5c3ad74cc657586607');
