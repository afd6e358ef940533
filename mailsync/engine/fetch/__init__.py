"""From UIDs to rows: requests are planned, fetched, completed message by message, and committed.

Begin with :mod:`mailsync.engine.fetch.mirror`.
"""
