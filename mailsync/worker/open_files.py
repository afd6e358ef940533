"""The limit of open files: each parked session takes one (SPEC §22)."""

from __future__ import annotations

import contextlib
import logging
import resource

from mailsync.config import Settings

log = logging.getLogger(__name__)

_OTHERS = 64
"""Files of a worker that are not sessions: Postgres, pipes, modules, name servers."""


def raise_limit(settings: Settings) -> None:
    """Raise the limit of this process as far as it may; warn if that is too low for the kept sessions."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    sessions = min(settings.imap_session_cap, settings.sync_max_accounts)
    needed = sessions + _OTHERS
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "At most %d files may be open, too few for %d sessions; raise the limit (ulimit -n, LimitNOFILE)"
            " to %d or lower IMAP_SESSION_CAP",
            soft,
            sessions,
            needed,
            extra={"action": "open_files"},
        )
