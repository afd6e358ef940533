-- name: applied_migrations
select name, checksum from schema_migrations order by name

-- name: find_tables
-- Which of these tables exist, as far as this role may use the schema. Not by current_schema(), which would skip a
-- missing schema and return that of temporary tables.
select c.relname::text
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %(schema)s and pg_catalog.has_schema_privilege(n.oid, 'usage') and c.relname = any (%(tables)s::text[])

-- name: find_hidden
-- The name of this role, whether it lacks the right to use the schema, and whether row level security hides rows from
-- it.
select current_user::text,
       coalesce((select not pg_catalog.has_schema_privilege(oid, 'usage') from pg_namespace where nspname = %(schema)s),
                false),
       coalesce((select pg_catalog.row_security_active(c.oid)
                 from pg_class c
                 join pg_namespace n on n.oid = c.relnamespace
                 where n.nspname = %(schema)s and c.relname = 'schema_migrations'), false)

-- name: find_creators
-- The roles, quoted for a statement, that may create in this schema, except its owner, superusers and this role.
select case when x.grantee = 0::oid then 'public' else pg_catalog.quote_ident(r.rolname::text) end
from pg_namespace n
cross join lateral pg_catalog.aclexplode(n.nspacl) x
left join pg_roles r on r.oid = x.grantee
where n.nspname = %(schema)s
  and x.privilege_type = 'CREATE'
  and x.grantee <> n.nspowner
  and (r.rolsuper or r.rolname = current_user) is not true
order by 1

-- name: quoted_schema
select pg_catalog.quote_ident(current_schema()::text)

-- name: use_fixed_output_settings
-- For this transaction, sets everything that changes how Postgres prints a definition.
select pg_catalog.set_config('quote_all_identifiers', 'off', true), pg_catalog.set_config('standard_conforming_strings', 'on', true),
       pg_catalog.set_config('datestyle', 'ISO, MDY', true), pg_catalog.set_config('intervalstyle', 'postgres', true),
       pg_catalog.set_config('timezone', 'UTC', true), pg_catalog.set_config('bytea_output', 'hex', true)

-- name: read_schema
-- All objects of this schema as Postgres prints them. Names are unqualified, because the schema is first on
-- search_path. NOT NULL belongs to the columns: it is a constraint only since Postgres 18.
with relations as materialized (
    select c.oid, c.relname::text as name, c.relkind as kind, c.relrowsecurity, c.reloptions
    from pg_class c
    where c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
      and c.relkind in ('r', 'p', 'v')
)
select 'table' as kind, name, pg_catalog.jsonb_build_object('row_level_security', relrowsecurity) as details
from relations where kind <> 'v'
union all
select 'column', r.name || '.' || a.attname::text, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
    'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
    'not_null', a.attnotnull,
    'identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' end,
    'default', case when a.attgenerated = '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid) end,
    'generated', case when a.attgenerated <> '' then pg_catalog.pg_get_expr(d.adbin, d.adrelid)
                      || case a.attgenerated when 's' then ' stored' else ' virtual' end end))
from relations r
join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where r.kind <> 'v'
union all
select 'constraint', r.name || '.' || k.conname::text, pg_catalog.jsonb_build_object('definition', pg_catalog.pg_get_constraintdef(k.oid))
from relations r
join pg_constraint k on k.conrelid = r.oid and k.contype in ('p', 'u', 'f', 'c', 'x')
union all
select 'index', c.relname, pg_catalog.jsonb_build_object(
    'table', r.name,
    'unique', i.indisunique,
    'valid', i.indisvalid,
    -- the fillfactor is the choice of the database's owner
    'definition', pg_catalog.regexp_replace(
        substring(pg_catalog.pg_get_indexdef(i.indexrelid) from '^.*? USING (.*)$'), ' WITH \([^)]*\)', ''))
from relations r
join pg_index i on i.indrelid = r.oid
join pg_class c on c.oid = i.indexrelid
where not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
union all
select 'view', r.name, pg_catalog.jsonb_build_object(
    'columns', (select pg_catalog.jsonb_object_agg(a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod))
                from pg_attribute a where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped),
    'security_invoker', coalesce((select option_value::boolean from pg_catalog.pg_options_to_table(r.reloptions)
                                  where option_name = 'security_invoker'), false),
    'definition', pg_catalog.regexp_replace(pg_catalog.pg_get_viewdef(r.oid), '\s+', ' ', 'g'))
from relations r where r.kind = 'v'
union all
select 'function', p.proname::text || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', pg_catalog.jsonb_build_object(
    'returns', pg_catalog.pg_get_function_result(p.oid),
    'language', l.lanname,
    'volatility', case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
    'security_definer', p.prosecdef,
    'public', exists (select from pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x
                      where x.grantee = 0::oid and x.privilege_type = 'EXECUTE'),
    'definition', coalesce(pg_catalog.regexp_replace(pg_catalog.pg_get_function_sqlbody(p.oid), '\s+', ' ', 'g'), p.prosrc))
from pg_proc p
join pg_language l on l.oid = p.prolang
where p.pronamespace = (select oid from pg_namespace where nspname = current_schema()) and p.prokind in ('f', 'p')

-- name: read_excess_rights
-- Rights of public, and of Supabase's public roles, on tables and views, except to read. Granting those is a person's
-- choice, and row level security applies; only passwords must not be readable.
select c.relname::text as name, coalesce(r.rolname::text, 'public') as grantee,
       pg_catalog.array_agg(distinct pg_catalog.lower(x.privilege_type) order by pg_catalog.lower(x.privilege_type)) as rights
from pg_class c
cross join lateral pg_catalog.aclexplode(c.relacl) x
left join pg_roles r on r.oid = x.grantee
where c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
  and c.relkind in ('r', 'p', 'v')
  and (x.grantee = 0::oid or r.rolname in ('anon', 'authenticated'))
  and (x.privilege_type <> 'SELECT' or c.relname = 'account_credentials')
group by 1, 2
order by 1, 2

-- name: read_identities
-- Identity columns whose sequence is behind the highest number in use, where an index finds that number at once.
with highest (name, number) as (
    select 'accounts.id', (select pg_catalog.max(id) from accounts)
    union all
    select 'messages.id', (select pg_catalog.max(id) from messages)
    union all
    select 'sync_events.seq', (select seq from sync_events order by xid desc, seq desc limit 1)
    union all
    select 'folders.id', pg_catalog.max(f.id)
    from accounts a
    cross join lateral (select id from folders where account_id = a.id order by id desc limit 1) f
    union all
    select 'sync_runs.id', pg_catalog.max(r.id)
    from accounts a
    cross join lateral (select id from sync_runs where account_id = a.id order by started_at desc limit 1) r
), given as materialized (
    select name, number,
           pg_catalog.pg_get_serial_sequence(
               pg_catalog.split_part(name, '.', 1), pg_catalog.split_part(name, '.', 2)) as sequence
    from highest
)
select name, number, sequence
from given
where number > coalesce(pg_catalog.pg_sequence_last_value(sequence::regclass), 0) and sequence is not null
order by name

-- name: try_migration_lock
select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtext('mailsync migrate'), pg_catalog.hashtext(%(schema)s::text))

-- name: queue_for_migration_lock
-- Queues in Postgres for as long as lock_timeout allows.
select true from pg_catalog.pg_advisory_lock(pg_catalog.hashtext('mailsync migrate'), pg_catalog.hashtext(%(schema)s::text))

-- name: migration_lock_holder
-- The pid of the session and its description, such as "pid 123 (role joe, psql)". Our role may not see all of it.
select l.pid, pg_catalog.concat('pid ', l.pid, ' (role ', s.usename, ', ' || nullif(s.application_name, ''), ')')
from pg_locks l
left join pg_stat_activity s on s.pid = l.pid
where l.locktype = 'advisory' and l.objsubid = 2 and l.granted and l.pid <> pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
  and l.classid::bigint = (pg_catalog.hashtext('mailsync migrate')::bigint & 4294967295)
  and l.objid::bigint = (pg_catalog.hashtext(%(schema)s::text)::bigint & 4294967295)
order by l.pid
limit 1

-- name: unlock_migrations
select pg_catalog.pg_advisory_unlock(pg_catalog.hashtext('mailsync migrate'), pg_catalog.hashtext(%(schema)s::text))
