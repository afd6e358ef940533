"""The sample mailbox of ``mailsync demo``: its letters, odd messages and texts.

Everything here is pure, and imports nothing of mailsync. Begin with :mod:`mailsync.demo.mailbox`.
"""
