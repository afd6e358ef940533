"""A Postgres of one's own in a private directory, for ``mailsync demo`` and ``mailsync dev``.

Begin with :mod:`mailsync.cli.embedded.postgres`.
"""
