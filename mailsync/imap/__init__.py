"""The IMAP protocol: connect, list, status, examine, search, fetch. No bytes key leaves this package."""

from mailsync.imap.address import check_endpoint
from mailsync.imap.fetching import Batch
from mailsync.imap.messages import Detail
from mailsync.imap.opening import open_session
from mailsync.imap.scanning import FlagChanges
from mailsync.imap.session import Session
from mailsync.imap.throttle import Throttle, burst

__all__ = ["Batch", "Detail", "FlagChanges", "Session", "Throttle", "burst", "check_endpoint", "open_session"]
