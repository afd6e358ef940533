"""What is to be decided: the work a folder needs, an account's state, a folder's role, what was renamed.

Everything here is pure: no I/O, and the clock is an argument. It may import the modules beside the folders
and :mod:`mailsync.config`. Begin with :mod:`mailsync.core.planning`, then :mod:`mailsync.core.health`.
"""
