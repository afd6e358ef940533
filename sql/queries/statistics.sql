-- name: tables_to_analyse
-- Tables whose statistics were never collected, or of whose rows a tenth or 50,000 changed since, and not in the last
-- minute. Only the owners of a table and of the database may analyse it.
select c.relname, pg_catalog.pg_has_role(c.relowner, 'usage') or pg_catalog.pg_has_role(d.datdba, 'usage') as allowed
from pg_class c
join pg_database d on d.datname = current_database()
where c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
  and c.relname = any (%(tables)s)
  and (c.reltuples < 0::real and pg_catalog.pg_relation_size(c.oid) > 0
       or pg_catalog.pg_stat_get_mod_since_analyze(c.oid)::float8
          >= least(50000, greatest(100, 0.1::float8 * c.reltuples::float8)))
  and (greatest(pg_catalog.pg_stat_get_last_analyze_time(c.oid), pg_catalog.pg_stat_get_last_autoanalyze_time(c.oid))
       > now() - interval '1 minute') is not true
order by c.relname
