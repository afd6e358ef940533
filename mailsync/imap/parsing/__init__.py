"""What a server answers, from bytes to values: FETCH, LIST, SEARCH, BODYSTRUCTURE, flags, mailbox names.

Everything here is pure, and none of it trusts the server. It may import :mod:`mailsync.mail` and the modules
beside the folders. Begin with :mod:`mailsync.imap.parsing.fetch_response`, then
:mod:`mailsync.imap.parsing.message`.
"""
