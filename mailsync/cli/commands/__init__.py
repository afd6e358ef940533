"""The commands: one module for each, or for each family; :mod:`mailsync.cli` lists them."""
