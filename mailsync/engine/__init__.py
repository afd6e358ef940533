"""The work of a turn, in terms of the protocol and the store.

It may import mail, core, imap, store, config and the modules beside the folders. Begin with
:mod:`mailsync.engine.cycle`, which reads from top to bottom like the flowchart in
docs/explanation/architecture.rst. ``steps/`` holds the boxes of that flowchart, ``fetch/`` the path from UIDs
to rows, and :mod:`mailsync.engine.runner` the beginning and end of every turn.
"""
