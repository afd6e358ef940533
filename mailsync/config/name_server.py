"""Read the address of a name server."""

from __future__ import annotations

import ipaddress
import re


def name_server(word: str) -> tuple[str, int]:
    """The address and the port of ``9.9.9.9``, ``127.0.0.1:5353`` or ``[::1]:53``; raises ValueError."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)", word)
    if match is None:
        raise ValueError
    address, port = match[1] or match[2] or match[4], int(match[3] or 53)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        # its text would replace the message of the setting's rule
        raise ValueError from None
    if not 1 <= port <= 65535:
        raise ValueError
    return address, port
