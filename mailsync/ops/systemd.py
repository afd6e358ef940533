"""Messages to systemd (``sd_notify(3)``); silence where there is none."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(state: str, *, address: str | None = None) -> None:
    """Send e.g. ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1`` to `address`, else to ``$NOTIFY_SOCKET``."""
    address = address or os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        # the abstract namespace
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # systemd that does not read is no reason to stand still
        sock.settimeout(1)
        sock.sendto(state.encode(), address)


def watchdog() -> float | None:
    """Seconds of silence after which systemd ends this process (``WatchdogSec``); None for never."""
    given, owner = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not given.isdecimal() or owner not in ("", str(os.getpid())):
        return None
    return int(given) / 1_000_000 or None


def has_sockets() -> bool:
    """Whether systemd has opened the sockets to listen on and given them to this very process."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0"
