"""Reaching a server: which addresses are allowed, the socket, TLS, and how long to wait.

It knows no IMAP. Begin with :mod:`mailsync.imap.network.connect`.
"""
