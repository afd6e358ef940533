"""Messages to systemd (``sd_notify(3)``); silence where there is none."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Send e.g. ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1`` to ``$NOTIFY_SOCKET``, if it is set."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        # the abstract namespace
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), address)
