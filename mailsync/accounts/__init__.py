"""Add, change, pause, reset and remove accounts, for the command line and the API alike.

It may import the engine and everything below it. Begin with :mod:`mailsync.accounts.add`.
"""
