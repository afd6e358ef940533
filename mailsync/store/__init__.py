"""Everything that speaks to Postgres: the only importer of psycopg and cryptography.

One function a named statement of ``sql/queries/``. No dict row and no driver error leaves this package.
"""
