"""Finding the IMAP server of an address whose provider is not known (SPEC §23.6).

It may import the network, the core and everything below. Begin with :mod:`mailsync.server_lookup.lookup`.
"""
