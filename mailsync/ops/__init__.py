"""For operators: metrics and their server, the checks before a start, messages to systemd.

It may import the engine and everything below it. Begin with :mod:`mailsync.ops.preflight`.
"""
