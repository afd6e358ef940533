"""Wait for ``NOTIFY mailsync_wake`` on a connection, as the worker does between its turns."""

from __future__ import annotations

import select
import time

from mailsync.store import waking
from mailsync.store.waking import WakeableConnection
from tests.support.patience import pause


def wait_for_wake(conn: WakeableConnection, seconds: float) -> bool:
    """Wait up to `seconds` for a notification; returns True if one came, at most once a second."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(conn.pgconn.socket, select.POLLIN)
    while True:
        left = max(0.0, deadline - time.monotonic())
        if (wake_up_in := waking.wake_up_in(conn)) < float("inf"):
            pause(min(left, wake_up_in), "further notifications add nothing, and can wait in Postgres")
            if wake_up_in > left:
                return False
            conn.take_wake_up()
            return True
        if not poll.poll(left * 1000):
            return False
