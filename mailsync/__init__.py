"""mailsync mirrors the metadata of any IMAP mailbox into Postgres and keeps the mirror true."""

__version__ = "0.5.0"
