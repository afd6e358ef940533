"""What an operator looks at: metrics and their server, the checks before a start, the words to systemd.

It may import the engine and everything below it. Begin with :mod:`mailsync.ops.preflight`.
"""
