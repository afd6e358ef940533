"""What all endpoints share: decoding, authentication, cursors, problem documents, and their OpenAPI
description.

Begin with :mod:`mailsync.web.http.endpoint`.
"""
