"""On a program's ``PYTHONPATH``: the name ``imap.example.test`` is this machine."""

from __future__ import annotations

import socket
from typing import Any

_ask = socket.getaddrinfo


def _with_local_name(host: Any, port: Any, *args: Any, **options: Any) -> Any:
    if host == "imap.example.test" and not options.get("flags", 0) & socket.AI_NUMERICHOST:
        host = "127.0.0.1"
    return _ask(host, port, *args, **options)


socket.getaddrinfo = _with_local_name
