"""Bodies, attachments and raw messages, fetched on demand: what the mirror does not hold.

It may import the engine and everything below it. Begin with :mod:`mailsync.bodies.fetch`.
"""
