"""What a message holds beside its metadata: bodies, attachments and the raw message, fetched when asked for.

It may import the engine and everything below it. Begin with :mod:`mailsync.bodies.fetch`.
"""
