"""What a turn does, told in terms of the protocol and the store.

It may import mail, core, imap, store, config and the modules beside the folders. Read
:mod:`mailsync.engine.cycle` from top to bottom first. ``steps/`` has the boxes of that flowchart,
``fetch/`` the way from UIDs to rows; :mod:`mailsync.engine.runner` is what surrounds each turn.
"""
