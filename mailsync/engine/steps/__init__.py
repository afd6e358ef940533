"""The boxes of the flowchart, one module each; :mod:`mailsync.engine.cycle` puts them in order."""
