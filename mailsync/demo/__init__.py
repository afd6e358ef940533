"""The sample mailbox of ``mailsync demo``: its conversations, odd messages and texts.

Everything here is pure, and imports nothing else from mailsync. Begin with :mod:`mailsync.demo.mailbox`.
"""
