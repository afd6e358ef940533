"""From UIDs to rows: batches are cut and fetched, what is missing is asked for alone, each is committed.

Begin with :mod:`mailsync.engine.fetch.batches`.
"""
