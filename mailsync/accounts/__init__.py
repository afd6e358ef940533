"""What people do to accounts, for the command line and the API alike: add, change, pause, reset, remove.

It may import the engine and everything below it. Begin with :mod:`mailsync.accounts.add`.
"""
