"""Everything that speaks to Postgres: the only importer of psycopg and cryptography.

Each named statement of ``sql/queries/`` has one function. Neither bare rows nor driver errors leave this
package. It may import :mod:`mailsync.config` and the modules at the top of the package. Start reading at
:mod:`mailsync.store.db`, then :mod:`mailsync.store.locks`.
"""
