"""The IMAP protocol: connect, log in, LIST, STATUS, EXAMINE, SEARCH, FETCH. No bytes key leaves this package.

It is the only package that imports IMAPClient. It may import :mod:`mailsync.mail`, :mod:`mailsync.network`,
:mod:`mailsync.config` and the top-level modules. Begin with :class:`mailsync.imap.session.Session`, whose
methods are all that the engine asks of a server. ``parsing/`` parses responses.
"""

from mailsync.imap.fetch_flags import FlagChanges
from mailsync.imap.fetch_messages import Batch
from mailsync.imap.flights import FlightLimit, StatusAnswer
from mailsync.imap.login import open_session
from mailsync.imap.parsing.message import Detail
from mailsync.imap.session import Session
from mailsync.imap.token_bucket import TokenBucket, burst
from mailsync.network.resolve import check_endpoint

__all__ = [
    "Batch",
    "Detail",
    "FlagChanges",
    "FlightLimit",
    "Session",
    "StatusAnswer",
    "TokenBucket",
    "burst",
    "check_endpoint",
    "open_session",
]
