-- Rules that several statements apply, as functions that Postgres expands in place. Times are compared with the clock
-- because it may have been set back since they were written. No view uses these functions: the roles that read it would
-- need the right to execute them.

create function days_ago(days double precision) returns timestamptz stable language sql
    return now() - interval '24 hours' * days;
comment on function days_ago(double precision) is 'Days of 24 hours, whatever the session''s time zone.';

create function window_start(sync_since timestamptz, sync_window_days integer) returns timestamptz stable language sql
    return coalesce(sync_since, days_ago(sync_window_days::double precision));
comment on function window_start(timestamptz, integer) is 'The date from which an account''s mail is mirrored; null is all mail.';

create function plausible_wait(wait_until timestamptz) returns timestamptz stable language sql
    return case when wait_until <= now() + interval '61 minutes' then wait_until end;
comment on function plausible_wait(timestamptz) is 'A backoff or retry time; null if it is later than any that is set, so that a clock that was wrong wrote it.';

create function wait_is_over(wait_until timestamptz) returns boolean stable language sql
    return coalesce(plausible_wait(wait_until) <= now(), true);
comment on function wait_is_over(timestamptz) is 'Whether there is no backoff or retry time, or it has passed.';

create function is_plausible_tick(next_sync_at timestamptz, tick double precision) returns boolean stable language sql
    return next_sync_at <= now() + interval '2 seconds' * tick + interval '10 minutes';
comment on function is_plausible_tick(timestamptz, double precision) is 'Whether a turn can have scheduled the next one for this time, at a tick of so many seconds.';

create function is_given_up(sync_state text, sync_state_reason text, sync_state_since timestamptz) returns boolean
    stable language sql
    return sync_state = 'broken'
        and not (sync_state_reason = 'stuck' and sync_state_since > now() - interval '7 days');
comment on function is_given_up(text, text, timestamptz) is 'Whether the account waits for a person: it is broken, and not stuck for less than 7 days.';

create function is_stale(sync_state text, healthy_until timestamptz) returns boolean stable language sql
    return sync_state = 'healthy' and not healthy_until between now() and now() + interval '3 hours';
comment on function is_stale(text, timestamptz) is 'Whether a healthy account was not compared in time. No turn promises more than 3 hours, so a clock that was wrong wrote a later time.';

create function lacks_content(parse_errors text[]) returns boolean immutable language sql
    return parse_errors operator(pg_catalog.&&) '{unfetchable,unstorable}'::text[];
comment on function lacks_content(text[]) is 'Whether a message''s row only says that there is a message.';

create function is_mailsync(application_name text, role oid) returns boolean stable language sql
    return application_name like 'mailsync%'
        and pg_catalog.has_table_privilege(role, 'accounts'::regclass::oid, 'update');
comment on function is_mailsync(text, oid) is 'Whether a session is one of mailsync: a role that may not write to the mirror is not, whatever it calls itself.';

do $$
declare
    who text;
    signature regprocedure;
begin
    foreach signature in array array[
        'days_ago(double precision)', 'window_start(timestamptz, integer)', 'plausible_wait(timestamptz)',
        'wait_is_over(timestamptz)', 'is_plausible_tick(timestamptz, double precision)',
        'is_given_up(text, text, timestamptz)', 'is_stale(text, timestamptz)', 'lacks_content(text[])',
        'is_mailsync(text, oid)'
    ]::regprocedure[] loop
        execute format('revoke all on function %s from public', signature);
        for who in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated') loop
            execute format('revoke all on function %s from %I', signature, who);
        end loop;
        -- a worker whose role does not own the tables keeps working
        for who in
            select r.rolname
            from pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a, pg_catalog.pg_roles r
            where c.oid = 'accounts'::regclass and a.privilege_type = 'UPDATE' and r.oid = a.grantee
        loop
            execute format('grant execute on function %s to %I', signature, who);
        end loop;
    end loop;
end
$$;

insert into schema_migrations (name, checksum) values
    ('0010_share_rules', 'b7231dcb698e94f61a9a71f489243d00e35b9c059a3d1573ed5002a36e9ebc5c');
