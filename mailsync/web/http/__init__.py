"""Parts that all endpoints share: authentication, reading requests, cursors, problem documents, OpenAPI.

Begin with :mod:`mailsync.web.http.endpoint`.
"""
