"""What all endpoints share: decoding, authentication, cursors, problem documents, OpenAPI.

Begin with :mod:`mailsync.web.http.endpoint`.
"""
