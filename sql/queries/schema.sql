-- name: applied_migrations
select name, checksum from schema_migrations order by name

-- name: has_tables
-- Whether this schema has what the first migration makes; accounts alone may be somebody else's.
select to_regclass(quote_ident(current_schema()) || '.accounts') is not null
   and to_regclass(quote_ident(current_schema()) || '.account_credentials') is not null

-- name: quoted_schema
select quote_ident(current_schema())

-- name: word_alike
-- For this transaction: every setting that changes how Postgres prints a definition.
select set_config('quote_all_identifiers', 'off', true), set_config('standard_conforming_strings', 'on', true),
       set_config('datestyle', 'ISO, MDY', true), set_config('intervalstyle', 'postgres', true),
       set_config('timezone', 'UTC', true), set_config('bytea_output', 'hex', true)

-- name: read_schema
-- All that is made in this schema, as Postgres words it; names come unqualified, since the schema is first on
-- search_path. NOT NULL is told by the columns: it is a constraint only from Postgres 18 on.
with relations as materialized (
    select c.oid, c.relname::text as name, c.relkind as kind, c.relrowsecurity, c.reloptions
    from pg_class c
    where c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
      and c.relkind in ('r', 'p', 'v')
)
select 'table' as kind, name, jsonb_build_object('row_level_security', relrowsecurity) as details
from relations where kind <> 'v'
union all
select 'column', r.name || '.' || a.attname, jsonb_strip_nulls(jsonb_build_object(
    'type', format_type(a.atttypid, a.atttypmod),
    'not_null', a.attnotnull,
    'identity', case a.attidentity when 'a' then 'always' when 'd' then 'by default' end,
    'default', case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end,
    'generated', case when a.attgenerated <> '' then pg_get_expr(d.adbin, d.adrelid)
                      || case a.attgenerated when 's' then ' stored' else ' virtual' end end))
from relations r
join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where r.kind <> 'v'
union all
select 'constraint', r.name || '.' || k.conname, jsonb_build_object('definition', pg_get_constraintdef(k.oid))
from relations r
join pg_constraint k on k.conrelid = r.oid and k.contype in ('p', 'u', 'f', 'c', 'x')
union all
select 'index', c.relname, jsonb_build_object(
    'table', r.name,
    'unique', i.indisunique,
    'valid', i.indisvalid,
    -- how full its pages are is for the database's owner to choose
    'definition', regexp_replace(substring(pg_get_indexdef(i.indexrelid) from '^.*? USING (.*)$'), ' WITH \([^)]*\)', ''))
from relations r
join pg_index i on i.indrelid = r.oid
join pg_class c on c.oid = i.indexrelid
where not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
union all
select 'view', r.name, jsonb_build_object(
    'columns', (select jsonb_object_agg(a.attname, format_type(a.atttypid, a.atttypmod))
                from pg_attribute a where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped),
    'security_invoker', coalesce((select option_value::boolean from pg_options_to_table(r.reloptions)
                                  where option_name = 'security_invoker'), false),
    'definition', regexp_replace(pg_get_viewdef(r.oid), '\s+', ' ', 'g'))
from relations r where r.kind = 'v'
union all
select 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', jsonb_build_object(
    'returns', pg_get_function_result(p.oid),
    'language', l.lanname,
    'volatility', case p.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end,
    'security_definer', p.prosecdef,
    'public', exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
                      where x.grantee = 0 and x.privilege_type = 'EXECUTE'),
    'definition', coalesce(regexp_replace(pg_get_function_sqlbody(p.oid), '\s+', ' ', 'g'), p.prosrc))
from pg_proc p
join pg_language l on l.oid = p.prolang
where p.pronamespace = (select oid from pg_namespace where nspname = current_schema()) and p.prokind in ('f', 'p')

-- name: read_excess_rights
-- Rights of everybody, and of Supabase's public roles, on tables and views, other than to read. Letting them read is
-- a person's choice, and row level security guards it; only the passwords must not be readable.
select c.relname::text as name, coalesce(r.rolname::text, 'public') as grantee,
       array_agg(distinct lower(x.privilege_type) order by lower(x.privilege_type)) as rights
from pg_class c
cross join lateral aclexplode(c.relacl) x
left join pg_roles r on r.oid = x.grantee
where c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
  and c.relkind in ('r', 'p', 'v')
  and (x.grantee = 0 or r.rolname in ('anon', 'authenticated'))
  and (x.privilege_type <> 'SELECT' or c.relname = 'account_credentials')
group by 1, 2
order by 1, 2

-- name: read_identities
-- Identity columns whose sequence is behind the highest number in use, as far as an index finds that number at once.
with highest (name, number) as (
    select 'accounts.id', (select max(id) from accounts)
    union all
    select 'messages.id', (select max(id) from messages)
    union all
    select 'sync_events.seq', (select seq from sync_events order by xid desc, seq desc limit 1)
    union all
    select 'folders.id', max(f.id)
    from accounts a
    cross join lateral (select id from folders where account_id = a.id order by id desc limit 1) f
    union all
    select 'sync_runs.id', max(r.id)
    from accounts a
    cross join lateral (select id from sync_runs where account_id = a.id order by started_at desc limit 1) r
), given as materialized (
    select name, number, pg_get_serial_sequence(split_part(name, '.', 1), split_part(name, '.', 2)) as sequence
    from highest
)
select name, number, sequence
from given
where number > coalesce(pg_sequence_last_value(sequence::regclass), 0) and sequence is not null
order by name
