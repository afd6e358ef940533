"""What a person has set of an account, and changes: columns that the sync never writes (SPEC §0.10)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailsync.errors import NotFound
from mailsync.model import Endpoint
from mailsync.store.db import Connection
from mailsync.store.statements import run


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """Columns of one account; of ``sync_since`` and ``sync_window_days`` at most one is set."""

    email: str
    endpoint: Endpoint
    display_name: str | None
    provider: str | None
    sync_since: datetime | None
    sync_window_days: int | None
    capabilities: tuple[str, ...]


def hold(conn: Connection, account_id: int) -> AccountSettings:
    """Read them, inside a transaction until whose end nobody else writes them; raises NotFound."""
    row = run(conn, "lock_account_settings", account_id=account_id).fetchone()
    if row is None:
        raise NotFound(f"there is no account {account_id}")
    email, host, port, security, username, display_name, provider, since, days, capabilities = row
    return AccountSettings(
        email=email,
        endpoint=Endpoint(host, port, security, username),
        display_name=display_name,
        provider=provider,
        sync_since=since,
        sync_window_days=days,
        capabilities=tuple(capabilities),
    )


def save(
    conn: Connection, account_id: int, wanted: AccountSettings, metadata: Mapping[str, Any] | None
) -> None:
    """Write them, and the metadata unless that is None. Another window makes the account due."""
    run(
        conn,
        "save_account_settings",
        account_id=account_id,
        host=wanted.endpoint.host,
        port=wanted.endpoint.port,
        security=wanted.endpoint.security,
        username=wanted.endpoint.username,
        display_name=wanted.display_name,
        provider=wanted.provider,
        sync_since=wanted.sync_since,
        sync_window_days=wanted.sync_window_days,
        capabilities=list(wanted.capabilities),
        metadata=None if metadata is None else json.dumps(metadata),
    )
