"""How the tests of the protocol layer open their sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mailsync.config import Settings
from mailsync.imap import Session, Throttle, open_session
from mailsync.model import Endpoint


def settings_with(**overrides: Any) -> Settings:
    """Settings that permit loopback and plaintext, with short waits."""
    return Settings(
        **{
            "imap_allow_private_hosts": True,
            "imap_allow_plaintext": True,
            "imap_connect_timeout": 5,
            "imap_read_timeout": 10,
            **overrides,
        }
    )


def connect(
    server: Any,
    user: Any,
    *,
    port: int | None = None,
    host: str | None = None,
    security: str = "plaintext",
    password: str | None = None,
    throttle: Throttle | None = None,
    on_wait: Callable[[], None] = lambda: None,
    hidden: frozenset[str] = frozenset(),
    **overrides: Any,
) -> Session:
    """Open a session with a test server as one of its users."""
    endpoint = Endpoint(host or server.host, port or server.port, security, user.name)
    return open_session(
        endpoint,
        user.password if password is None else password,
        settings_with(**overrides),
        throttle=throttle or Throttle(1e6, 1_000_000, 0),
        on_wait=on_wait,
        hidden=hidden,
    )
