-- A turn's begin counts until its end is written: what ends its process again and again backs its account off.

alter table accounts
    add column turn_kind text,
    add column turn_step text,
    add column turn_progressed boolean not null default false,
    add column lost_turns jsonb not null default '{}';
comment on column accounts.turn_kind is 'What the last turn was for: sync, backfill, body, verify or change. If currently_syncing is true and nobody holds the lock, its process ended in it.';
comment on column accounts.turn_step is 'What that turn did last, as of its last heartbeat; while turns of its kind are lost, as of its last command.';
comment on column accounts.turn_progressed is 'Whether that turn stored anything; noted only while turns of its kind are lost.';
comment on column accounts.lost_turns is 'By kind: how many turns in a row ended with their process. One that ends in order takes its kind out.';

insert into schema_migrations (name, checksum) values
    ('0008_count_lost_turns', '38c43b6145ed242755ebe249a4740c66097c4be70c8ce020352334aa44c83e4d');
