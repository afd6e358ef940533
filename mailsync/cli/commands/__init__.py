"""The commands, one module for each command or family of them; :mod:`mailsync.cli` has the list."""
