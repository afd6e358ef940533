"""Decisions: the work that a folder needs, the state of an account, roles of folders, renames, providers.

Everything here is pure: no I/O, and the clock is an argument. It may import the modules beside the folders
and :mod:`mailsync.config`. Begin with :mod:`mailsync.core.planning`, then :mod:`mailsync.core.health`.
"""
