-- Since when an account's turns come to nothing: what makes it stuck is a day of trying, not a day of silence.

alter table accounts add column failing_since timestamptz;
comment on column accounts.failing_since is 'When the first of the turns began that failed or came to nothing, one after the other; null since inbox and sent mail were compared.';

insert into schema_migrations (name, checksum) values
    ('0003_add_failing_since', 'e0584d997f1a2e47cc2f74c621c67a8355e619c535cf6d371552fb3cd55993a3');
