"""Stream one attachment in a process of its own, and print the memory that this took.

``python -m tests.support.streaming URL ACCOUNT SMALL LARGE``: the ids of two messages whose part 2 is
streamed; the small one first, so that all code is loaded when the peak of memory is measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

from mailsync.bodies.fetch import fetch_attachment
from mailsync.engine.session_cache import SessionCache
from mailsync.engine.turn_kind import TurnEnvironment
from mailsync.store import db
from tests.support.memory import peak
from tests.support.stored import settings_for


def main(url: str, account_id: int, small: int, large: int) -> None:
    """Stream both and print the larger one's size, digest and growth as JSON."""
    settings = settings_for(
        url,
        imap_allow_private_hosts=True,
        imap_allow_plaintext=True,
        imap_max_commands_per_minute=1_000_000,
    )
    with db.connect(settings, "test") as conn:
        env = TurnEnvironment(conn, settings, "test", SessionCache(settings))
        with fetch_attachment(env, account_id, small, "2") as spooled:
            assert sum(map(len, spooled)) == spooled.size
        before, digest = peak(os.getpid()), hashlib.sha256()
        with fetch_attachment(env, account_id, large, "2") as spooled:
            for chunk in spooled:
                digest.update(chunk)
        env.sessions.close()
    print(
        json.dumps({"size": spooled.size, "digest": digest.hexdigest(), "growth": peak(os.getpid()) - before})
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
