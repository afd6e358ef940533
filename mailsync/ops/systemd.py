"""Messages to systemd (``sd_notify(3)``); without systemd they go nowhere."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(state: str, *, address: str | None = None) -> None:
    """Send a state such as ``READY=1`` or ``WATCHDOG=1`` to `address`, or to ``$NOTIFY_SOCKET``."""
    address = address or os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        # an abstract socket (unix(7))
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        # do not hang if systemd does not read
        sock.settimeout(1)
        sock.sendto(state.encode(), address)


def watchdog_seconds() -> float | None:
    """Seconds of silence after which systemd ends this process (``WatchdogSec``); None means never."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1_000_000 or None


def extend_watchdog(seconds: float) -> str:
    """A line for :func:`notify` that sets the watchdog to `seconds`; empty if that would not extend it."""
    current = watchdog_seconds()
    return f"\nWATCHDOG_USEC={int(seconds * 1_000_000)}" if current and current < seconds else ""


def has_sockets() -> bool:
    """Whether systemd has passed listening sockets to this process (``sd_listen_fds(3)``)."""
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS", "0") != "0"
