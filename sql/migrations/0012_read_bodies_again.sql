-- Bodies say which version of the parser made them, and attachments whether only the content of the message shows
-- them. Both columns are added without rewriting a table.

alter table message_bodies add column parser_version smallint not null default 1;
comment on column message_bodies.parser_version is 'The version of the parser that made this body. An older body is fetched again when it is asked for.';

alter table attachments add column from_content boolean not null default false;
comment on column attachments.from_content is 'Whether BODYSTRUCTURE does not show the attachment under this part; it is then taken out of the whole message.';

insert into schema_migrations (name, checksum) values
    ('0012_read_bodies_again', '1885e2fbfb7cc7d573477c34d7140d1ac35158ae027b3663c54f2e93f934a83f');
