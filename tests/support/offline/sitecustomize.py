"""A machine without a resolver: on a program's ``PYTHONPATH``, only addresses and ``localhost`` resolve.

Host names that a fuzzer invents then fail like unknown names, without asking any server.
"""

from __future__ import annotations

import socket
from typing import Any

_ask = socket.getaddrinfo


def _without_resolver(host: Any, port: Any, *args: Any, **options: Any) -> Any:
    if host not in (None, "localhost"):
        # raises for all but addresses, in whatever form
        _ask(host, None, flags=socket.AI_NUMERICHOST)
    return _ask(host, port, *args, **options)


socket.getaddrinfo = _without_resolver
