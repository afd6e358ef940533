"""An embedded Postgres in a private directory, for ``mailsync demo`` and ``mailsync dev``.

Begin with :mod:`mailsync.cli.embedded.postgres`.
"""
