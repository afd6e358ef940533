"""Messages: header fields, addresses, dates, charsets, encodings and the MIME tree, from bytes to values.

Everything here is pure: bytes go in, values of :mod:`mailsync.model` come out. Malformed input never raises,
and a bad field affects only itself. This package may import only the top-level modules. Begin with
:func:`mailsync.mail.headers.parse_headers` and :mod:`mailsync.mail.mime`.
"""
