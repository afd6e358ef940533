"""Messages: header fields, addresses, dates, charsets, encodings and the MIME tree, from bytes to values.

Everything here is pure: bytes go in, values of :mod:`mailsync.model` come out. Malformed input never raises,
and a bad field affects only itself. This package may import only the top-level modules. Each of these modules
begins with what it decides, and leads to the others:

- ``headers``: header bytes → columns. ``header_fields`` says which lines are fields, for bodies, too.
- ``addresses`` and ``dates``: the common forms; ``address_reader`` and ``date_reader`` read all others.
- ``text``: encoded words. ``charsets`` chooses the charset of any bytes.
- ``mime``: the parts of a message → text, HTML and attachments.
- ``content_fields``: Content-Type, Content-Disposition and Content-Transfer-Encoding. ``attachments`` decides
  which parts are text and which are files.
- ``transfer_encoding``: encoded content → bytes. ``encoded_lines`` separates base64 and uuencode from text.
"""
