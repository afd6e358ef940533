-- A turn's begin counts until its end is written: what ends its process again and again backs its account off.

alter table accounts
    add column turn_kind text,
    add column turn_step text,
    add column turn_progressed boolean not null default false,
    add column lost_turns jsonb not null default '{}';
comment on column accounts.turn_kind is 'What the turn that runs is for: sync, backfill, body, verify or change; null once it ended in order. Without a holder of the lock its process ended in it.';
comment on column accounts.turn_step is 'What that turn does, as of its last heartbeat; while turns of its kind are lost, as of its last command.';
comment on column accounts.turn_progressed is 'Whether that turn stored anything; noted only while turns of its kind are lost.';
comment on column accounts.lost_turns is 'By kind: how many turns in a row ended with their process. One that ends in order takes its kind out.';

insert into schema_migrations (name, checksum) values
    ('0008_count_lost_turns', 'dbc1ebe3c5dc73201f7666edc07fb03e688d118482fc3f93a31018c6c2537ab2');
