"""The engine: what a turn does, told in terms of the protocol and the store.

Read :mod:`mailsync.engine.cycle` from top to bottom first.
"""
