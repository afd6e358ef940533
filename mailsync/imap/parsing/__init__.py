"""Responses of a server, from bytes to values: FETCH, LIST, NAMESPACE, SEARCH, BODYSTRUCTURE, flags, names.

Everything here is pure and does not trust the server. This package may import :mod:`mailsync.imap.bounds`,
:mod:`mailsync.mail` and the top-level modules. Begin with :mod:`mailsync.imap.parsing.fetch_response`, then
:mod:`mailsync.imap.parsing.message`.
"""
