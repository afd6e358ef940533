"""Everything that speaks to Postgres: the only importer of psycopg and cryptography.

One function a named statement of ``sql/queries/``. No dict row and no driver error leaves this package.
It may import :mod:`mailsync.config` and the modules beside the folders. Begin with :mod:`mailsync.store.db`,
then :mod:`mailsync.store.locks`.
"""
