"""How a server is reached: its allowed addresses, the socket, TLS, and how long to wait.

It knows nothing of IMAP. Begin with :mod:`mailsync.imap.network.connect`.
"""
