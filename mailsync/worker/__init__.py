"""The daemon: a poll loop that gives each due account its turn.

It may import the engine, ops and everything below them. Begin with :mod:`mailsync.worker.poll_loop`.
"""
