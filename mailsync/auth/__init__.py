"""OAuth2: whose client asks for a token, what it asks, and how tokens are kept and renewed.

It may import the mail servers' protocol, the store and everything below. Begin with
:mod:`mailsync.auth.tokens`, which a turn asks for a valid access token.
"""
