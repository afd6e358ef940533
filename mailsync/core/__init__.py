"""Decisions: the work of a turn, contradictory answers, health, roles of folders, renames, providers.

Everything here is pure: no I/O, and the clock is an argument. It may import the modules beside the folders
and :mod:`mailsync.config`. Begin with :mod:`mailsync.core.planning`, then :mod:`mailsync.core.health`.
"""
