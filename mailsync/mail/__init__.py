"""What a message says: header fields, addresses, dates, encodings and the MIME tree, from bytes to values.

Everything here is pure: bytes go in, values of :mod:`mailsync.model` come out, and whatever cannot be read
costs itself alone. It may import the modules beside the folders. Begin with
:func:`mailsync.mail.headers.parse_headers` and :mod:`mailsync.mail.mime`.
"""
