-- Accounts that sign in with the tokens of an OAuth2 client, and the consents that the API waits for.

alter table accounts
    drop constraint accounts_auth_method_check,
    add constraint accounts_auth_method_check check (auth_method in ('password', 'oauth2')),
    add column oauth_provider text,
    add column oauth_grant text check (oauth_grant in ('refresh_token', 'client_credentials')),
    add column token_expires_at timestamptz,
    add column token_renewed_at timestamptz,
    add column token_refused_at timestamptz,
    add column token_refusal text,
    add constraint accounts_oauth_check
        check ((auth_method = 'oauth2') = (oauth_provider is not null and oauth_grant is not null));
comment on column accounts.auth_method is 'What the account signs in with: password, or oauth2 for an access token.';
comment on column accounts.oauth_provider is 'Whose client has the tokens: google, microsoft, or one of OAUTH_<NAME>_….';
comment on column accounts.oauth_grant is 'How access tokens are got: by refresh_token, or by client_credentials.';
comment on column accounts.token_expires_at is 'When the stored access token ends; a turn renews it before that.';
comment on column accounts.token_renewed_at is 'When the access token was renewed last.';
comment on column accounts.token_refused_at is 'When a renewal failed last.';
comment on column accounts.token_refusal is 'Why that renewal failed.';

alter table account_credentials
    add column oauth_client_id text,
    add column authorized_at timestamptz not null default now();
comment on column account_credentials.oauth_client_id is 'The client to which the tokens were issued; null for a password.';
comment on column account_credentials.authorized_at is 'When a person entered the password or gave consent; renewals and other keys keep it.';

create table oauth_authorizations (
    id text primary key,
    provider text not null,
    oauth_client_id text not null,
    email text,
    authorized_account_id bigint,
    return_url text,
    state_hash bytea not null unique,
    key_id text not null,
    verifier bytea not null,
    status text not null default 'pending' check (status in ('pending', 'exchanging', 'succeeded', 'failed')),
    error_code text,
    error_message text,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    finished_at timestamptz
);
create index oauth_authorizations_created_at_idx on oauth_authorizations (created_at);
create index oauth_authorizations_account_idx on oauth_authorizations (authorized_account_id);
comment on table oauth_authorizations is 'Consents that were asked for by the API. Rows are deleted after a week.';
comment on column oauth_authorizations.authorized_account_id is 'The account to authorize again; afterwards the account that has the tokens.';
comment on column oauth_authorizations.state_hash is 'SHA-256 of the state, which only the browser has. It is good for one callback.';
comment on column oauth_authorizations.verifier is 'The PKCE verifier (RFC 7636), sealed.';

create or replace function is_given_up(sync_state text, sync_state_reason text, sync_state_since timestamptz)
    returns boolean
    stable language sql
    return sync_state = 'broken'
        and not (sync_state_reason in ('stuck', 'not_connected') and sync_state_since > now() - interval '7 days');
comment on function is_given_up(text, text, timestamptz) is 'Whether the account waits for a person: it is broken, and not stuck or without a mailbox for less than 7 days.';

do $$
declare
    who text;
begin
    alter table oauth_authorizations enable row level security;
    for who in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated') loop
        execute format('revoke all on oauth_authorizations from %I', who);
    end loop;
    -- an API whose role does not own the tables keeps working
    for who in
        select r.rolname
        from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a, pg_catalog.pg_roles r
        where c.oid = 'accounts'::regclass and a.privilege_type = 'UPDATE' and r.oid = a.grantee
    loop
        execute format('grant select, insert, update, delete on oauth_authorizations to %I', who);
    end loop;
end
$$;

insert into schema_migrations (name, checksum) values
    ('0016_sign_in_by_oauth', '57b7b50eee7f596bd2794d00d880f6fc33b51237f3281defc939448965893ad0');
