"""Reaching a server: which addresses are allowed, the socket, TLS, HTTP, and how long to wait.

It knows no IMAP. Begin with :mod:`mailsync.network.connect`.
"""
